#include "doors/beanstalk/session.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "core/name.h"
#include "doors/beanstalk/limits.h"
#include "doors/beanstalk/stats.h"
#include "doors/beanstalk/words.h"

namespace rq::doors::beanstalk {
namespace {

using namespace wire::beanstalk;  // NOLINT(google-build-using-namespace): its adapter
using base::Code;
using base::Instant;
using base::Millis;
using std::chrono::seconds;

// In the last second of a job's time its holder is not made to wait for another.
constexpr Millis kSafetyMargin{1000};
// Bodies that may be on their way to one client: what it does not read must not fill the memory.
constexpr std::size_t kBodyBytesInFlight = 16 * base::kMiB;
constexpr std::uint32_t kBodiesInFlightFirst = 256;  // while their size is not known
constexpr std::size_t kSlotsKept = 128;
// What one client may send behind a reserve that waits, perhaps for ever.
constexpr std::uint64_t kBodyBytesHeldMax = 256 * base::kKiB;
constexpr std::size_t kCommandsHeldMax = 512;
constexpr std::string_view kDefaultTube = "default";

bool is_reserve(Verb verb) {
  return verb == Verb::reserve || verb == Verb::reserve_with_timeout || verb == Verb::reserve_job;
}
bool is_of_a_lease(Verb verb) {
  return verb == Verb::remove || verb == Verb::release || verb == Verb::bury || verb == Verb::touch;
}
// Done here, and seen by others at once.
bool changes_tubes(Verb verb) {
  return verb == Verb::use || verb == Verb::watch || verb == Verb::ignore;
}
bool has_body(Verb verb) {
  return is_reserve(verb) || verb == Verb::peek || verb == Verb::peek_ready ||
         verb == Verb::peek_delayed || verb == Verb::peek_buried;
}

// beanstalkd's numbers, within what a message may have.
Millis delay_of(std::uint32_t delay_s) {
  return std::min<Millis>(seconds{delay_s}, base::kDelayMax);
}
Millis lease_of(std::uint32_t ttr_s) { return std::min<Millis>(seconds{ttr_s}, base::kLeaseMax); }
std::int64_t priority_of(std::uint32_t priority) { return -static_cast<std::int64_t>(priority); }

// 0, which no message has, when it is larger than any.
core::Seq seq_of(std::uint64_t id) {
  return id <= static_cast<std::uint64_t>(std::numeric_limits<core::Seq>::max())
             ? static_cast<core::Seq>(id)
             : 0;
}

}  // namespace

Session::Session(Host& host, std::uint64_t connection, std::size_t body_bytes_max)
    : host_(host), connection_(connection), parser_(body_bytes_max) {
  auto tube = host_.tubes.get(kDefaultTube);
  RQ_CHECK(tube.has_value());
  used_ = *tube;
  ++used_->users;
  ++used_->watchers;
  watched_.push_back(used_);
  ++host_.totals.connections;
  ++host_.totals.open;
}

Session::~Session() {
  --used_->users;
  for (Tube* tube : watched_) --tube->watchers;
  for (Tube* tube : watched_) {
    if (tube != used_) host_.tubes.release(*tube);
  }
  host_.tubes.release(*used_);
  --host_.totals.open;
  if (is_producer_) --host_.totals.producers;
  if (is_worker_) --host_.totals.workers;
}

// --- Requests ---

std::size_t Session::feed(std::string_view in) {
  blocked_ = false;
  std::size_t done = 0;
  while (!ending_ && in.size() - done >= wanted_) {
    if (slots_.size() - head_ >= kInFlightMax || out_.size() - sent_ >= kOutBytesMax ||
        put_bytes_ >= kBodyBytesInFlight) {
      blocked_ = true;
      break;
    }
    const Parser::Step step = parser_.next(in.substr(done));
    if (step.kind == Parser::Step::Kind::more) {
      done += step.consumed;
      wanted_ = step.wanted;
      break;
    }
    if (step.kind == Parser::Step::Kind::complaint) {
      say(line_of(step.complaint));
    } else {
      if (must_wait(step.request)) {
        blocked_ = true;
        break;
      }
      handle(step.request);
    }
    done += step.consumed;
    wanted_ = 1;
  }
  flush_group();
  return done;
}

bool Session::must_wait(const Request& request) {
  if (has_body(request.verb)) {
    const std::size_t allowed = body_seen_ == 0
                                    ? kBodiesInFlightFirst
                                    : std::max<std::size_t>(1, kBodyBytesInFlight / body_seen_);
    if (bodies_ >= allowed) return true;
  }
  if (is_reserve(request.verb)) return false;
  if (waiting_ > 0 && (changes_tubes(request.verb) || put_bytes_ >= kBodyBytesHeldMax ||
                       slots_.size() - head_ >= kCommandsHeldMax)) {
    return true;
  }
  // It may be about the very job that is being reserved.
  return reserving_ > 0 && is_of_a_lease(request.verb) &&
         reserved_.find(seq_of(request.id)) == nullptr;
}

void Session::handle(const Request& request) {
  ++host_.totals.commands[static_cast<std::size_t>(request.verb)];
  switch (request.verb) {
    case Verb::put:
      return put(request);
    case Verb::reserve:
    case Verb::reserve_with_timeout:
      return reserve(request);
    case Verb::reserve_job:
      return reserve_job(request);
    case Verb::remove:
    case Verb::release:
    case Verb::bury:
      return finish(request);
    case Verb::touch:
      return touch(request);
    case Verb::use:
      return use(request.tube);
    case Verb::watch:
      return watch(request.tube);
    case Verb::ignore:
      return ignore(request.tube);
    case Verb::list_tube_used: {
      std::string line;
      append_using(line, used_->name);
      return say(line);
    }
    case Verb::list_tubes_watched:
      return list_watched();
    case Verb::quit:
      ending_ = true;
      return;
    case Verb::peek:
    case Verb::peek_ready:
    case Verb::peek_delayed:
    case Verb::peek_buried:
    case Verb::kick:
    case Verb::kick_job:
    case Verb::stats:
    case Verb::stats_job:
    case Verb::stats_tube:
    case Verb::list_tubes:
    case Verb::pause_tube:
      return look(request);
  }
}

void Session::put(const Request& request) {
  if (!is_producer_) {
    is_producer_ = true;
    ++host_.totals.producers;
  }
  if (host_.draining()) return say("DRAINING\r\n");
  open_group(Group::put);
  Slot& slot = add_slot(Verb::put);
  slot.bytes = request.body.size();
  put_bytes_ += slot.bytes;
  core::Put& put = puts_.puts.emplace_back();
  put.queue = used_->queue;
  put.message.payload.assign(request.body);
  put.message.lease_length = lease_of(request.ttr_s);
  put.priority = priority_of(request.priority);
  if (request.delay_s > 0) put.delay = delay_of(request.delay_s);
  put.make_queue = true;
}

void Session::reserve(const Request& request) {
  if (!is_worker_) {
    is_worker_ = true;
    ++host_.totals.workers;
  }
  std::optional<Instant> until;
  if (input_ended_) {
    // It finds what it finds.
  } else if (request.verb == Verb::reserve) {
    until = Instant::max();
  } else if (request.timeout_s > 0) {
    until = host_.now() + seconds{request.timeout_s};
  }
  if (group_ != Group::reserve || reserve_until_ != until) {
    flush_group();
    open_group(Group::reserve);
    reserve_until_ = until;
  }
  Slot& slot = add_slot(request.verb);
  slot.waits = until.has_value();
  ++reserving_;
  if (slot.waits) ++waiting_;
  if (++reserves_ == base::kReserveMessagesMax) flush_group();
}

void Session::reserve_job(const Request& request) {
  const core::Seq seq = seq_of(request.id);
  if (seq == 0) return say(kNotFound);
  if (!is_worker_) {
    is_worker_ = true;
    ++host_.totals.workers;
  }
  Slot& slot = add_slot(Verb::reserve_job);
  slot.token.seq = seq;
  ++reserving_;
  core::Reserve command;
  command.queues = std::make_shared<const std::vector<core::ReserveQueue>>();
  command.end = core::LeaseEnd::connection;
  command.only = seq;
  submit(last_request(), std::move(command));
}

void Session::finish(const Request& request) {
  const core::Seq seq = seq_of(request.id);
  const ReservedJobs::Job* job = reserved_.find(seq);
  if (job == nullptr) {
    // Only delete is for jobs that are not in hand, too.
    if (request.verb != Verb::remove || seq == 0) return say(kNotFound);
    Slot& slot = add_slot(Verb::remove);
    slot.token.seq = seq;
    core::Act act;
    act.action = core::Action::remove;
    act.messages.push_back(seq);
    return submit(last_request(), std::move(act));
  }
  open_group(Group::finish);
  core::Finish::Item& item = finishes_.items.emplace_back();
  item.token = job->token;
  Slot& slot = add_slot(request.verb);
  slot.token = job->token;
  if (request.verb == Verb::remove) {
    item.remove = true;
  } else {
    item.outcome = request.verb == Verb::bury ? core::Outcome::hold : core::Outcome::release;
    item.delay = delay_of(request.delay_s);
    item.priority = priority_of(request.priority);
  }
  // From now on the job is not in hand, whatever the engine says.
  reserved_.erase(slot.token);
}

void Session::touch(const Request& request) {
  const ReservedJobs::Job* job = reserved_.find(seq_of(request.id));
  if (job == nullptr) return say(kNotFound);
  open_group(Group::touch);
  touches_.items.emplace_back().token = job->token;
  add_slot(Verb::touch).token = job->token;
}

// What goes to the engine as a command of its own.
void Session::look(const Request& request) {
  const core::Seq seq = seq_of(request.id);
  const bool by_id = request.verb == Verb::peek || request.verb == Verb::kick_job ||
                     request.verb == Verb::stats_job;
  if (by_id && seq == 0) return say(kNotFound);
  core::Command command;
  std::string tube;
  switch (request.verb) {
    case Verb::peek_ready:
      command = core::Peek{core::PeekWhat::ready, 0, used_->queue};
      break;
    case Verb::peek_delayed:
      command = core::Peek{core::PeekWhat::scheduled, 0, used_->queue};
      break;
    case Verb::peek_buried:
      command = core::Peek{core::PeekWhat::held, 0, used_->queue};
      break;
    case Verb::kick:
      command = core::RunEarly{used_->queue, static_cast<std::int64_t>(std::min<std::uint64_t>(
                                             request.bound, base::kBulkActionMax))};
      break;
    case Verb::kick_job:
      command = core::RunEarlyOne{seq};
      break;
    case Verb::stats:
      command = core::EngineStats{};
      break;
    case Verb::list_tubes:
      command = core::ListQueues{};
      break;
    case Verb::stats_tube:
    case Verb::pause_tube: {
      auto queue = core::escaped_queue_name(request.tube);
      if (!queue) return say(line_of(Complaint::bad_format));
      tube = request.tube;
      if (request.verb == Verb::stats_tube) {
        command = core::ShowQueue{std::move(*queue)};
      } else {
        // A pause of no time still is one; it ends at once.
        const Millis lasts = std::max(delay_of(request.delay_s), Millis{1});
        command = core::SetAdmin{std::move(*queue), core::Admin::pause, lasts};
        if (Tube* known = host_.tubes.find(tube)) {
          ++known->pauses;
          known->paused_s = request.delay_s;
        }
      }
      break;
    }
    default:
      command = core::Peek{core::PeekWhat::message, seq, {}};
      break;
  }
  Slot& slot = add_slot(request.verb);
  slot.text = std::move(tube);
  slot.delay_s = request.delay_s;
  submit(last_request(), std::move(command));
}

void Session::use(std::string_view name) {
  auto tube = host_.tubes.get(name);
  if (!tube) return say(line_of(Complaint::bad_format));
  Tube* old = std::exchange(used_, *tube);
  ++used_->users;
  --old->users;
  host_.tubes.release(*old);
  std::string line;
  append_using(line, used_->name);
  say(line);
}

void Session::watch(std::string_view name) {
  auto tube = host_.tubes.get(name);
  if (!tube) return say(line_of(Complaint::bad_format));
  if (std::find(watched_.begin(), watched_.end(), *tube) == watched_.end()) {
    if (watched_.size() == base::kReserveQueuesMax) {
      host_.tubes.release(**tube);
      return say(kOutOfMemory);
    }
    ++(*tube)->watchers;
    watched_.push_back(*tube);
    flush_group();
    watch_list_.reset();
  }
  std::string line;
  append_watching(line, watched_.size());
  say(line);
}

void Session::ignore(std::string_view name) {
  const auto at = std::find_if(watched_.begin(), watched_.end(),
                               [name](const Tube* tube) { return tube->name == name; });
  if (at != watched_.end()) {
    if (watched_.size() == 1) return say(kNotIgnored);
    Tube* tube = *at;
    watched_.erase(at);
    flush_group();
    watch_list_.reset();
    --tube->watchers;
    host_.tubes.release(*tube);
  }
  std::string line;
  append_watching(line, watched_.size());
  say(line);
}

void Session::list_watched() {
  Yaml yaml;
  for (const Tube* tube : watched_) yaml.item(tube->name);
  std::string reply;
  append_ok(reply, yaml.text());
  say(reply);
}

// --- Slots and groups ---

Session::Slot& Session::add_slot(Verb verb) {
  Slot& slot = slots_.emplace_back();
  slot.verb = verb;
  ++next_request_;
  if (has_body(verb)) ++bodies_;
  return slot;
}

Session::Slot* Session::slot_of(std::uint64_t request) {
  const std::uint64_t open = slots_.size() - head_;
  const std::uint64_t first = next_request_ - open;
  if (request < first || request >= next_request_) return nullptr;
  Slot& slot = slots_[head_ + static_cast<std::size_t>(request - first)];
  return slot.answered ? nullptr : &slot;
}

void Session::say(std::string_view line) {
  if (slots_.size() == head_) {
    out_.append(line);
    return;
  }
  flush_group();  // its slots are neighbours
  Slot& slot = add_slot(Verb::quit);
  slot.text = line;
  slot.answered = true;
}

std::string& Session::reply_of(Slot& slot) {
  slot.text.clear();
  return &slot == &slots_[head_] ? out_ : slot.text;
}

void Session::answered(Slot& slot) {
  slot.answered = true;
  if (is_reserve(slot.verb)) {
    --reserving_;
    if (slot.waits) --waiting_;
  }
  if (has_body(slot.verb)) --bodies_;
  put_bytes_ -= slot.bytes;
  if (&slot == &slots_[head_]) advance();
}

void Session::advance() {
  while (head_ < slots_.size() && slots_[head_].answered) {
    out_.append(slots_[head_].text);
    ++head_;
  }
  if (head_ == slots_.size()) {
    slots_.clear();
    head_ = 0;
    if (slots_.capacity() > kSlotsKept) std::vector<Slot>().swap(slots_);
  } else if (head_ >= kSlotsKept && head_ * 2 >= slots_.size()) {
    slots_.erase(slots_.begin(), slots_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
}

void Session::submit(std::uint64_t request, core::Command&& command) {
  flush_group();
  host_.submit({0, connection_, request, true}, std::move(command));
}

void Session::submit_more(std::uint64_t request, core::Command&& command) {
  host_.submit({0, connection_, request}, std::move(command));
}

void Session::open_group(Group group) {
  if (group_ == group) return;
  flush_group();
  group_ = group;
  group_request_ = next_request_;
}

void Session::flush_group() {
  if (group_ == Group::none) return;
  const Group group = std::exchange(group_, Group::none);
  const std::uint64_t request = group_request_;
  Slot* slot = slot_of(request);
  if (slot == nullptr) return;
  core::Command command;
  switch (group) {
    case Group::put:
      slot->group = static_cast<std::uint32_t>(puts_.puts.size());
      if (puts_.puts.size() == 1) {
        command = std::move(puts_.puts.front());
        puts_.puts.clear();
      } else {
        command = std::exchange(puts_, {});
      }
      break;
    case Group::finish:
      slot->group = static_cast<std::uint32_t>(finishes_.items.size());
      command = std::exchange(finishes_, {});
      break;
    case Group::touch:
      slot->group = static_cast<std::uint32_t>(touches_.items.size());
      command = std::exchange(touches_, {});
      break;
    case Group::reserve:
      return submit_reserve(request, std::exchange(reserves_, 0));
    case Group::none:
      return;
  }
  host_.submit({0, connection_, request, true}, std::move(command));
}

void Session::submit_reserve(std::uint64_t request, std::uint32_t count) {
  Slot* slot = slot_of(request);
  if (slot == nullptr) return;
  slot->group = count;
  if (watch_list_ == nullptr) {
    auto list = std::make_shared<std::vector<core::ReserveQueue>>();
    list->reserve(watched_.size());
    for (const Tube* tube : watched_) list->push_back({tube->queue, 0});
    watch_list_ = std::move(list);
  }
  core::Reserve command;
  command.queues = watch_list_;
  command.limit = count;
  command.each = true;
  command.wait_until = reserve_until_;
  command.lease_guard = kSafetyMargin;
  command.end = core::LeaseEnd::connection;
  command.make_queue = true;
  host_.submit({0, connection_, request, true}, std::move(command));
}

// When the safety margin of a job in hand begins: perhaps it has begun.
std::optional<Instant> Session::deadline_soon() {
  if (reserved_.size() == 0) return std::nullopt;
  const auto soonest = reserved_.soonest(host_.now());
  if (!soonest) return std::nullopt;
  return *soonest - kSafetyMargin;
}

// --- Replies ---

void Session::deliver(core::Delivery& delivery) {
  if (gone_) return;
  const std::uint64_t request = delivery.ticket.request;
  std::visit([this, request](auto& reply) { on(request, reply); }, delivery.reply);
}

template <typename Other>
void Session::on(std::uint64_t /*request*/, Other& /*reply*/) {}

void Session::on(std::uint64_t request, core::PutDone& reply) {
  Slot* slot = slot_of(request);
  if (slot == nullptr) return;
  append_inserted(reply_of(*slot), static_cast<std::uint64_t>(reply.seq));
  answered(*slot);
}

void Session::on(std::uint64_t request, core::PutManyDone& reply) {
  for (base::Result<core::PutDone>& one : reply.puts) {
    if (one) {
      on(request, *one);
    } else if (Slot* slot = slot_of(request)) {
      fail(*slot, one.error().code);
    }
    ++request;
  }
}

void Session::on(std::uint64_t request, core::Reserved& reply) {
  Slot* first = slot_of(request);
  if (first == nullptr) return;
  const std::uint32_t asked = std::max<std::uint32_t>(first->group, 1);
  const auto got = static_cast<std::uint32_t>(reply.messages.size());
  for (std::uint32_t i = 0; i < got; ++i) {
    Slot* slot = slot_of(request + i);
    RQ_CHECK(slot != nullptr && i < asked);
    reserved_one(*slot, reply.messages[i]);
  }
  if (got == asked) return;
  if (got > 0) {
    // The others are answered later.
    Slot* rest = slot_of(request + got);
    RQ_CHECK(rest != nullptr);
    rest->group = asked - got;
    return;
  }
  const auto soon = deadline_soon();
  const bool margin = soon && *soon <= host_.now();
  for (std::uint32_t i = 0; i < asked; ++i) {
    Slot* slot = slot_of(request + i);
    RQ_CHECK(slot != nullptr);
    const bool job = slot->verb == Verb::reserve_job;
    reply_of(*slot).append(job ? kNotFound : margin ? kDeadlineSoon : kTimedOut);
    answered(*slot);
  }
}

void Session::reserved_one(Slot& slot, const core::Message& message) {
  const core::Lease& lease = *message.lease;
  reserved_.insert({{message.seq, lease.attempt, lease.boot}, lease.until});
  body_seen_ = std::max(message.payload.size() + 1, body_seen_ - body_seen_ / 8);
  append_reserved(reply_of(slot), static_cast<std::uint64_t>(message.seq), message.payload);
  answered(slot);
}

void Session::on(std::uint64_t request, core::FinishDone& reply) {
  for (const base::Result<core::State>& state : reply.items) {
    if (Slot* slot = slot_of(request)) finished_one(*slot, state, request);
    ++request;
  }
}

void Session::finished_one(Slot& slot, const base::Result<core::State>& state,
                           std::uint64_t request) {
  if (!state) {
    if (slot.verb == Verb::remove && state.error().code == Code::lease_lost) {
      // Its time ran out: it waits again, and may be deleted as any waiting job.
      core::Act act;
      act.action = core::Action::remove;
      act.messages.push_back(slot.token.seq);
      return submit_more(request, std::move(act));
    }
    return fail(slot, state.error().code);
  }
  reply_of(slot).append(slot.verb == Verb::remove    ? kDeleted
                        : slot.verb == Verb::release ? kReleased
                                                     : kBuried);
  answered(slot);
}

void Session::on(std::uint64_t request, core::HeartbeatDone& reply) {
  for (const base::Result<core::HeartbeatDone::Item>& item : reply.items) {
    if (Slot* slot = slot_of(request)) {
      if (item) {
        ReservedJobs::Job* job = reserved_.find(slot->token.seq);
        if (job != nullptr && job->token == slot->token) reserved_.touch(*job, item->until);
        reply_of(*slot).append(kTouched);
        answered(*slot);
      } else {
        fail(*slot, item.error().code);
      }
    }
    ++request;
  }
}

void Session::on(std::uint64_t request, core::ActDone& reply) {
  Slot* slot = slot_of(request);
  if (slot == nullptr || reply.items.empty()) return;
  if (!reply.items.front()) return fail(*slot, reply.items.front().error().code);
  reply_of(*slot).append(kDeleted);
  answered(*slot);
}

void Session::on(std::uint64_t request, core::RunEarlyDone& reply) {
  Slot* slot = slot_of(request);
  if (slot == nullptr) return;
  append_kicked(reply_of(*slot), static_cast<std::uint64_t>(reply.count));
  answered(*slot);
}

void Session::on(std::uint64_t request, core::Ok& /*reply*/) {
  Slot* slot = slot_of(request);
  if (slot == nullptr) return;
  reply_of(*slot).append(slot->verb == Verb::pause_tube ? kPaused : kKickedOne);
  answered(*slot);
}

void Session::on(std::uint64_t request, core::Peeked& reply) {
  Slot* slot = slot_of(request);
  if (slot == nullptr) return;
  if (!is_job(reply.message)) return fail(*slot, Code::not_found);
  if (slot->verb == Verb::stats_job) {
    slot->peeked = std::make_unique<core::Peeked>(std::move(reply));
    const core::Message& message = slot->peeked->message;
    if (message.lease || message.lease_length) {
      return job_stats(*slot, std::nullopt);
    }
    // Its time to run is the queue's.
    return submit_more(request, core::ShowQueue{slot->peeked->queue});
  }
  const core::Message& message = reply.message;
  body_seen_ = std::max(message.payload.size() + 1, body_seen_ - body_seen_ / 8);
  append_found(reply_of(*slot), static_cast<std::uint64_t>(message.seq), message.payload);
  answered(*slot);
}

void Session::on(std::uint64_t request, core::QueueShown& reply) {
  Slot* slot = slot_of(request);
  if (slot == nullptr) return;
  if (slot->verb == Verb::stats_job) {
    return job_stats(*slot, reply.queue.settings.lease);
  }
  if (slot->verb == Verb::pause_tube) {
    reply_of(*slot).append(kPaused);
    return answered(*slot);
  }
  const std::string tube = slot->text;
  append_ok(reply_of(*slot), stats_of_tube(tube, host_.tubes.find(tube), &reply, host_.now()));
  answered(*slot);
}

void Session::job_stats(Slot& slot, std::optional<Millis> queue_lease) {
  append_ok(reply_of(slot), stats_of_job(*slot.peeked, queue_lease, host_.now()));
  answered(slot);
}

void Session::on(std::uint64_t request, core::QueuesListed& reply) {
  Slot* slot = slot_of(request);
  if (slot == nullptr) return;
  append_ok(reply_of(*slot), list_of_tubes(reply, host_.tubes));
  answered(*slot);
}

void Session::on(std::uint64_t request, core::EngineStatsDone& reply) {
  Slot* slot = slot_of(request);
  if (slot == nullptr) return;
  append_ok(reply_of(*slot), host_.stats(reply));
  answered(*slot);
}

void Session::on(std::uint64_t request, base::Error& reply) {
  Slot* first = slot_of(request);
  if (first == nullptr) return;
  if (reply.code == Code::not_found) {
    Tube* known = host_.tubes.find(first->text);
    if (first->verb == Verb::kick) {
      append_kicked(reply_of(*first), 0);
      return answered(*first);
    }
    if (first->verb == Verb::stats_tube && known != nullptr) {
      const std::string tube = first->text;
      append_ok(reply_of(*first), stats_of_tube(tube, known, nullptr, host_.now()));
      return answered(*first);
    }
    if (first->verb == Verb::pause_tube && known != nullptr && first->group == 0) {
      return make_and_pause(request, *first);
    }
  }
  const std::uint32_t count = std::max<std::uint32_t>(first->group, 1);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (Slot* slot = slot_of(request + i)) fail(*slot, reply.code);
  }
}

// Somebody refers to the tube, but it has no queue yet: it gets one, as the first put would make
// it.
void Session::make_and_pause(std::uint64_t request, Slot& slot) {
  const Tube* tube = host_.tubes.find(slot.text);
  RQ_CHECK(tube != nullptr);
  slot.group = 1;  // not a third time
  core::DefineQueue define;
  define.queue = tube->queue;
  define.on_demand = true;
  define.settings.keep_done.count = 0;
  submit_more(0, std::move(define));
  const Millis lasts = std::max(delay_of(slot.delay_s), Millis{1});
  submit_more(request, core::SetAdmin{tube->queue, core::Admin::pause, lasts});
}

void Session::fail(Slot& slot, Code code) {
  reply_of(slot).append(word_of(code)).append("\r\n");
  answered(slot);
}

// --- The end ---

void Session::end_of_input() {
  if (input_ended_) return;
  input_ended_ = true;
  if (waiting_ > 0) submit_more(0, core::StopWaiting{});
}

void Session::disconnect() {
  if (gone_) return;
  gone_ = true;
  if (is_worker_) submit_more(0, core::Disconnect{});
}

void Session::out_sent(std::size_t bytes) {
  sent_ += bytes;
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
  } else if (sent_ >= kOutBytesMax) {
    out_.erase(0, sent_);
    sent_ = 0;
  }
}

}  // namespace rq::doors::beanstalk
