#include "worker/loop.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "base/limits.h"

namespace rq::worker {
namespace {

using base::Code;
using base::Millis;
using base::Result;
using boost::system::error_code;
using client::Reply;

constexpr std::string_view kEventsPath = "/v1/events?kinds=queue,queue_removed,stop";
constexpr Millis kDiskDelay{5'000};  // before a message whose folder cannot be made is tried again
constexpr Millis kMachineDelay{1'000};  // the same, for a machine out of processes or memory
constexpr std::chrono::seconds kLastWordsWait{10};  // for a server that is gone, at the very end

}  // namespace

Loop::Loop(LoopFacts facts, client::Endpoint endpoint, RunningRecord& record)
    : facts_(std::move(facts)),
      record_(record),
      io_(1),
      client_(io_, std::move(endpoint)),
      supervisor_(*this),
      reporter_(io_, client_,
                {.on_stop = [this](const std::string& token) { stop_attempt(token); },
                 .on_lost = [this](const std::string& token) { lose_attempt(token); },
                 .on_idle = [this] { end_if_done(); },
                 .on_ending = [this] { send_soon(); }}),
      children_ready_(io_, supervisor_.fd()),
      signals_ready_(io_),
      load_timer_(io_),
      error_timer_(io_),
      end_timer_(io_) {
  sigset_t heard;
  ::sigemptyset(&heard);
  ::sigaddset(&heard, SIGTERM);
  ::sigaddset(&heard, SIGINT);
  ::sigaddset(&heard, SIGHUP);
  RQ_CHECK(::sigprocmask(SIG_BLOCK, &heard, nullptr) == 0);
  signal_fd_.reset(::signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK));
  RQ_CHECK(signal_fd_.is_open());
  signals_ready_.assign(signal_fd_.get());
}

Loop::~Loop() {
  // The descriptors have other owners.
  children_ready_.release();
  signals_ready_.release();
}

void Loop::hand_back(const std::vector<std::string>& tokens) {
  for (const std::string& token : tokens) {
    reporter_.finish(
        {.token = token, .outcome = "release", .reason = "the worker died", .post_mortem = {}});
  }
}

int Loop::run() {
  wait_children();
  wait_signals();
  client_.subscribe(
      kEventsPath,
      {.on_event = [this](std::string_view event, std::string_view data) { on_event(event, data); },
       .on_down = [this] { on_down(); }});
  io_.run();
  return 0;
}

// --- From a leased message to a running script ---

void Loop::take(const StationPtr& station, LeasedMessage message) {
  auto attempt = std::make_shared<Attempt>();
  attempt->message = std::move(message);
  attempt->station = station;
  reporter_.track(attempt->message.token, attempt->message.lease);
  by_token_.emplace(attempt->message.token, attempt);
  if (!may_begin(*station)) {
    give_back(attempt, {}, Millis{0});
  } else if (station->busy < station->view.settings.num_workers) {
    begin(attempt);
  } else if (std::ssize(station->ahead) < lead(*station)) {
    attempt->record_slot = record_.add({}, attempt->message.token);
    station->ahead.push_back(attempt);
    bound_ahead(station);
    // Now, while the slots are busy; should it fail, launch() says so.
    const Credentials* credentials = station->credentials ? &*station->credentials : nullptr;
    static_cast<void>(prepare_folder(facts_.dir, attempt->message.folder, credentials));
  } else {
    give_back(attempt, {}, Millis{0});
  }
}

bool Loop::may_begin(const Station& station) const {
  return stop_signals_ == 0 && !station.removed && station.error.empty() &&
         station.held_until <= Steady::now();
}

// Has a slot for it.
void Loop::begin(const AttemptPtr& attempt) {
  attempt->has_slot = true;
  ++attempt->station->busy;
  record_.remove(std::exchange(attempt->record_slot, -1));
  const std::int64_t seq = attempt->message.seq;
  if (const auto before = by_seq_.find(seq); before != by_seq_.end()) {
    // Its lease went while the server was away. The folder is one: the old script goes first.
    const AttemptPtr old = before->second;
    if (!old->settled) lose_attempt(old->message.token);
    if (by_seq_.count(seq) != 0) {
      waiting_[seq] = attempt;
      return;
    }
  }
  launch(attempt);
}

// A slot is free: the next begins without a word with the server.
void Loop::begin_ahead(const StationPtr& station) {
  if (!may_begin(*station)) give_back_ahead(*station);
  while (!station->ahead.empty() && station->busy < station->view.settings.num_workers) {
    const AttemptPtr next = station->ahead.front();
    station->ahead.pop_front();
    begin(next);
  }
}

void Loop::give_back_ahead(Station& station) {
  while (!station.ahead.empty()) {
    const AttemptPtr last = station.ahead.back();
    station.ahead.pop_back();
    give_back(last, "leased ahead, not begun", Millis{0});
  }
}

// Another worker may have a slot for what waits here: when the scripts are not as short as they
// were, it goes back, and nothing is leased ahead until they are short again.
void Loop::bound_ahead(const StationPtr& station) {
  if (station->ahead_timer_armed) return;
  station->ahead_timer_armed = true;
  station->ahead_timer.expires_after(base::kAheadHold);
  station->ahead_timer.async_wait(
      [this, station, first = station->ahead.front()->message.seq](const error_code& error) {
        station->ahead_timer_armed = false;
        if (error || station->ahead.empty()) return;
        if (station->ahead.front()->message.seq == first) {
          station->usual = base::kAheadScriptMax;
          give_back_ahead(*station);
        } else {
          bound_ahead(station);
        }
      });
}

void Loop::launch(const AttemptPtr& attempt) {
  Station& station = *attempt->station;
  const LeasedMessage& message = attempt->message;
  const core::QueueSettings& settings = station.view.settings;
  const Result<const Script*> script = station.script.look();
  if (!script) {
    set_error(attempt->station, script.error().message);
    give_back(attempt, {}, Millis{0});
    return;
  }
  const Credentials* credentials = station.credentials ? &*station.credentials : nullptr;
  Result<MessageFolder> folder = prepare_folder(facts_.dir, message.folder, credentials);
  if (!folder) {
    spdlog::error("message {}: {}", message.id, folder.error().message);
    give_back(attempt, folder.error().message, kDiskDelay);
    return;
  }
  attempt->script_path = (*script)->real_path;
  attempt->script_sha256 = (*script)->sha256;

  Launch launch;
  launch.program = (*script)->program;
  launch.argv = (*script)->argv;
  launch.cookie = fmt::format("{}{}", record_.mark(), ++serial_);
  launch.environment = message_environment(station.environment, facts_.worker,
                                           {.script = settings.script,
                                            .real_script = (*script)->real_path,
                                            .job_dir = folder->job,
                                            .cookie = launch.cookie},
                                           message);
  launch.cwd = std::move(folder->job);
  launch.log_path = std::move(folder->log);
  launch.header = header_of(**script);
  launch.payload = std::move(attempt->message.payload);
  launch.nice = settings.nice;
  launch.limits = {.cpu_seconds = settings.limits.cpu_seconds,
                   .open_files = settings.limits.open_files,
                   .file_bytes = settings.limits.file_bytes,
                   .processes = settings.limits.processes};
  launch.memory_bytes = settings.limits.memory_bytes;
  launch.credentials = credentials;
  launch.timeout = message.timeout.count() >= 0 ? message.timeout : settings.timeout;
  launch.grace = settings.grace;

  Supervisor::Started started;
  if (const auto failure = supervisor_.start(launch, started)) {
    not_started(attempt, *failure);
    return;
  }
  attempt->child = started.child;
  attempt->record_slot = record_.add(started.process, message.token);
  by_child_.emplace(started.child, attempt);
  by_seq_[message.seq] = attempt;
}

void Loop::not_started(const AttemptPtr& attempt, const SpawnFailure& failure) {
  using Step = SpawnFailure::Step;
  Station& station = *attempt->station;
  const std::string why = base::text_of_errno(failure.error);
  switch (failure.step) {
    case Step::exec:
      if (failure.error == E2BIG) {
        // The message's own fault, and the same each time.
        attempt->ending = Finish{.token = attempt->message.token,
                                 .outcome = "err",
                                 .reason =
                                     "the parameters and tags of the message are more than "
                                     "an environment may hold",
                                 .post_mortem = {}};
        attempt->gone = true;
        settle(attempt);
        return;
      }
      if (failure.error == ENOMEM || failure.error == EAGAIN || failure.error == ETXTBSY ||
          failure.error == EMFILE || failure.error == ENFILE) {
        break;
      }
      station.script.blame(
          fmt::format("script '{}' cannot be executed: {}; see to the file and to "
                      "the interpreter that it names",
                      attempt->script_path, why));
      set_error(attempt->station,
                fmt::format("script '{}' cannot be executed: {}; see to the file and to the "
                            "interpreter that it names",
                            attempt->script_path, why));
      give_back(attempt, {}, Millis{0});
      return;
    case Step::user:
    case Step::limits: {
      const std::string error =
          failure.step == Step::user
              ? fmt::format("user '{}': {}; run the worker as root, or change 'user' of the queue",
                            station.view.settings.user, why)
              : fmt::format(
                    "the limits of the queue cannot be set: {}; a limit may not be above "
                    "the worker's own",
                    why);
      station.script.blame(error);
      set_error(attempt->station, error);
      give_back(attempt, {}, Millis{0});
      return;
    }
    case Step::folder:
      spdlog::error("message {}: its folder is no place to run in: {}", attempt->message.id, why);
      give_back(attempt, fmt::format("no folder to run in: {}", why), kDiskDelay);
      return;
    case Step::clone:
    case Step::descriptors:
      break;
  }
  spdlog::error("message {} cannot be started now: {}", attempt->message.id, why);
  station.held_until = Steady::now() + kMachineDelay;
  give_back(attempt, fmt::format("no process to be had: {}", why), kMachineDelay);
}

// Never started: the message goes back as it was.
void Loop::give_back(const AttemptPtr& attempt, std::string reason, Millis delay) {
  attempt->ending = Finish{.token = attempt->message.token,
                           .outcome = "release",
                           .reason = std::move(reason),
                           .post_mortem = {},
                           .delay_ms = delay.count()};
  attempt->gone = true;
  settle(attempt);
}

std::string Loop::header_of(const Script& script) {
  const std::time_t now = ::time(nullptr);
  if (now != header_second_ || header_time_.empty()) {
    header_second_ = now;
    tm local{};
    ::localtime_r(&now, &local);
    char text[64];
    header_time_.assign(text, ::strftime(text, sizeof text, " - %Y-%m-%d %H:%M:%S %z", &local));
  }
  return fmt::format("{} - RQ START - {}\n", header_time_, script.real_path);
}

// --- While it runs ---

void Loop::on_line(ChildId child, const wire::PipeLine& line) {
  const auto found = by_child_.find(child);
  if (found == by_child_.end() || found->second->lost) return;
  const AttemptPtr attempt = found->second;
  switch (line.word) {
    case wire::PipeWord::dup:
      attempt->dups.push_back(line);
      if (attempt->dups.size() >= base::kDupsWaitingMax) supervisor_.set_reading(child, false);
      next_dup(attempt);
      [[fallthrough]];
    case wire::PipeWord::run:
    case wire::PipeWord::other:
      reporter_.progress(attempt->message.token,
                         clean_text(line.text, base::kTextBytesMax, Keep::start));
      return;
    case wire::PipeWord::done:
    case wire::PipeWord::relayed:
    case wire::PipeWord::resend:
    case wire::PipeWord::err:
      return;  // told with the end, which is near
  }
}

void Loop::next_dup(const AttemptPtr& attempt) {
  while (!attempt->dup_under_way && !attempt->dups.empty()) {
    const wire::PipeLine& line = attempt->dups.front();
    std::string refusal;
    if (line.dest.empty()) {
      refusal = "dup failed - write it as: dup SECONDS-X-QUEUE";
    } else if (line.dest.starts_with("http")) {
      refusal = fmt::format("relaying is not configured - {} is on another machine", line.dest);
    }
    if (refusal.empty()) {
      attempt->dup_under_way = true;
      reporter_.duplicate(
          attempt->message.token, line.dest, line.delay_s,
          [this, attempt](const Result<Reply>& reply) { dup_answered(attempt, reply); });
      return;
    }
    supervisor_.reply(attempt->child, wire::pipe_fail(refusal));
    attempt->dups.pop_front();
  }
}

void Loop::dup_answered(const AttemptPtr& attempt, const Result<Reply>& reply) {
  const std::string dest = attempt->dups.front().dest;
  attempt->dups.pop_front();
  attempt->dup_under_way = false;
  std::string line;
  if (reply && reply->status / 100 == 2) {
    const auto value = parse_json(reply->body);
    const boost::json::value* id =
        value && value->is_object() ? value->get_object().if_contains("id") : nullptr;
    line = id != nullptr && id->is_string()
               ? wire::pipe_ok(full_id(facts_.worker.base_url, dest, id->get_string().c_str()))
               : wire::pipe_fail("dup failed - the server's answer has no id");
  } else {
    const base::Error error = reply ? client::error_of(*reply) : reply.error();
    line = error.code == Code::not_found || error.code == Code::bad_name
               ? wire::pipe_fail(fmt::format("couldn't connect to queue - {}", dest))
               : wire::pipe_fail(fmt::format("dup failed - {}", error.message));
  }
  supervisor_.reply(attempt->child, line);
  supervisor_.set_reading(attempt->child, true);
  next_dup(attempt);
  settle(attempt);
}

void Loop::stop_attempt(const std::string& token) {
  const auto found = by_token_.find(token);
  if (found == by_token_.end()) return;
  const AttemptPtr attempt = found->second;
  if (attempt->child != 0) {
    supervisor_.stop(attempt->child);
    return;
  }
  if (attempt->ending) return;
  attempt->ending = Finish{
      .token = token, .outcome = "stopped", .reason = "stopped before it began", .post_mortem = {}};
  forget_place(attempt);
  attempt->gone = true;
  settle(attempt);
}

// Somebody else may have the message now: the script ends at once, and nothing is said of it.
void Loop::lose_attempt(const std::string& token) {
  const auto found = by_token_.find(token);
  if (found == by_token_.end()) return;
  const AttemptPtr attempt = found->second;
  attempt->lost = true;
  reporter_.forget(token);
  if (attempt->child != 0) {
    spdlog::warn("message {}: its lease is lost, the script is killed", attempt->message.id);
    supervisor_.abandon(attempt->child);
    return;
  }
  forget_place(attempt);
  attempt->gone = true;
  settle(attempt);
}

// It will not begin.
void Loop::forget_place(const AttemptPtr& attempt) {
  std::erase(attempt->station->ahead, attempt);
  const auto waiting = waiting_.find(attempt->message.seq);
  if (waiting != waiting_.end() && waiting->second == attempt) waiting_.erase(waiting);
}

// --- The end ---

void Loop::on_ended(ChildId child, Ended&& ended) {
  const auto found = by_child_.find(child);
  if (found == by_child_.end()) return;
  const AttemptPtr attempt = found->second;
  attempt->gone = !ended.leftovers;
  attempt->station->usual = (attempt->station->usual * 7 + ended.wall) / 8;
  Verdict verdict = verdict_of(ended);
  if (attempt->handing_back && verdict.outcome == "stopped") {
    verdict.outcome = "release";
    verdict.reason = "the worker was stopped";
  }
  note_for_storm(*attempt->station, verdict.outcome, ended);
  attempt->ending = Finish{.token = attempt->message.token,
                           .outcome = verdict.outcome,
                           .reason = std::move(verdict.reason),
                           .post_mortem = post_mortem_of(ended, {.path = attempt->script_path,
                                                                 .sha256 = attempt->script_sha256}),
                           .delay_ms = verdict.delay_s * 1000};
  settle(attempt);
}

void Loop::on_gone(ChildId child) {
  const auto found = by_child_.find(child);
  if (found == by_child_.end()) return;
  const AttemptPtr attempt = found->second;
  by_child_.erase(found);
  attempt->gone = true;
  const std::int64_t seq = attempt->message.seq;
  if (const auto in_use = by_seq_.find(seq); in_use != by_seq_.end() && in_use->second == attempt) {
    by_seq_.erase(in_use);
  }
  settle(attempt);
  if (const auto next = waiting_.find(seq); next != waiting_.end()) {
    const AttemptPtr waiting = next->second;
    waiting_.erase(next);
    launch(waiting);
  }
  end_if_done();
}

// Tells the end and frees the slot, when nothing stands in the way any more.
void Loop::settle(const AttemptPtr& attempt) {
  if (attempt->settled) return;
  if (attempt->lost) {
    if (!attempt->gone) return;
  } else {
    if (!attempt->ending || !attempt->dups.empty()) return;
    // What might run again must not meet what is left of this run in its folder.
    if (!attempt->gone && may_run_again(attempt->ending->outcome)) return;
    reporter_.finish(std::move(*attempt->ending));
  }
  attempt->settled = true;
  by_token_.erase(attempt->message.token);
  record_.remove(std::exchange(attempt->record_slot, -1));
  if (attempt->has_slot) {
    --attempt->station->busy;
    begin_ahead(attempt->station);
  }
  fill(attempt->station);
  end_if_done();
}

// A script that dies at once, time after time, would keep the machine busy with starting it.
void Loop::note_for_storm(Station& station, std::string_view outcome, const Ended& ended) {
  if (outcome == "done" || outcome == "relayed") {
    station.quick_failures = 0;
    return;
  }
  if (outcome != "failed" || ended.wall >= base::kStormQuick) return;
  const int beyond = ++station.quick_failures - base::kStormFailures;
  if (beyond < 0) return;
  const Millis delay =
      std::min<Millis>(base::kStormDelayMin * (1LL << std::min(beyond, 20)), base::kStormDelayMax);
  station.held_until = Steady::now() + delay;
  spdlog::warn("queue '{}': {} quick failures in a row, the next start waits {} ms",
               station.view.name, station.quick_failures, delay.count());
}

// --- The process ---

void Loop::wait_children() {
  children_ready_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                             [this](const error_code& error) {
                               if (error) return;
                               supervisor_.handle();
                               wait_children();
                             });
}

void Loop::wait_signals() {
  signals_ready_.async_wait(
      boost::asio::posix::stream_descriptor::wait_read, [this](const error_code& error) {
        if (error) return;
        signalfd_siginfo info{};
        while (::read(signal_fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
          on_signal(static_cast<int>(info.ssi_signo));
        }
        wait_signals();
      });
}

void Loop::on_signal(int signal) {
  if (signal == SIGHUP) {
    // The local server ends. Scripts that run go on, and wait for the next one; without any there
    // is nothing to stay for.
    if (supervisor_.running() > 0 || !by_token_.empty() || !reporter_.idle()) return;
  }
  ++stop_signals_;
  if (stop_signals_ == 1) {
    spdlog::info("SIG{}: taking no more messages; {} scripts may end", ::sigabbrev_np(signal),
                 supervisor_.running());
    hang_up_all();
    // What waits for a folder has not begun.
    const auto waiting = std::move(waiting_);
    waiting_.clear();
    for (const auto& [seq, attempt] : waiting) give_back(attempt, {}, Millis{0});
    for (const auto& [name, station] : stations_) give_back_ahead(*station);
  } else if (stop_signals_ == 2) {
    spdlog::info("SIG{}: stopping {} scripts and handing their messages back",
                 ::sigabbrev_np(signal), supervisor_.running());
    std::vector<AttemptPtr> running;
    for (const auto& [child, attempt] : by_child_) running.push_back(attempt);
    for (const AttemptPtr& attempt : running) {
      attempt->handing_back = true;
      supervisor_.stop(attempt->child);
    }
  } else {
    io_.stop();
    return;
  }
  end_if_done();
}

void Loop::hang_up_all() {
  for (const auto& [name, station] : stations_) {
    for (const auto request : station->reserves) client_.hang_up(request);
  }
}

void Loop::end_if_done() {
  if (stop_signals_ == 0 || !by_child_.empty() || !by_token_.empty()) return;
  for (const auto& [name, station] : stations_) {
    if (!station->reserves.empty()) return;
  }
  if (reporter_.idle()) {
    io_.stop();
    return;
  }
  if (connected_) return;
  // The server is gone too. Its leases will end by themselves.
  end_timer_.expires_after(kLastWordsWait);
  end_timer_.async_wait([this](const error_code& error) {
    if (!error) io_.stop();
  });
}

}  // namespace rq::worker
