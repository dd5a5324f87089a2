#include "store/contract/model_rig.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "core/store.h"

namespace rq::store::contract {

using base::Code;
using base::fail;
using base::Result;

namespace {

// The engine's own (engine/ledger.h); told again, as a model should.
constexpr std::chrono::minutes kIdle{10};

const Retention& retention_of(const QueueSettings& settings, State state) {
  if (state == State::err) return settings.keep_err;
  return state == State::cancelled ? settings.keep_cancelled : settings.keep_done;
}

}  // namespace

// --- Steps ---

Replies Model::pass(Instant now, const Jump& jump, const Choices& choices) {
  choices_ = choices;
  replies_.clear();
  now_ = now;
  for (Waiting& waiting : waiting_) {
    if (waiting.reserve.wait_until && *waiting.reserve.wait_until != Instant::max()) {
      *waiting.reserve.wait_until += jump.shift;
    }
  }
  for (auto& [seq, lease] : leases_) lease.until += jump.shift + jump.stopped;
  for (auto& [seq, message] : stored_.messages) {
    if (message.lease) message.lease->until += jump.shift + jump.stopped;
  }
  for (auto& [name, queue] : stored_.queues) {
    if (queue.paused_until != Instant{}) queue.paused_until += jump.shift;
  }
  run_due();
  serve();
  end_waits();
  fire_timers();
  settle();
  return std::exchange(replies_, {});
}

Replies Model::run(const Envelope& envelope, const Choices& choices) {
  choices_ = choices;
  replies_.clear();
  take_up(envelope);
  settle();
  return std::exchange(replies_, {});
}

void Model::settle() {
  for (int i = 0; i < 3; ++i) {
    serve();
    try_released();
    fire_timers();
  }
}

void Model::restart() {
  used_.clear();
  waiting_.clear();
  held_.clear();
  released_.clear();
  leases_.clear();
  for (const auto& [seq, message] : stored_.messages) {
    if (message.lease && message.lease->end == LeaseEnd::connection) orphans_.insert(seq);
  }
}

void Model::answer(std::uint64_t request, std::string text) {
  RQ_CHECK(replies_.emplace(request, std::move(text)).second);
}

// --- What is due ---

void Model::run_due() {
  std::vector<std::pair<Instant, Seq>> ended;
  for (const auto& [seq, message] : stored_.messages) {
    if (message.state != State::run) continue;
    if (orphans_.contains(seq) || message.lease->until <= now_) {
      ended.emplace_back(message.lease->until, seq);
    }
  }
  for (const auto& [until, seq] : ended) {
    Message& message = stored_.messages.at(seq);
    static_cast<void>(lose(message, why_ended(*message.lease)));
  }
  for (auto& [seq, message] : stored_.messages) {
    if (message.state == State::scheduled && message.due <= now_) message.state = State::que;
  }
}

std::string Model::why_ended(const core::Lease& lease) const {
  std::string text = "the connection of its lease has gone with an earlier start of the server";
  if (lease.until <= now_) {
    text = fmt::format("{} did not renew its lease within {} s",
                       lease.worker.empty() ? "its worker" : "the worker '" + lease.worker + "'",
                       static_cast<double>(lease.length.count()) / 1000.0);
  }
  const bool has_own_text = lease.stop == StopRequest::none && !lease.progress.empty();
  return has_own_text ? text + "; its last text: " + lease.progress : text;
}

State Model::lose(Message& message, std::optional<std::string> reason) {
  Queue& queue = queue_of(message);
  if (message.lease->stop != StopRequest::none) {
    const bool kill = message.lease->stop == StopRequest::kill;
    end_attempt(message, kill ? "killed" : "cancelled",
                after_stop(*message.lease, reason.value_or("")), {});
    return stop_attempt(message);
  }
  ++queue.counters.losses;
  ++message.losses;
  end_attempt(message, "lost", std::move(reason), {});
  if (queue.settings.losses > 0 && message.losses >= queue.settings.losses) {
    std::string& text = message.detail().progress;
    if (!text.empty()) text = "; the last: " + text;
    text = fmt::format("lease lost {} times in a row", message.losses) + text;
    return finish_as(message, Event::err, Mark::lost);
  }
  return send_back(message, Millis{0});
}

// What is ready goes to those who wait: whoever came first, while there is something.
void Model::serve() {
  for (bool served = true; served;) {
    served = false;
    for (std::size_t i = 0; i < waiting_.size() && !served; ++i) {
      if (best(waiting_[i].reserve).empty()) continue;
      served = true;
      Waiting waiting = waiting_[i];
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
      if (give(waiting.ticket, waiting.reserve)) {
        if (wait(waiting.ticket, waiting.reserve, waiting.queues)) continue;
        answer(waiting.ticket.request, text_of_reserved({}));
      }
      released_.push_back(waiting.ticket.connection);
    }
  }
}

void Model::end_waits() {
  std::vector<Waiting> over;
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    if (!waiting.reserve.wait_until || *waiting.reserve.wait_until > now_) return false;
    over.push_back(waiting);
    return true;
  });
  std::stable_sort(over.begin(), over.end(), [](const Waiting& a, const Waiting& b) {
    return *a.reserve.wait_until < *b.reserve.wait_until;
  });
  for (const Waiting& waiting : over) {
    answer(waiting.ticket.request, text_of_reserved({}));
    released_.push_back(waiting.ticket.connection);
  }
}

