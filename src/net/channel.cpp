#include "net/channel.h"

#include <sys/sendfile.h>
#include <sys/socket.h>

#include <cerrno>

#include <boost/asio/ip/tcp.hpp>

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

  [[nodiscard]] Caller caller() const override { return caller_of(socket_.get(), unix_socket_); }

 private:
  const base::Fd socket_;
  const bool unix_socket_;
};

// Asked once, at the connect: what the process is later is another question (pitfalls NA11).
std::vector<gid_t> groups_of(int socket, gid_t first) {
  std::vector<gid_t> groups;
  socklen_t bytes = 0;
  // Too little room: the kernel says how much it takes.
  while (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) != 0 &&
         errno == ERANGE) {
    groups.resize(bytes / sizeof(gid_t));
  }
  groups.resize(bytes / sizeof(gid_t));
  groups.push_back(first);
  return groups;
}

void add_user(int socket, Caller& caller) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return;
  caller.uid = peer.uid;
  caller.groups = groups_of(socket, peer.gid);
}

void add_address(int socket, Caller& caller) {
  boost::asio::ip::tcp::endpoint peer;
  auto size = static_cast<socklen_t>(peer.capacity());
  if (::getpeername(socket, peer.data(), &size) != 0) return;
  boost::asio::ip::address address = peer.address();
  // An IPv4 address that came in over IPv6.
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6());
  }
  caller.loopback = address.is_loopback();
  caller.address = address.to_string();
}

}  // namespace

Caller caller_of(int socket, bool unix_socket) {
  Caller caller;
  caller.unix_socket = unix_socket;
  if (unix_socket) {
    add_user(socket, caller);
  } else {
    add_address(socket, caller);
  }
  return caller;
}

std::unique_ptr<Channel> plain_channel(int socket, bool unix_socket) {
  return std::make_unique<PlainChannel>(socket, unix_socket);
}

}  // namespace rq::net
