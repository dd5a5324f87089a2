#pragma once
// For tests: the other end of a connection that a server is given.
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"

namespace rq::net {

// The other end of a connection.
class RigClient {
 public:
  explicit RigClient(int fd) : fd_(fd) {}
  RigClient(RigClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  RigClient& operator=(RigClient&&) = delete;
  ~RigClient() { hang_up(); }

  // As much as the socket takes; gives how much.
  std::size_t send(std::string_view bytes) {
    const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? 0 : static_cast<std::size_t>(sent);
  }
  // What is there now.
  std::string receive(std::size_t most = 16 * base::kMiB) {
    std::string out;
    std::string piece(64 * base::kKiB, '\0');
    while (out.size() < most) {
      const auto got =
          ::recv(fd_, piece.data(), std::min(piece.size(), most - out.size()), MSG_DONTWAIT);
      if (got == 0) closed_ = true;
      if (got <= 0) break;
      out.append(piece, 0, static_cast<std::size_t>(got));
    }
    return out;
  }
  // The server has closed, or sends no more. After receive().
  [[nodiscard]] bool closed() const { return closed_; }
  void send_no_more() { ::shutdown(fd_, SHUT_WR); }
  // Bytes that were sent and that the other side has not read.
  [[nodiscard]] int unread() const {
    int bytes = 0;
    RQ_CHECK(::ioctl(fd_, SIOCOUTQ, &bytes) == 0);
    return bytes;
  }
  void hang_up() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
  bool closed_ = false;
};

// Two ends of a connection: the server's, and the client's. No call of either blocks.
inline std::pair<int, RigClient> connected_pair() {
  std::array<int, 2> pair{-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()), 0);
  return {pair[0], RigClient(pair[1])};
}

}  // namespace rq::net
