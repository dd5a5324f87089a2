#pragma once
// The beanstalkd door: sockets, an epoll of its own inside the loop, and one session a connection.
//
// The loop waits for the epoll as for one descriptor. One turn reads at most a bounded piece of
// each connection that has something, hands all that was asked to the engine in one piece, and
// writes each connection's replies with one call. An idle connection holds no buffer.
//
// Thread: the loop's, but for the constructor, listen() and the destructor (the loop stands still).
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/result.h"
#include "server/beanstalk/session.h"
#include "server/loop.h"

namespace rq::server::beanstalk {

struct DoorOptions {
  std::size_t body_bytes_max = 65535;  // of a job: beanstalkd's default; at most kPayloadBytesMax
};

class BeanstalkDoor final : public LoopDoor, private Host {
 public:
  BeanstalkDoor(Loop& loop, DoorOptions options);
  ~BeanstalkDoor() override;

  // Opens ADDR:PORT and serves it as soon as the loop runs; port 0: one that the system picks.
  // Before Loop::start(). bad_value when it is no address, internal when it cannot be had.
  [[nodiscard]] base::Result<void> listen(std::string_view address);
  [[nodiscard]] std::uint16_t port() const { return port_; }

  // Any thread. From now on every put is answered DRAINING.
  void set_draining(bool draining) { draining_ = draining; }
  [[nodiscard]] std::int64_t connections() const { return totals.open; }

  void on_deliveries(std::vector<core::Delivery>& deliveries) override;

 private:
  struct Link {
    Link(Host& host, std::uint64_t number, int socket, std::size_t body_bytes_max)
        : id(number), fd(socket), session(host, number, body_bytes_max) {}
    const std::uint64_t id;
    const int fd;
    Session session;
    std::string rest;       // read, and not yet taken by the session
    bool readable = false;  // there may be more to read
    bool writable = true;
    bool hung_up = false;  // the peer sends no more: what is left can still be read
    bool ended = false;    // and it has been read
    bool queued = false;   // in ready_
    bool dirty = false;    // in dirty_
  };

  // Host:
  void submit(const core::Ticket& ticket, core::Command&& command) override;
  [[nodiscard]] base::Instant now() const override;
  [[nodiscard]] bool draining() const override { return draining_; }
  [[nodiscard]] std::string stats(const core::EngineStatsDone& engine) const override;

  void read_clock();
  void wait();
  void linger();
  void turn();
  [[nodiscard]] bool read_ready();
  void turn_again();
  void accept_all();
  void event(std::uint64_t id, std::uint32_t events);
  void serve(Link& link);
  void read_small(Link& link);
  void read_large(Link& link);
  [[nodiscard]] bool received(Link& link, std::int64_t bytes, std::size_t room);
  void feed_rest(Link& link);
  void make_ready(Link& link);
  void mark_dirty(Link& link);
  void flush_dirty();
  void flush(Link& link);
  void settle(Link& link);
  void close(Link& link);
  [[nodiscard]] Link* find(std::uint64_t id);

  const DoorOptions options_;
  const std::string run_id_;
  const Clock& clock_;
  const base::Instant started_;
  std::int64_t ahead_ms_ = 0;    // of the steady clock: the server's
  std::int64_t read_at_ms_ = 0;  // of the steady clock
  std::atomic<bool> draining_ = false;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  bool listener_full_ = false;  // too many connections: nobody is let in until one goes
  boost::asio::posix::stream_descriptor epoll_;

  std::vector<std::unique_ptr<Link>> links_;  // by the low bits of the id
  std::vector<std::uint32_t> free_;           // places in links_
  std::uint64_t generation_ = 0;
  std::vector<std::uint64_t> ready_;    // have something to read, and may
  std::vector<std::uint64_t> serving_;  // of this turn
  std::vector<std::uint64_t> dirty_;    // have something to send, or to close
  int in_vain_ = 0;                     // turns without linger()
  bool turn_posted_ = false;
  std::string scratch_;  // one connection's piece at a time
};

}  // namespace rq::server::beanstalk
