#pragma once
// The beanstalkd door: a session for each connection. An idle connection holds no buffer.
//
// Thread: the loop's, but for the constructor, listen() and the destructor (the loop stands still).
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "doors/beanstalk/session.h"
#include "net/links.h"
#include "pipeline/desk.h"

namespace rq::doors::beanstalk {

struct DoorOptions {
  std::size_t body_bytes_max = 65535;  // of a job: beanstalkd's default; at most kPayloadBytesMax
};

class BeanstalkDoor final : public pipeline::LoopDoor, private net::LinkMaker, private Host {
 public:
  BeanstalkDoor(pipeline::Desk& desk, DoorOptions options);
  ~BeanstalkDoor() override;

  // Opens ADDR:PORT and serves it as soon as the loop runs; port 0: one that the system picks.
  // Before Loop::start(). bad_value when it is no address, internal when it cannot be had.
  [[nodiscard]] base::Result<void> listen(const std::string& address);
  [[nodiscard]] std::uint16_t port() const { return port_; }

  // Loop thread. Serves a connection that is there already. False: no room for it.
  [[nodiscard]] bool adopt(std::unique_ptr<net::Channel> channel);

  // Any thread. From now on every put is answered DRAINING.
  void set_draining(bool draining) { draining_ = draining; }
  [[nodiscard]] std::int64_t connections() const { return totals.open; }

  void on_deliveries(std::vector<core::Delivery>& deliveries) override;

 private:
  class Connection;

  // Host:
  void submit(const core::Ticket& ticket, core::Command&& command) override;
  [[nodiscard]] base::Instant now() const override { return clock_.live(); }
  [[nodiscard]] base::Instant ahead() const override { return clock_.ahead(); }
  [[nodiscard]] bool draining() const override { return draining_; }
  [[nodiscard]] std::string stats(const core::EngineStatsDone& engine) const override;

  [[nodiscard]] std::unique_ptr<net::Link> make_link(net::Arrival&& arrival) override;

  net::Links links_;
  const DoorOptions options_;
  const std::string run_id_;
  const pipeline::Clock& clock_;
  const base::Instant started_;
  std::atomic<bool> draining_ = false;
  std::uint16_t port_ = 0;
  std::string scratch_;  // one connection's piece at a time
};

}  // namespace rq::doors::beanstalk
