#pragma once
// A channel brings the bytes of one connection and says who is at its other end. Plain sockets are
// the one kind there is; a channel with TLS is another implementation of this interface, and nobody
// above it changes.
//
// Thread: the loop's. No call blocks.
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace rq::net {

// Who calls. Without a user id it is nobody in particular: whoever can reach the address.
struct Caller {
  std::optional<uid_t> uid;  // of the process at the other end of a unix socket
  bool unix_socket = false;
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

}  // namespace rq::net
