#pragma once
// What the engine answers becomes replies of the protocol.
// Thread: the loop's.
#include <cstdint>
#include <optional>

#include "base/time.h"
#include "core/command.h"
#include "doors/beanstalk/host.h"
#include "doors/beanstalk/reply_slots.h"
#include "doors/beanstalk/reserved_jobs.h"

namespace rq::doors::beanstalk {

class Answers {
 public:
  Answers(Host& host, ReplySlots& slots, ReservedJobs& reserved, std::uint64_t connection)
      : host_(host), slots_(slots), reserved_(reserved), connection_(connection) {}

  void deliver(core::Delivery& delivery);

 private:
  using Verb = wire::beanstalk::Verb;
  using Slot = ReplySlots::Slot;

  void on(std::uint64_t request, core::PutDone& reply);
  void on(std::uint64_t request, core::PutManyDone& reply);
  void on(std::uint64_t request, core::Reserved& reply);
  void on(std::uint64_t request, core::FinishDone& reply);
  void on(std::uint64_t request, core::HeartbeatDone& reply);
  void on(std::uint64_t request, base::Error& reply);
  void on(std::uint64_t request, core::Ok& reply);
  void on(std::uint64_t request, core::ActDone& reply);
  void on(std::uint64_t request, core::RunEarlyDone& reply);
  void on(std::uint64_t request, core::Peeked& reply);
  void on(std::uint64_t request, core::QueueShown& reply);
  void on(std::uint64_t request, core::QueuesListed& reply);
  void on(std::uint64_t request, core::EngineStatsDone& reply);
  template <typename Other>
  void on(std::uint64_t request, Other& reply);
  void fail(Slot& slot, base::Code code);
  void finished_one(Slot& slot, const base::Result<core::State>& state, std::uint64_t request);
  void reserved_one(Slot& slot, const core::Message& message);
  void job_stats(Slot& slot, std::optional<base::Millis> queue_lease);
  void make_and_pause(std::uint64_t request, Slot& slot);
  void paused(Slot& slot);

  [[nodiscard]] std::optional<base::Instant> deadline_soon();
  // What a request needs besides, after a first reply: not behind what came after it.
  void submit_more(std::uint64_t request, core::Command&& command);

  Host& host_;
  ReplySlots& slots_;
  ReservedJobs& reserved_;
  const std::uint64_t connection_;
};

}  // namespace rq::doors::beanstalk
