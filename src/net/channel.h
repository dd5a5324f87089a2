#pragma once
// A channel brings the bytes of one connection and says who is at its other end: a plain socket, or
// TLS over one (tls.h). Nobody above it sees a difference.
//
// Thread: the loop's. No call blocks.
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rq::net {

// Who is at the other end, as the kernel tells it. Without a user id it is nobody in particular:
// whoever can reach the address.
struct Caller {
  std::optional<uid_t> uid;   // of the process that has connected to a unix socket
  std::vector<gid_t> groups;  // all that it was in then
  bool unix_socket = false;
  bool loopback = false;  // from an address of this machine
  bool tls = false;
  std::string address;  // without the port; empty: a unix socket
  // Of the certificate that was shown, and whose signature was found good: the fingerprint of its
  // key, then its names ("DNS:a", "URI:b"). Empty: none.
  std::vector<std::string> certificate;
};

class Channel {
 public:
  enum class State : std::uint8_t {
    more,     // the same call may give more at once
    drained,  // nothing more now: the descriptor's next edge tells when to try again
    ended,    // receive only: the other side sends no more
    broken,   // the connection is lost
  };
  struct Moved {
    std::size_t bytes = 0;
    State state = State::more;
  };

  virtual ~Channel() = default;
  // The socket, for epoll. Its edges are those of the channel.
  [[nodiscard]] virtual int descriptor() const = 0;
  // Receiving may wait until the socket takes bytes, and sending until it has some: each edge is
  // one for both.
  [[nodiscard]] virtual bool has_both_edges() const { return false; }
  // The last receive() has drained nothing: it waits for room to send what must be said first.
  [[nodiscard]] virtual bool receive_wants_room() const { return false; }
  // It brings bytes. False: the two ends have not agreed yet; receive() goes on with that.
  [[nodiscard]] virtual bool is_open() const { return true; }
  [[nodiscard]] virtual Moved receive(char* into, std::size_t room) = 0;
  [[nodiscard]] virtual Moved send(std::string_view bytes) = 0;
  // Sends up to `bytes` of the file `file` from `offset`. 0 bytes with State::more: the file ends
  // at `offset`.
  [[nodiscard]] virtual Moved send_file(int file, std::uint64_t offset, std::size_t bytes) = 0;
  // No more is sent; what was sent still arrives.
  virtual void end_sending() = 0;
  [[nodiscard]] virtual Caller caller() const = 0;
};

// Takes the socket over.
[[nodiscard]] std::unique_ptr<Channel> plain_channel(int socket, bool unix_socket);

// Of a connected socket.
[[nodiscard]] Caller caller_of(int socket, bool unix_socket);

}  // namespace rq::net