void Model::try_released() {
  while (!released_.empty()) {
    const std::uint64_t connection = released_.front();
    released_.pop_front();
    while (!held_[connection].empty()) {
      if (held_[connection].front().envelope.ticket.in_turn && waits(connection)) break;
      const Held held{copy_of(held_[connection].front().envelope), held_[connection].front().since};
      held_[connection].pop_front();
      Envelope envelope = copy_of(held.envelope);
      if (auto* reserve = std::get_if<Reserve>(&envelope.command)) {
        // Its time to wait begins now.
        if (reserve->wait_until && *reserve->wait_until != Instant::max()) {
          *reserve->wait_until += now_ - held.since;
        }
      }
      ticket_ = envelope.ticket;
      std::visit([this](const auto& command) { decide(command); }, envelope.command);
      serve();
    }
  }
}

void Model::fire_timers() {
  std::vector<std::string> gone;
  for (auto& [name, queue] : stored_.queues) {
    if (queue.paused_until != Instant{} && queue.paused_until <= now_) {
      queue.admin = Admin::up;
      queue.paused_until = Instant{};
      changed(queue);
    }
    for (const State kind : {State::done, State::err, State::cancelled}) keep(queue, kind);
    const auto idle = stored_.idle.find(name);
    if (idle == stored_.idle.end() || idle->second > now_) continue;
    const Counters counters = shown(queue).queue->counters;
    const bool empty = std::all_of(counters.in_state.begin(), counters.in_state.end(),
                                   [](std::int64_t n) { return n == 0; });
    if (!empty || shown(queue).waiting_reserves > 0) use(queue);
    idle->second = used_[name] + kIdle;
    if (idle->second <= now_) gone.push_back(name);
  }
  for (const std::string& name : gone) remove_queue(name);
}

// Retention: what is too old or too many goes, the oldest first.
void Model::keep(Queue& queue, State kind) {
  const Retention& keep = retention_of(queue.settings, kind);
  std::vector<std::pair<Instant, Seq>> kept;
  for (const auto& [seq, message] : stored_.messages) {
    if (message.queue != queue.id || !is_finished(message.state) || message.mark == Mark::held) {
      continue;
    }
    const State state = message.state == State::relayed ? State::done : message.state;
    if (state == kind) kept.emplace_back(message.finished, seq);
  }
  std::sort(kept.begin(), kept.end());
  auto left = static_cast<std::int64_t>(kept.size());
  for (const auto& [finished, seq] : kept) {
    if (left <= keep.count && finished + keep.age > now_) break;
    expire(stored_.messages.at(seq));
    --left;
  }
}

