#include "doors/beanstalk/session.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "core/name.h"
#include "doors/beanstalk/bounds.h"
#include "doors/beanstalk/limits.h"

namespace rq::doors::beanstalk {
namespace {

using namespace wire::beanstalk;  // NOLINT(google-build-using-namespace): its adapter
using base::Instant;
using base::Millis;
using std::chrono::seconds;

// Bodies that may be on their way to one client: what it does not read must not fill the memory.
constexpr std::size_t kBodyBytesInFlight = 16 * base::kMiB;
// While their size is not known, and of those that are asked for by name: one large job can be
// asked for as often as somebody likes.
constexpr std::uint32_t kBodiesInFlightFirst = kBodyBytesInFlight / base::kPayloadBytesMax;
// What one client may send behind a reserve that waits, perhaps for ever.
constexpr std::uint64_t kBodyBytesHeldMax = 256 * base::kKiB;
constexpr std::size_t kCommandsHeldMax = 512;
// Of commands whose end nobody is told.
constexpr std::uint64_t kAside = std::numeric_limits<std::uint64_t>::max();

bool is_of_a_lease(Verb verb) {
  return verb == Verb::remove || verb == Verb::release || verb == Verb::bury || verb == Verb::touch;
}
// Done here, and seen by others at once.
bool changes_tubes(Verb verb) {
  return verb == Verb::use || verb == Verb::watch || verb == Verb::ignore;
}

// 0, which no message has, when it is larger than any.
core::Seq seq_of(std::uint64_t id) {
  return id <= static_cast<std::uint64_t>(std::numeric_limits<core::Seq>::max())
             ? static_cast<core::Seq>(id)
             : 0;
}

}  // namespace

Session::Session(Host& host, std::uint64_t connection, std::size_t body_bytes_max)
    : host_(host),
      connection_(connection),
      parser_(body_bytes_max),
      tubes_(host.tubes),
      slots_(host.in_flight),
      neighbours_(host, slots_, tubes_, connection),
      answers_(host, slots_, reserved_, connection) {
  ++host_.totals.connections;
  ++host_.totals.open;
}

Session::~Session() {
  --host_.totals.open;
  if (is_producer_) --host_.totals.producers;
  if (is_worker_) --host_.totals.workers;
}

// --- Requests ---

std::size_t Session::feed(std::string_view in) {
  blocked_ = false;
  yielded_ = false;
  std::size_t done = 0;
  std::size_t taken = 0;
  while (!ending_ && in.size() - done >= wanted_) {
    if (slots_.full()) {
      blocked_ = true;
      break;
    }
    if (++taken > kTurnCommands) {
      yielded_ = true;
      break;
    }
    const Parser::Step step = parser_.next(in.substr(done));
    if (step.kind == Parser::Step::Kind::more) {
      done += step.consumed;
      wanted_ = step.wanted;
      break;
    }
    if (step.kind == Parser::Step::Kind::complaint) {
      ending_ = step.complaint == Complaint::other_protocol;
      if (step.good_put) count_put(step.complaint == Complaint::expected_crlf);
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
  neighbours_.flush();
  return done;
}

bool Session::must_wait(const Request& request) {
  if (slots_.looking() > 0) return true;
  if (has_body(request.verb)) {
    const std::size_t allowed =
        slots_.body_seen() == 0 || !is_reserve(request.verb)
            ? kBodiesInFlightFirst
            : std::max<std::size_t>(1, kBodyBytesInFlight / slots_.body_seen());
    if (slots_.bodies() >= allowed) return true;
  }
  if (is_reserve(request.verb)) return false;
  if (slots_.waiting() > 0 &&
      (changes_tubes(request.verb) || slots_.put_bytes() >= kBodyBytesHeldMax ||
       slots_.size() >= kCommandsHeldMax)) {
    return true;
  }
  if (slots_.reserving() == 0 || !is_of_a_lease(request.verb)) return false;
  // It may be about the very job that is being reserved, perhaps once more: its time may be over.
  const ReservedJobs::Job* job = reserved_.find(seq_of(request.id));
  return job == nullptr || job->until - kSafetyMargin <= host_.now();
}

void Session::handle(const Request& request) {
  if (request.verb == Verb::put) return put(request);
  ++host_.totals.commands[static_cast<std::size_t>(request.verb)];
  switch (request.verb) {
    case Verb::put:
      return;
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
      append_using(line, tubes_.used().name);
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
      return look(request);
    case Verb::pause_tube:
      return pause_tube(request);
  }
}

// As beanstalkd counts: when the line of a put was good, whatever its body.
void Session::count_put(bool body_taken) {
  ++host_.totals.commands[static_cast<std::size_t>(Verb::put)];
  if (!body_taken || is_producer_) return;
  is_producer_ = true;
  ++host_.totals.producers;
}

void Session::put(const Request& request) {
  count_put(true);
  if (host_.draining()) return say("DRAINING\r\n");
  core::Put& put = neighbours_.add_put();
  slots_.add_put(request.body.size());
  put.queue = tubes_.used().queue;
  put.message.payload.assign(request.body);
  put.message.lease_length = lease_of(request.ttr_s);
  put.priority = priority_of(request.priority);
  if (request.delay_s > 0) put.delay = delay_of(request.delay_s);
  put.make_queue = true;
}

void Session::reserve(const Request& request) {
  becomes_worker();
  std::optional<Instant> until;
  if (input_ended_) {
    // It finds what it finds.
  } else if (request.verb == Verb::reserve) {
    until = Instant::max();
  } else if (request.timeout_s > 0) {
    until = host_.ahead() + seconds{request.timeout_s};
  }
  neighbours_.add_reserve(until);
  slots_.add_reserve(request.verb, until.has_value());
  if (neighbours_.full()) neighbours_.flush();
}

void Session::reserve_job(const Request& request) {
  const core::Seq seq = seq_of(request.id);
  if (seq == 0) return say(kNotFound);
  may_hold_ = true;
  neighbours_.flush();
  slots_.add_reserve(Verb::reserve_job, false).token.seq = seq;
  core::Reserve command;
  command.queues = std::make_shared<const std::vector<core::ReserveQueue>>();
  command.end = core::LeaseEnd::connection;
  command.only = seq;
  submit(std::move(command));
}

void Session::finish(const Request& request) {
  const core::Seq seq = seq_of(request.id);
  const ReservedJobs::Job* job = reserved_.find(seq);
  if (job == nullptr) {
    // Only delete is for jobs that are not in hand, too.
    if (request.verb != Verb::remove || seq == 0) return say(kNotFound);
    neighbours_.flush();
    slots_.add(Verb::remove).token.seq = seq;
    core::Act act;
    act.action = core::Action::remove;
    act.if_unfinished = true;  // others are no jobs
    act.messages.push_back(seq);
    return submit(std::move(act));
  }
  core::Finish::Item& item = neighbours_.add_finish();
  item.token = job->token;
  Slot& slot = slots_.add(request.verb);
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
  neighbours_.add_touch().token = job->token;
  slots_.add(Verb::touch).token = job->token;
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
      command = core::Peek{core::PeekWhat::ready, 0, tubes_.used().queue};
      break;
    case Verb::peek_delayed:
      command = core::Peek{core::PeekWhat::scheduled, 0, tubes_.used().queue};
      break;
    case Verb::peek_buried:
      command = core::Peek{core::PeekWhat::held, 0, tubes_.used().queue};
      break;
    case Verb::kick:
      command = core::RunEarly{
          tubes_.used().queue,
          static_cast<std::int64_t>(std::min<std::uint64_t>(request.bound, base::kBulkActionMax))};
      break;
    case Verb::kick_job:
      command = core::RunEarlyOne{seq};
      break;
    case Verb::stats:
      command = core::EngineStats{.names = true};
      break;
    case Verb::list_tubes:
      command = core::ListQueues{};
      break;
    case Verb::stats_tube: {
      auto queue = core::escaped_queue_name(request.tube);
      if (!queue) return say(line_of(Complaint::bad_format));
      tube = request.tube;
      forget_unused(request.tube);
      command = core::ShowQueue{std::move(*queue)};
      break;
    }
    default:
      command = core::Peek{core::PeekWhat::message, seq, {}};
      break;
  }
  neighbours_.flush();
  slots_.add(request.verb).text = std::move(tube);
  submit(std::move(command));
}

void Session::pause_tube(const Request& request) {
  auto queue = core::escaped_queue_name(request.tube);
  if (!queue) return say(line_of(Complaint::bad_format));
  neighbours_.flush();
  forget_unused(request.tube);
  Slot& slot = slots_.add(Verb::pause_tube);
  slot.text = request.tube;
  slot.delay_s = request.delay_s;
  submit(pause_of(std::move(*queue), request.delay_s));
}

void Session::use(std::string_view name) {
  forget_unused(name);
  if (tubes_.use(name, host_.now()) == TubeSet::Change::refused) {
    return say(line_of(Complaint::bad_format));
  }
  std::string line;
  append_using(line, tubes_.used().name);
  say(line);
}

void Session::watch(std::string_view name) {
  neighbours_.flush();  // reserves before it take from the tubes before it
  forget_unused(name);
  switch (tubes_.watch(name, host_.now())) {
    case TubeSet::Change::refused:
      return say(line_of(Complaint::bad_format));
    case TubeSet::Change::full:
      return say(kOutOfMemory);
    case TubeSet::Change::none:
    case TubeSet::Change::done:
      return say_watching();
  }
}

// A tube that nobody refers to and that holds nothing is not there, whatever is left of its queue.
void Session::forget_unused(std::string_view name) {
  if (host_.tubes.find(name) != nullptr) return;
  auto queue = core::escaped_queue_name(name);
  if (!queue) return;
  neighbours_.flush();
  slots_.begin_aside();
  host_.submit({0, connection_, kAside, true},
               core::DeleteQueue{.queue = std::move(*queue), .if_unused = true});
}

void Session::ignore(std::string_view name) {
  neighbours_.flush();
  if (tubes_.ignore(name) == TubeSet::Change::refused) return say(kNotIgnored);
  say_watching();
}

void Session::say_watching() {
  std::string line;
  append_watching(line, tubes_.watched().size());
  say(line);
}

void Session::list_watched() {
  Yaml yaml;
  for (const Tube* tube : tubes_.watched()) yaml.item(tube->name);
  std::string reply;
  append_ok(reply, yaml.text());
  say(reply);
}

void Session::say(std::string_view line) {
  if (!slots_.empty()) neighbours_.flush();  // their slots are neighbours
  slots_.say(line);
}

void Session::becomes_worker() {
  may_hold_ = true;
  if (is_worker_) return;
  is_worker_ = true;
  ++host_.totals.workers;
}

void Session::submit(core::Command&& command) {
  host_.submit({0, connection_, slots_.last(), true}, std::move(command));
}

void Session::tell(core::Command&& command) {
  host_.submit({0, connection_, 0}, std::move(command));
}

// --- Replies ---

void Session::deliver(core::Delivery& delivery) {
  if (gone_) return;
  if (delivery.ticket.request == kAside) return slots_.end_aside();
  answers_.deliver(delivery);
  // Who asks for one job is a worker when he gets it.
  if (!is_worker_ && reserved_.size() > 0) becomes_worker();
}

// --- The end ---

void Session::end_of_input() {
  if (input_ended_) return;
  input_ended_ = true;
  if (slots_.waiting() > 0) tell(core::StopWaiting{});
}

void Session::disconnect() {
  if (gone_) return;
  gone_ = true;
  if (may_hold_) tell(core::Disconnect{});
}

}  // namespace rq::doors::beanstalk
