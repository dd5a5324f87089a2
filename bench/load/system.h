#pragma once
// Sockets, the clock and waiting: the little that rq_load needs of the system.
#include <sys/epoll.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace rq::load {

[[noreturn]] void fail_errno(std::string_view what);

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket();
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

// A connected TCP socket that does not block, without Nagle's delay.
[[nodiscard]] Socket connect_to(const std::string& host, std::uint16_t port);
[[nodiscard]] Socket make_epoll();

// Waits for events, `for_ns` at most (to the microsecond: the timer slack of the thread is off).
[[nodiscard]] std::size_t wait_until(int epoll, epoll_event* events, std::size_t events_max,
                                     std::int64_t for_ns);

[[nodiscard]] std::int64_t clock_ns();  // steady
[[nodiscard]] inline std::int64_t to_ns(double seconds) {
  return static_cast<std::int64_t>(seconds * 1e9);
}

// CPU time of this process so far.
[[nodiscard]] double cpu_seconds();

}  // namespace rq::load
