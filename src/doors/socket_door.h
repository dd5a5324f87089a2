#pragma once
// A door with many sockets: an epoll of its own inside the loop, listeners, and one link for each
// connection.
//
// The loop waits for the epoll as for one descriptor, so that waiting costs a connection nothing.
// One turn reads at most a bounded piece of each connection that has something, hands all that was
// asked to the engine in one piece, and writes each connection's replies with one call.
//
// Thread: the loop's, but for the constructor, listen() and the destructor (the loop stands still).
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "pipeline/loop.h"

namespace rq::doors {

class SocketDoor : public pipeline::LoopDoor {
 public:
  // One connection. A door has its own kind of it.
  class Link {
   public:
    Link(std::uint64_t number, int socket) : id(number), fd_(socket) {}
    virtual ~Link() { close_socket(); }
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    const std::uint64_t id;

   protected:
    // Reads what is there, at most `room` bytes, and gives how many. 0: nothing now, or never any
    // more: ended(), broken().
    [[nodiscard]] std::size_t receive(char* into, std::size_t room);
    // Sends what the socket takes now, and gives how much. Less than all: flush() is called when
    // there is room again, unless broken().
    [[nodiscard]] std::size_t send(std::string_view bytes);
    void end_sending();
    void close_socket();
    // The peer sends no more; what is left can still be read, and when it has been, ended().
    [[nodiscard]] bool hung_up() const { return hung_up_; }
    [[nodiscard]] bool ended() const { return ended_; }
    [[nodiscard]] bool broken() const { return broken_; }

   private:
    friend class SocketDoor;
    // To be read from now, if there is something?
    [[nodiscard]] virtual bool wants_to_read() const = 0;
    // There is something: reads a piece of it.
    virtual void read() = 0;
    // Sends what is there; then whatever else waits for the end of a turn.
    virtual void flush() = 0;

    int fd_;
    bool readable_ = false;  // there may be more to read
    bool writable_ = true;
    bool hung_up_ = false;
    bool ended_ = false;
    bool broken_ = false;
    bool queued_ = false;  // in ready_
    bool dirty_ = false;   // in dirty_
  };

  // `link` may have something to read, and wants to.
  void make_ready(Link& link);
  // `link` has something to flush, when this turn ends.
  void mark_dirty(Link& link);
  void flush_dirty();
  // flush_dirty() when this handler is over.
  void schedule_flush();
  [[nodiscard]] std::size_t open_count() const { return links_.size() - free_.size(); }

 protected:
  explicit SocketDoor(pipeline::Loop& loop);
  ~SocketDoor() override;

  // Takes a listening socket over. `kind` is for make_link(). Before Loop::start().
  [[nodiscard]] base::Result<void> accept_from(int listener, int kind);
  void stop_listening();
  // For the destructor of the door, while the links can still use it.
  void drop_links();
  // The link for a new connection, whose socket it owns from now on.
  [[nodiscard]] virtual std::unique_ptr<Link> make_link(std::uint64_t id, int fd, int kind) = 0;
  // The connection of this id; null when it has gone.
  [[nodiscard]] Link* find(std::uint64_t id);
  // Destroys it. REQUIRES: none of its functions uses it any more.
  virtual void remove(Link& link);
  // For each connection; `act` may remove the one it is given.
  template <typename Act>
  void for_each(Act act) {
    for (std::size_t i = 0; i < links_.size(); ++i) {
      if (links_[i] != nullptr) act(*links_[i]);
    }
  }

 private:
  struct ListeningSocket {
    int fd;
    int kind;
  };

  void wait();
  void linger();
  void turn();
  [[nodiscard]] bool read_ready();
  void turn_again();
  void accept_all(std::size_t listener);
  void accept_later();
  void listen_for(std::uint32_t events);
  void event(std::uint64_t id, std::uint32_t events);

  boost::asio::posix::stream_descriptor epoll_;
  boost::asio::steady_timer accept_pause_;
  bool accept_paused_ = false;
  bool full_told_ = false;  // since somebody had to wait first
  std::vector<ListeningSocket> listeners_;

  std::vector<std::unique_ptr<Link>> links_;  // by the low bits of the id
  std::vector<std::uint32_t> free_;           // places in links_
  std::uint64_t generation_ = 0;
  std::vector<std::uint64_t> ready_;    // have something to read, and may
  std::vector<std::uint64_t> serving_;  // of this turn
  std::vector<std::uint64_t> dirty_;    // have something to send, or to close
  bool in_turn_ = false;
  int in_vain_ = 0;  // turns without linger()
  bool turn_posted_ = false;
  bool flush_posted_ = false;
};

}  // namespace rq::doors