// --- Parts ---

Queue* Model::find_queue(std::string_view name) {
  const auto found = stored_.queues.find(std::string{name});
  return found == stored_.queues.end() ? nullptr : &found->second;
}

Queue& Model::queue_of(const Message& message) {
  for (auto& [name, queue] : stored_.queues) {
    if (queue.id == message.queue) return queue;
  }
  RQ_CHECK(false);
  std::abort();
}

Message* Model::find(Seq seq) {
  const auto found = stored_.messages.find(seq);
  return found == stored_.messages.end() ? nullptr : &found->second;
}

Result<Message*> Model::need(Seq seq) {
  if (Message* message = find(seq)) return message;
  return fail(Code::not_found, "");
}

Result<Message*> Model::need_leased(const Token& token) {
  Message* message = find(token.seq);
  if (message == nullptr || !message->lease || message->lease->attempt != token.attempt ||
      message->lease->boot != token.boot) {
    return fail(Code::lease_lost, "");
  }
  return message;
}

Queue& Model::make_queue(const std::string& name, bool on_demand, const QueueSettings& settings) {
  Queue queue;
  queue.id = ++queue_ids_;
  queue.name = name;
  queue.settings = settings;
  queue.created = now_;
  queue.revision = 1;
  queue.on_demand = on_demand;
  if (on_demand) {
    queue.settings = {};
    queue.settings.keep_done.count = 0;
    queue.settings.losses = 0;
    stored_.idle[name] = now_ + kIdle;
  }
  used_[name] = now_;
  return stored_.queues[name] = queue;
}

void Model::expire(Message& message) {
  Counters& counters = queue_of(message).counters;
  ++counters.expired;
  if (message.state == State::err) ++counters.expired_errs;
  erase(message);
}

void Model::erase(Message& message) {
  Queue& queue = queue_of(message);
  ++queue.counters.deletes;
  use(queue);
  const Seq seq = message.seq;
  stored_.attempts.erase(seq);
  stored_.messages.erase(seq);
}

