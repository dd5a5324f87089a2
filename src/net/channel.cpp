#include "net/channel.h"

#include <sys/sendfile.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/fd.h"

namespace rq::net {
namespace {

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }

class PlainChannel final : public Channel {
 public:
  PlainChannel(int socket, bool unix_socket) : socket_(socket), unix_socket_(unix_socket) {}

  [[nodiscard]] int descriptor() const override { return socket_.get(); }

  [[nodiscard]] Moved receive(char* into, std::size_t room) override {
    const auto got = ::recv(socket_.get(), into, room, MSG_DONTWAIT);
    if (got > 0) {
      const auto bytes = static_cast<std::size_t>(got);
      return {bytes, bytes < room ? State::drained : State::more};
    }
    if (got == 0) return {0, State::ended};
    if (errno == EINTR) return {0, State::more};
    return {0, would_block() ? State::drained : State::broken};
  }

  [[nodiscard]] Moved send(std::string_view bytes) override {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const auto sent = ::send(socket_.get(), bytes.data() + done, bytes.size() - done,
                               MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent >= 0) {
        done += static_cast<std::size_t>(sent);
      } else if (errno != EINTR) {
        return {done, would_block() ? State::drained : State::broken};
      }
    }
    return {done, State::more};
  }

  [[nodiscard]] Moved send_file(int file, std::uint64_t offset, std::size_t bytes) override {
    auto from = static_cast<off_t>(offset);
    for (;;) {
      const auto sent = ::sendfile(socket_.get(), file, &from, bytes);
      if (sent >= 0) return {static_cast<std::size_t>(sent), State::more};
      if (errno != EINTR) return {0, would_block() ? State::drained : State::broken};
    }
  }

  void end_sending() override { ::shutdown(socket_.get(), SHUT_WR); }

  [[nodiscard]] Caller caller() const override {
    Caller caller{.uid = {}, .unix_socket = unix_socket_};
    ucred peer{};
    socklen_t size = sizeof peer;
    if (unix_socket_ && ::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
      caller.uid = peer.uid;
    }
    return caller;
  }

 private:
  const base::Fd socket_;
  const bool unix_socket_;
};

}  // namespace

std::unique_ptr<Channel> plain_channel(int socket, bool unix_socket) {
  return std::make_unique<PlainChannel>(socket, unix_socket);
}

}  // namespace rq::net
