#include "doors/beanstalk/answers.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"
#include "doors/beanstalk/bounds.h"
#include "doors/beanstalk/stats.h"
#include "doors/beanstalk/words.h"

namespace rq::doors::beanstalk {

using namespace wire::beanstalk;  // NOLINT(google-build-using-namespace): its adapter
using base::Code;
using base::Instant;
using base::Millis;

// When the safety margin of a job in hand begins: perhaps it has begun.
std::optional<Instant> Answers::deadline_soon() {
  if (reserved_.size() == 0) return std::nullopt;
  const auto soonest = reserved_.soonest(host_.now());
  if (!soonest) return std::nullopt;
  return *soonest - kSafetyMargin;
}

void Answers::deliver(core::Delivery& delivery) {
  const std::uint64_t request = delivery.ticket.request;
  std::visit([this, request](auto& reply) { on(request, reply); }, delivery.reply);
}

template <typename Other>
void Answers::on(std::uint64_t /*request*/, Other& /*reply*/) {}

void Answers::on(std::uint64_t request, core::PutDone& reply) {
  Slot* slot = slots_.find(request);
  if (slot == nullptr) return;
  append_inserted(slots_.reply_of(*slot), static_cast<std::uint64_t>(reply.seq));
  slots_.answered(*slot);
}

void Answers::on(std::uint64_t request, core::PutManyDone& reply) {
  for (base::Result<core::PutDone>& one : reply.puts) {
    if (one) {
      on(request, *one);
    } else if (Slot* slot = slots_.find(request)) {
      fail(*slot, one.error().code);
    }
    ++request;
  }
}

void Answers::on(std::uint64_t request, core::Reserved& reply) {
  Slot* first = slots_.find(request);
  if (first == nullptr) return;
  const std::uint32_t asked = std::max<std::uint32_t>(first->group, 1);
  const auto got = static_cast<std::uint32_t>(reply.messages.size());
  for (std::uint32_t i = 0; i < got; ++i) {
    Slot* slot = slots_.find(request + i);
    RQ_CHECK(slot != nullptr && i < asked);
    reserved_one(*slot, reply.messages[i]);
  }
  if (got == asked) return;
  if (got > 0) {
    // The others are answered later.
    Slot* rest = slots_.find(request + got);
    RQ_CHECK(rest != nullptr);
    rest->group = asked - got;
    return;
  }
  const auto soon = deadline_soon();
  const bool margin = soon && *soon <= host_.now();
  for (std::uint32_t i = 0; i < asked; ++i) {
    Slot* slot = slots_.find(request + i);
    RQ_CHECK(slot != nullptr);
    const bool job = slot->verb == Verb::reserve_job;
    slots_.reply_of(*slot).append(job ? kNotFound : margin ? kDeadlineSoon : kTimedOut);
    slots_.answered(*slot);
  }
}

void Answers::reserved_one(Slot& slot, const core::Message& message) {
  const core::Lease& lease = *message.lease;
  reserved_.insert({{message.seq, lease.attempt, lease.boot}, lease.until});
  slots_.saw_body(message.payload.size());
  append_reserved(slots_.reply_of(slot), static_cast<std::uint64_t>(message.seq), message.payload);
  slots_.answered(slot);
}

void Answers::on(std::uint64_t request, core::FinishDone& reply) {
  for (const base::Result<core::State>& state : reply.items) {
    if (Slot* slot = slots_.find(request)) finished_one(*slot, state, request);
    ++request;
  }
}

void Answers::finished_one(Slot& slot, const base::Result<core::State>& state,
                           std::uint64_t request) {
  if (!state) {
    if (slot.verb == Verb::remove && state.error().code == Code::lease_lost) {
      // Its time ran out: it waits again, and may be deleted as any waiting job.
      core::Act act;
      act.action = core::Action::remove;
      act.if_unfinished = true;  // others are no jobs
      act.messages.push_back(slot.token.seq);
      return submit_more(request, std::move(act));
    }
    return fail(slot, state.error().code);
  }
  slots_.reply_of(slot).append(slot.verb == Verb::remove    ? kDeleted
                               : slot.verb == Verb::release ? kReleased
                                                            : kBuried);
  slots_.answered(slot);
}

void Answers::on(std::uint64_t request, core::HeartbeatDone& reply) {
  for (const base::Result<core::HeartbeatDone::Item>& item : reply.items) {
    if (Slot* slot = slots_.find(request)) {
      if (item) {
        ReservedJobs::Job* job = reserved_.find(slot->token.seq);
        if (job != nullptr && job->token == slot->token) reserved_.touch(*job, item->until);
        slots_.reply_of(*slot).append(kTouched);
        slots_.answered(*slot);
      } else {
        fail(*slot, item.error().code);
      }
    }
    ++request;
  }
}

void Answers::on(std::uint64_t request, core::ActDone& reply) {
  Slot* slot = slots_.find(request);
  if (slot == nullptr || reply.items.empty()) return;
  if (!reply.items.front()) return fail(*slot, reply.items.front().error().code);
  slots_.reply_of(*slot).append(kDeleted);
  slots_.answered(*slot);
}

void Answers::on(std::uint64_t request, core::RunEarlyDone& reply) {
  Slot* slot = slots_.find(request);
  if (slot == nullptr) return;
  append_kicked(slots_.reply_of(*slot), static_cast<std::uint64_t>(reply.count));
  slots_.answered(*slot);
}

void Answers::on(std::uint64_t request, core::Ok& /*reply*/) {
  Slot* slot = slots_.find(request);
  if (slot == nullptr) return;
  slots_.reply_of(*slot).append(kKickedOne);
  slots_.answered(*slot);
}

void Answers::on(std::uint64_t request, core::Peeked& reply) {
  Slot* slot = slots_.find(request);
  if (slot == nullptr) return;
  if (!is_job(*reply.message)) return fail(*slot, Code::not_found);
  if (slot->verb == Verb::stats_job) {
    slot->peeked = std::make_unique<core::Peeked>(std::move(reply));
    const core::Message& message = *slot->peeked->message;
    if (message.lease || message.lease_length) {
      return job_stats(*slot, std::nullopt);
    }
    // Its time to run is the queue's.
    return submit_more(request, core::ShowQueue{slot->peeked->queue});
  }
  const core::Message& message = *reply.message;
  slots_.saw_body(message.payload.size());
  append_found(slots_.reply_of(*slot), static_cast<std::uint64_t>(message.seq), message.payload);
  slots_.answered(*slot);
}

void Answers::on(std::uint64_t request, core::QueueShown& reply) {
  Slot* slot = slots_.find(request);
  if (slot == nullptr) return;
  if (slot->verb == Verb::stats_job) {
    return job_stats(*slot, reply.queue->settings.lease);
  }
  if (slot->verb == Verb::pause_tube) return paused(*slot);
  const std::string tube = slot->text;
  append_ok(slots_.reply_of(*slot),
            stats_of_tube(tube, host_.tubes.find(tube), &reply, host_.now()));
  slots_.answered(*slot);
}

void Answers::job_stats(Slot& slot, std::optional<Millis> queue_lease) {
  append_ok(slots_.reply_of(slot), stats_of_job(*slot.peeked, queue_lease, host_.now()));
  slots_.answered(slot);
}

void Answers::on(std::uint64_t request, core::QueuesListed& reply) {
  Slot* slot = slots_.find(request);
  if (slot == nullptr) return;
  append_ok(slots_.reply_of(*slot), list_of_tubes(reply, host_.tubes));
  slots_.answered(*slot);
}

void Answers::on(std::uint64_t request, core::EngineStatsDone& reply) {
  Slot* slot = slots_.find(request);
  if (slot == nullptr) return;
  append_ok(slots_.reply_of(*slot), host_.stats(reply));
  slots_.answered(*slot);
}

void Answers::on(std::uint64_t request, base::Error& reply) {
  Slot* first = slots_.find(request);
  if (first == nullptr) return;
  if (reply.code == Code::not_found) {
    Tube* known = host_.tubes.find(first->text);
    if (first->verb == Verb::kick) {
      append_kicked(slots_.reply_of(*first), 0);
      return slots_.answered(*first);
    }
    if (first->verb == Verb::stats_tube && known != nullptr) {
      const std::string tube = first->text;
      append_ok(slots_.reply_of(*first), stats_of_tube(tube, known, nullptr, host_.now()));
      return slots_.answered(*first);
    }
    if (first->verb == Verb::pause_tube && known != nullptr && first->group == 0) {
      if (first->delay_s == 0) return paused(*first);
      return make_and_pause(request, *first);
    }
  }
  const std::uint32_t count = std::max<std::uint32_t>(first->group, 1);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (Slot* slot = slots_.find(request + i)) fail(*slot, reply.code);
  }
}

// Somebody refers to the tube, but it has no queue yet: it gets one, as the first put would make
// it.
void Answers::make_and_pause(std::uint64_t request, Slot& slot) {
  const Tube* tube = host_.tubes.find(slot.text);
  RQ_CHECK(tube != nullptr);
  slot.group = 1;  // not a third time
  core::DefineQueue define;
  define.queue = tube->queue;
  define.on_demand = true;
  submit_more(0, std::move(define));
  submit_more(request, pause_of(tube->queue, slot.delay_s));
}

void Answers::paused(Slot& slot) {
  if (Tube* known = host_.tubes.find(slot.text)) {
    ++known->pauses;
    known->paused_s = slot.delay_s;
  }
  slots_.reply_of(slot).append(kPaused);
  slots_.answered(slot);
}

void Answers::fail(Slot& slot, Code code) {
  slots_.reply_of(slot).append(word_of(code)).append("\r\n");
  slots_.answered(slot);
}

void Answers::submit_more(std::uint64_t request, core::Command&& command) {
  host_.submit({0, connection_, request}, std::move(command));
}

}  // namespace rq::doors::beanstalk