void Model::remove_queue(const std::string& name) {
  for (std::size_t i = 0; i < waiting_.size();) {
    const auto& queues = waiting_[i].queues;
    if (std::find(queues.begin(), queues.end(), name) == queues.end()) {
      ++i;
      continue;
    }
    answer(waiting_[i].ticket.request, text_of(fail(Code::not_found, "")));
    released_.push_back(waiting_[i].ticket.connection);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  stored_.idle.erase(name);
  used_.erase(name);
  stored_.queues.erase(name);
}

bool Model::is_open(const Queue& queue) {
  return (queue.admin == Admin::up || queue.admin == Admin::drain) && queue.script_error.empty();
}

// What brings work in, and what moves on what is there.
Result<void> Model::takes(const Queue& queue) {
  if (queue.admin != Admin::drain && queue.admin != Admin::down) return {};
  return fail(Code::queue_down, "");
}

Result<void> Model::works(const Queue& queue) {
  return queue.admin != Admin::down ? Result<void>{} : fail(Code::queue_down, "");
}

QueueShown Model::shown(const Queue& queue) const {
  QueueShown out{.queue = queue};
  for (const auto& [seq, message] : stored_.messages) {
    if (message.queue != queue.id) continue;
    ++out.queue->counters.in(message.state);
    if (message.mark == Mark::held) ++out.queue->counters.held;
    if (message.state == State::que && message.priority > kHighPriority) ++out.queue->counters.high;
  }
  for (const Waiting& waiting : waiting_) {
    out.waiting_reserves += std::count(waiting.queues.begin(), waiting.queues.end(), queue.name);
  }
  return out;
}

std::vector<Seq> Model::best(const Reserve& reserve) const {
  std::vector<LineKey> keys;
  std::set<std::string> seen;
  for (const ReserveQueue& wanted : *reserve.queues) {
    const auto queue = stored_.queues.find(wanted.queue);
    if (queue == stored_.queues.end() || !is_open(queue->second)) continue;
    if (!seen.insert(wanted.queue).second) continue;
    std::vector<LineKey> line;
    for (const auto& [seq, message] : stored_.messages) {
      if (message.queue == queue->second.id && message.state == State::que) {
        line.push_back(line_key(message));
      }
    }
    std::sort(line.begin(), line.end());
    if (wanted.limit > 0 && std::ssize(line) > wanted.limit) {
      line.resize(static_cast<std::size_t>(wanted.limit));
    }
    keys.insert(keys.end(), line.begin(), line.end());
  }
  std::sort(keys.begin(), keys.end());
  if (std::ssize(keys) > reserve.limit) keys.resize(static_cast<std::size_t>(reserve.limit));
  std::vector<Seq> out;
  out.reserve(keys.size());
  for (const LineKey& key : keys) out.push_back(key.seq);
  return out;
}

bool Model::give(Ticket& ticket, Reserve& reserve) {
  std::vector<Seq> seqs = best(reserve);
  if (seqs.empty()) return true;
  std::vector<std::string> texts;
  texts.reserve(seqs.size());
  // It may be given less than there is, never nothing.
  const auto taken = choices_.taken.find(ticket.request);
  if (!reserve.each && taken != choices_.taken.end() && taken->second > 0 &&
      taken->second < std::ssize(seqs)) {
    seqs.resize(static_cast<std::size_t>(taken->second));
  }
  for (const Seq seq : seqs) texts.push_back(lease(stored_.messages.at(seq), ticket, reserve));
  if (!reserve.each) {
    answer(ticket.request, text_of_reserved(texts));
    return false;
  }
  for (const std::string& text : texts) answer(ticket.request++, text_of_reserved({text}));
  reserve.limit -= std::ssize(texts);
  return reserve.limit > 0;
}

std::string Model::lease(Message& message, const Ticket& ticket, const Reserve& reserve) {
  const Queue& queue = queue_of(message);
  auto lease = std::make_unique<core::Lease>();
  lease->attempt = message.attempts + 1;
  lease->boot = choices_.boot;
  lease->since = now_;
  lease->length =
      reserve.lease ? *reserve.lease : message.lease_length.value_or(queue.settings.lease);
  lease->until = now_ + lease->length;
  lease->end = reserve.end;
  lease->worker = reserve.worker;
  if (reserve.end == LeaseEnd::connection) {
    leases_[message.seq] = {ticket.connection,
                            {.seq = message.seq, .attempt = lease->attempt, .boot = lease->boot},
                            lease->until};
  }
  message.lease = std::move(lease);
  message.state = State::run;
  message.mark = Mark::none;
  if (reserve.folder && message.detail_or_default().folder.empty()) {
    message.detail().folder = folder_of(queue, message);
  }
  return text_of(message, queue.name);
}

bool Model::wait(const Ticket& ticket, Reserve reserve, std::vector<std::string> queues) {
  if (!reserve.wait_until) return false;
  if (reserve.lease_guard > Millis{0}) {
    for (const auto& [seq, lease] : leases_) {
      if (lease.connection != ticket.connection) continue;
      reserve.wait_until = std::min(*reserve.wait_until, lease.until - reserve.lease_guard);
    }
  }
  if (*reserve.wait_until <= now_) return false;
  waiting_.push_back({ticket, std::move(reserve), std::move(queues)});
  return true;
}

std::string Model::after_stop(const core::Lease& lease, std::string text) {
  if (text.empty()) return lease.progress;
  return text.ends_with(lease.progress) ? text : lease.progress + " - " + text;
}

void Model::end_attempt(Message& message, std::string_view outcome,
                        std::optional<std::string> reason, std::string post_mortem) {
  core::Lease& lease = *message.lease;
  leases_.erase(message.seq);
  orphans_.erase(message.seq);
  ++message.attempts;
  const std::string text = reason ? *reason : lease.progress;
  if (!queue_of(message).on_demand) {
    stored_.attempts[message.seq].push_back({.seq = message.seq,
                                             .number = lease.attempt,
                                             .worker = lease.worker,
                                             .started = lease.since,
                                             .ended = now_,
                                             .outcome = std::string{outcome},
                                             .reason = text,
                                             .post_mortem = std::move(post_mortem)});
    if (reason || !text.empty()) message.detail().progress = text;
  }
}

State Model::finish_as(Message& message, Event event, Mark mark) {
  Queue& queue = queue_of(message);
  if (event == Event::done || event == Event::relayed) ++queue.counters.dones;
  if (event == Event::err) ++queue.counters.errs;
  if (event == Event::cancel) ++queue.counters.cancels;
  message.state = *next(message.state, event);
  message.mark = mark;
  message.lease.reset();
  message.finished = now_;
  const State state = message.state;
  if (mark != Mark::held && retention_of(queue.settings, state).count == 0) expire(message);
  return state;
}

State Model::send_back(Message& message, Millis delay) {
  if (message.lease->stop != StopRequest::none) return stop_attempt(message);
  ++queue_of(message).counters.retries;
  message.lease.reset();
  message.mark = Mark::none;
  message.state = State::que;
  if (delay > Millis{0}) {
    message.due = now_ + delay;
    line_up(message);
    message.state = State::scheduled;
  }
  return message.state;
}

State Model::stop_attempt(Message& message) {
  if (message.lease->stop == StopRequest::kill) {
    return finish_as(message, Event::err, Mark::killed);
  }
  return finish_as(message, Event::cancel, Mark::none);
}

void Model::restart(Message& message) {
  message.failures = message.losses = message.count = 0;
  if (message.details) {
    message.details->progress.clear();
    message.details->result.clear();
  }
  ++queue_of(message).counters.retries;
  message.due = now_;
  line_up(message);
  message.state = State::que;
  message.mark = Mark::none;
  message.finished = Instant{};
}

void Model::make_ready(Message& message) {
  if (message.state == State::err) return restart(message);
  if (!queue_of(message).on_demand) message.due = now_;
  line_up(message);
  message.state = State::que;
}

void Model::line_up(Message& message) {
  message.order = queue_of(message).on_demand ? 0 : base::to_ms(message.due);
}

// Held ones by the time they were held, scheduled ones by their due time.
std::vector<Seq> Model::in_order(const std::string& queue, bool held) const {
  std::vector<std::pair<Instant, Seq>> found;
  const auto home = stored_.queues.find(queue);
  if (home == stored_.queues.end()) return {};
  for (const auto& [seq, message] : stored_.messages) {
    if (message.queue != home->second.id) continue;
    if (held && message.mark == Mark::held) found.emplace_back(message.finished, seq);
    if (!held && message.state == State::scheduled) found.emplace_back(message.due, seq);
  }
  std::sort(found.begin(), found.end());
  std::vector<Seq> out;
  out.reserve(found.size());
  for (const auto& [at, seq] : found) out.push_back(seq);
  return out;
}

bool Model::waits(std::uint64_t connection) const {
  return std::any_of(waiting_.begin(), waiting_.end(), [&](const Waiting& waiting) {
    return waiting.ticket.connection == connection;
  });
}

bool Model::holds(std::uint64_t connection) const {
  const auto found = held_.find(connection);
  return found != held_.end() && !found->second.empty();
}

std::string Model::dump() const {
  std::string out;
  for (const auto& [name, queue] : stored_.queues) {
    QueueShown one = shown(queue);
    one.waiting_reserves = 0;
    out += text_of(one) + "\n";
  }
  for (const auto& [seq, message] : stored_.messages) {
    for (const auto& [name, queue] : stored_.queues) {
      if (queue.id == message.queue) out += text_of(message, name) + "\n";
    }
  }
  for (const auto& [seq, attempts] : stored_.attempts) {
    for (const Attempt& attempt : attempts) out += text_of(attempt) + "\n";
  }
  return out;
}

}  // namespace rq::store::contract
