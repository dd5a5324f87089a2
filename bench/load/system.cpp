#include "load/system.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>

#include "load/plan.h"

namespace rq::load {

void fail_errno(std::string_view what) { fail("{}: {}", what, std::strerror(errno)); }

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

Socket connect_to(const std::string& host, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    fail("'{}' is not an IPv4 address", host);
  }
  Socket socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (socket.fd() < 0) fail_errno("socket");
  // Connects blocking, so that a refusal is one clear error; from then on it never blocks.
  sockaddr generic{};
  std::memcpy(&generic, &address, sizeof(generic));
  if (::connect(socket.fd(), &generic, sizeof(address)) != 0) {
    fail("connect to {}:{}: {}", host, port, std::strerror(errno));
  }
  const int on = 1;
  if (::setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) {
    fail_errno("setsockopt");
  }
  if (::fcntl(socket.fd(), F_SETFL, O_NONBLOCK) != 0) fail_errno("fcntl");
  return socket;
}

Socket make_epoll() {
  Socket epoll{::epoll_create1(EPOLL_CLOEXEC)};
  if (epoll.fd() < 0) fail_errno("epoll_create1");
  // Without this every timed wait ends 50 microseconds late.
  if (::prctl(PR_SET_TIMERSLACK, 1UL) != 0) fail_errno("prctl");
  return epoll;
}

std::size_t wait_until(int epoll, epoll_event* events, std::size_t events_max,
                       std::int64_t for_ns) {
  constexpr std::int64_t kSecondNs = 1'000'000'000;
  const std::int64_t left = std::max<std::int64_t>(for_ns, 0);
  timespec timeout{.tv_sec = left / kSecondNs, .tv_nsec = left % kSecondNs};
  const int ready = ::epoll_pwait2(epoll, events, static_cast<int>(events_max), &timeout, nullptr);
  if (ready < 0 && errno != EINTR) fail_errno("epoll_pwait2");
  return static_cast<std::size_t>(std::max(ready, 0));
}

std::int64_t clock_ns() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds{1};
}

double cpu_seconds() {
  // Not getrusage: that counts in ticks of the kernel, too coarse for a short run.
  timespec used{};
  if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0) fail_errno("clock_gettime");
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

}  // namespace rq::load
