#pragma once
// The connections of one protocol: an epoll of their own inside the loop, listeners, and one link
// for each connection.
//
// The loop waits for the epoll as for one descriptor, so that waiting costs a connection nothing.
// One turn reads at most a bounded piece of each connection that has something; at its end all that
// was asked is done in one piece, and each connection's replies are written with one call.
//
// Thread: the loop's, but for the constructor and the destructor (the loop stands still).
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/fd.h"
#include "base/result.h"
#include "net/link.h"
#include "net/listener.h"
#include "net/loop.h"

namespace rq::net {

inline constexpr std::size_t kConnectionsMax = 20'000;  // of one protocol
// Descriptors of the process that connections from the network leave to others: the unix socket,
// the store, logs. At most a quarter of what the system allows. Idle connections of the unix socket
// leave half of them to the others.
inline constexpr int kDescriptorsKept = 64;
// Connections that are closed at once when there is no room for one more.
inline constexpr std::size_t kClosedForRoom = 16;

// Makes the links of its protocol.
class LinkMaker {
 public:
  virtual ~LinkMaker() = default;
  [[nodiscard]] virtual std::unique_ptr<Link> make_link(Arrival&& arrival) = 0;
};

class Links {
 public:
  Links(Loop& loop, LinkMaker& maker);
  ~Links();
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  // Takes a listening socket over: before Loop::start(), or on its thread. A second unix socket
  // takes the place of the first.
  [[nodiscard]] base::Result<void> listen(Listener&& listener);
  void stop_listening();

  // Makes a link for a connection that is there already. Null when there is no room for it.
  Link* adopt(std::unique_ptr<Channel> channel);

  // `link` may have something to read, and wants to.
  void make_ready(Link& link);
  // `link` has something to flush, when this turn ends.
  void mark_dirty(Link& link);
  void flush_dirty();
  // flush_dirty() when this handler is over.
  void schedule_flush();
  // `link` has more to flush, when others have had their turn.
  void flush_later(const Link& link);

  [[nodiscard]] std::size_t count() const { return links_.size() - free_.size(); }
  // The connection of this id; null when it has gone.
  [[nodiscard]] Link* find(std::uint64_t id);
  // Destroys it. REQUIRES: none of its functions uses it any more.
  void remove(Link& link);
  // Destroys all.
  void clear();
  // For each connection; `act` may remove the one it is given.
  template <typename Act>
  void for_each(Act act) {
    for (std::size_t i = 0; i < links_.size(); ++i) {
      if (links_[i] != nullptr) act(*links_[i]);
    }
  }

 private:
  struct ListeningSocket {
    base::Fd socket;
    bool unix_socket = false;
  };

  [[nodiscard]] base::Result<void> open_epoll();
  void wait();
  void turn();
  [[nodiscard]] bool read_ready();
  void turn_again();
  void accept_all(std::size_t listener);
  // For one from the network: those from it that have been silent for longest. For one of the unix
  // socket: if there are none, those of the unix socket. False: there was none to close.
  [[nodiscard]] bool close_idle(bool unix_socket);
  void accept_later(std::size_t listener);
  void listen_for(std::size_t listener, std::uint32_t events);
  void event(std::uint64_t id, std::uint32_t events);
  void watch_for_room(std::uint64_t id);

  Loop& loop_;
  LinkMaker& maker_;
  boost::asio::posix::stream_descriptor epoll_;
  boost::asio::steady_timer accept_pause_;
  const int descriptors_max_;  // of the process
  const int network_max_;      // of these, for connections from the network
  const int unix_max_;         // and where the unix socket makes room for itself, if it can
  bool accept_paused_ = false;
  bool full_told_ = false;  // since somebody had to wait first
  std::vector<ListeningSocket> listeners_;

  std::vector<std::unique_ptr<Link>> links_;  // by the low bits of the id
  std::vector<std::uint32_t> free_;           // places in links_
  std::uint64_t generation_ = 0;
  std::uint64_t spoken_ = 0;            // grows whenever a link has something to say
  std::vector<std::uint64_t> ready_;    // have something to read, and may
  std::vector<std::uint64_t> serving_;  // of this turn
  std::vector<std::uint64_t> dirty_;    // have something to send, or to close
  std::vector<std::uint64_t> later_;    // have more to send
  bool in_turn_ = false;
  bool turn_posted_ = false;
  bool flush_posted_ = false;
};

}  // namespace rq::net
