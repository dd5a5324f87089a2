#include "worker/attempt.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <time.h>

#include <boost/json.hpp>
#include <cerrno>
#include <utility>

#include "base/limits.h"
#include "worker/verdict.h"

namespace rq::worker {
namespace {

using base::Code;
using base::Millis;
using base::Result;
using client::Reply;

constexpr Millis kDiskDelay{5'000};  // before a message whose folder cannot be made is tried again
// The same, for a machine out of processes or memory; and before any other of its queue is tried.
constexpr Millis kMachineDelay{1'000};
// Duplicates of one script that wait; more are read when these are done.
constexpr std::size_t kDupsWaitingMax = 64;

// The line for the script that asked for a duplicate.
std::string answer_to_dup(const Result<Reply>& reply, std::string_view base_url,
                          std::string_view dest) {
  const Result<boost::json::value> value = reply ? client::json_of(*reply) : reply.error();
  if (!value) {
    const base::Error& error = value.error();
    return error.code == Code::not_found || error.code == Code::bad_name
               ? wire::pipe_fail(fmt::format("couldn't connect to queue - {}", dest))
               : wire::pipe_fail(fmt::format("dup failed - {}", error.message));
  }
  const boost::json::value* id =
      value->is_object() ? value->get_object().if_contains("id") : nullptr;
  return id != nullptr && id->is_string()
             ? wire::pipe_ok(full_id(base_url, dest, id->get_string().c_str()))
             : wire::pipe_fail("dup failed - the server's answer has no id");
}

// By a signal, as itself or as a shell tells it.
bool was_told_to_end(int status) {
  constexpr int kShell = 128;
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) - kShell;
  return signal == SIGTERM || signal == SIGINT || signal == SIGHUP;
}

}  // namespace

std::string held_text(std::string_view worker, std::string_view how, std::int64_t deaths) {
  return fmt::format("held back: worker '{}' {} {} times while this message ran, each time it ran",
                     worker, how, deaths);
}

// --- The workshop ---

std::string Workshop::header(std::string_view script_path) {
  const std::time_t now = ::time(nullptr);
  if (now != header_second_ || header_time_.empty()) {
    header_second_ = now;
    tm local{};
    ::localtime_r(&now, &local);
    char text[64];
    header_time_.assign(text, ::strftime(text, sizeof text, " - %Y-%m-%d %H:%M:%S %z", &local));
  }
  return fmt::format("{} - RQ START - {}\n", header_time_, script_path);
}

// --- On its way to its script ---

Attempt::Attempt(Workshop& shop, StationPtr station, LeasedMessage message)
    : shop_(shop), station_(std::move(station)), message_(std::move(message)) {
  shop_.reporter.track(message_.token, message_.lease);
}

Attempt::Attempt(Workshop& shop, StationPtr station,
                 const RunningRecord::Leftovers::Staying& staying)
    : shop_(shop),
      station_(std::move(station)),
      has_slot_(true),
      record_slot_(staying.slot),
      kept_(shop.record.kept(staying.slot)),
      success_(static_cast<core::Success>(kept_->success)),
      deaths_(staying.deaths),
      witness_(staying.witness),
      script_path_(kept_->script.view()),
      script_sha256_(kept_->sha256.view()),
      dups_begun_(kept_->dups_done) {
  message_.token = kept_->token.view();
  message_.id = kept_->id.view();
  message_.seq = kept_->seq;
  message_.lease = Millis{kept_->lease_ms};
  station_->take_slot();
  shop_.reporter.track(message_.token, message_.lease);
  child_ = shop_.supervisor.adopt(*kept_, staying.process, staying.orphaned);
}

void Attempt::go_on() {
  // The last that it has said may not have been told.
  if (kept_->spoke != 0) {
    shop_.reporter.progress(message_.token,
                            clean_text(kept_->text.view(), base::kTextBytesMax, Keep::start),
                            Reporter::When::soon);
  }
  for (const std::string& line : kept_->waiting_dups()) {
    dups_.push_back(wire::parse_pipe_line(line));
  }
  if (dups_.size() >= kDupsWaitingMax) shop_.supervisor.set_reading(child_, false);
  next_dup();
}

// What another process needs to go on with it.
void Attempt::keep() {
  kept_->token.set(message_.token);
  kept_->id.set(message_.id);
  kept_->seq = message_.seq;
  kept_->lease_ms = message_.lease.count();
  kept_->queue.set(station_->name());
  kept_->success = static_cast<std::uint8_t>(success_);
  kept_->script.set(script_path_);
  kept_->sha256.set(script_sha256_);
}

void Attempt::unkeep() {
  kept_ = nullptr;
  shop_.record.remove(std::exchange(record_slot_, -1));
}

void Attempt::wait_for_slot() {
  record_slot_ = shop_.record.add(message_.token);
  // Now, while the slots are busy; should it fail, launch() says so. Not where the script runs as
  // another user: until it starts the queue may name a different one.
  if (station_->credentials() != nullptr) return;
  Result<Workplace> place = open_workplace(shop_.dir, message_.folder, nullptr);
  if (place) place_ = *std::move(place);
}

void Attempt::take_slot() {
  has_slot_ = true;
  station_->take_slot();
  shop_.record.remove(std::exchange(record_slot_, -1));
}

void Attempt::launch() {
  const Result<const Script*> script = station_->script().look();
  if (!script) {
    if (script.error().code != Code::bad_value) {
      return cannot_start(script.error().message, kDiskDelay);
    }
    shop_.host.on_script_error(station_, script.error().message);
    return give_back(script.error().message, Millis{0});
  }
  std::optional<Workplace> opened = std::exchange(place_, std::nullopt);
  Result<Workplace> place =
      opened && station_->credentials() == nullptr && is_as_opened(*opened)
          ? Result<Workplace>(*std::move(opened))
          : open_workplace(shop_.dir, message_.folder, station_->credentials());
  if (!place) {
    if (place.error().code != Code::bad_value) {
      return cannot_start(place.error().message, kDiskDelay);
    }
    spdlog::error("message {}: {}", message_.id, place.error().message);
    // The message's own fault, and the same each time.
    return end_with({.token = message_.token,
                     .outcome = "failed",
                     .reason = place.error().message,
                     .post_mortem = {}});
  }
  script_path_ = (*script)->real_path;
  script_sha256_ = (*script)->sha256;
  success_ = station_->success();
  record_slot_ = shop_.record.begin(message_.token);
  kept_ = shop_.record.kept(record_slot_);
  if (kept_ != nullptr) keep();
  Supervisor::Started started;
  if (const auto failure =
          shop_.supervisor.start(launch_of(**script, *std::move(place)), started)) {
    unkeep();
    not_started(*failure);
    return;
  }
  child_ = started.child;
  shop_.record.began(record_slot_, started.process);
  shop_.host.on_started(shared_from_this());
}

Launch Attempt::launch_of(const Script& script, Workplace place) {
  const core::QueueSettings& settings = station_->settings();
  Launch launch;
  launch.program = script.program;
  launch.argv = script.argv;
  launch.cookie = shop_.record.next_mark();
  launch.environment = message_environment(station_->environment(), shop_.worker,
                                           {.script = settings.script,
                                            .real_script = script.real_path,
                                            .job_dir = place.folder.job,
                                            .cookie = launch.cookie,
                                            .other_user = station_->credentials() != nullptr},
                                           message_);
  launch.cwd = std::move(place.folder.fd);
  launch.cwd_path = std::move(place.folder.job);
  launch.log = std::move(place.log);
  launch.header = shop_.header(script.real_path);
  launch.payload = std::move(message_.payload);
  launch.nice = settings.nice;
  launch.limits = station_->child_limits();
  launch.processes = settings.limits.processes;
  launch.memory_bytes = settings.limits.memory_bytes;
  launch.credentials = station_->credentials();
  launch.timeout = message_.timeout.count() >= 0 ? message_.timeout : settings.timeout;
  launch.grace = settings.grace;
  launch.kept = kept_;
  return launch;
}

void Attempt::not_started(const SpawnFailure& failure) {
  if (failure.step == SpawnFailure::Step::exec && failure.error == E2BIG) {
    // The message's own fault, and the same each time.
    end_with(
        {.token = message_.token,
         .outcome = "err",
         .reason = "the parameters and tags of the message are more than an environment may hold",
         .post_mortem = {}});
    return;
  }
  if (std::string error = station_->fault_of(failure); !error.empty()) {
    station_->script().blame(error);
    shop_.host.on_script_error(station_, error);
    return give_back(std::move(error), Millis{0});
  }
  cannot_start(fmt::format("no process to be had: {}", base::text_of_errno(failure.error)),
               kMachineDelay);
}

// The machine's fault. The queue waits a moment, or all of its messages would be tried, one after
// the other. This one may wait longer.
void Attempt::cannot_start(std::string why, Millis delay) {
  spdlog::error("message {} cannot be started now: {}", message_.id, why);
  station_->hold_until(std::chrono::steady_clock::now() + kMachineDelay);
  give_back(std::move(why), delay);
}

void Attempt::give_back(std::string reason, Millis delay) {
  end_with({.token = message_.token,
            .outcome = "release",
            .reason = std::move(reason),
            .post_mortem = {},
            .delay_ms = delay.count()});
}

// Without a script: there is nothing to wait for.
void Attempt::end_with(Finish finish) {
  ending_ = std::move(finish);
  gone_ = true;
  settle();
}

// --- From outside ---

void Attempt::stop() {
  if (child_ != 0) {
    shop_.supervisor.stop(child_);
  } else if (!ending_ && !lost_) {
    end_with({.token = message_.token,
              .outcome = "stopped",
              .reason = "stopped before it began",
              .post_mortem = {}});
  }
}

void Attempt::hand_back() {
  handing_back_ = true;
  stop();
}

void Attempt::lose(Ending how) {
  lost_ = true;
  shop_.reporter.forget(message_.token);
  if (child_ == 0) {
    gone_ = true;
  } else if (!gone_) {
    spdlog::warn("message {}: its lease is lost, the script is {}", message_.id,
                 how == Ending::killed ? "killed" : "stopped");
    if (how == Ending::killed) {
      shop_.supervisor.abandon(child_);
    } else {
      shop_.supervisor.stop(child_);
    }
  }
  settle();
}

// --- From its script ---

void Attempt::on_line(const wire::PipeLine& line) {
  if (lost_) return;
  switch (line.word) {
    case wire::PipeWord::dup:
      dups_.push_back(line);
      if (kept_ != nullptr) kept_->add_dup(line.text, line.dest, line.delay_s);
      if (dups_.size() >= kDupsWaitingMax) shop_.supervisor.set_reading(child_, false);
      next_dup();
      [[fallthrough]];
    case wire::PipeWord::run:
    case wire::PipeWord::other:
      shop_.reporter.progress(message_.token,
                              clean_text(line.text, base::kTextBytesMax, Keep::start),
                              Reporter::When::now);
      return;
    // The end, which tells it too, is near for most.
    case wire::PipeWord::done:
    case wire::PipeWord::relayed:
    case wire::PipeWord::resend:
    case wire::PipeWord::err:
      shop_.reporter.progress(message_.token,
                              clean_text(line.text, base::kTextBytesMax, Keep::start),
                              Reporter::When::soon);
      return;
  }
}

void Attempt::next_dup() {
  while (!dup_under_way_ && !dups_.empty()) {
    const wire::PipeLine& line = dups_.front();
    std::string refusal;
    if (line.dest.empty()) {
      refusal = "dup failed - write it as: dup SECONDS-X-QUEUE";
    } else if (line.dest.starts_with("http")) {
      refusal = fmt::format("relaying is not configured - {} is on another machine", line.dest);
    }
    if (refusal.empty()) {
      dup_under_way_ = true;
      shop_.reporter.duplicate(
          message_.token, line.dest, line.delay_s, ++dups_begun_,
          [self = shared_from_this()](const Result<Reply>& reply) { self->dup_answered(reply); });
      return;
    }
    shop_.supervisor.reply(child_, wire::pipe_fail(refusal));
    drop_dup();
  }
}

// Its answer is in the pipe. Should the worker die before this is noted, the script hears it twice:
// better than never.
void Attempt::drop_dup() {
  dups_.pop_front();
  if (kept_ == nullptr) return;
  kept_->dups_done = dups_begun_;
  kept_->drop_dup();
}

void Attempt::dup_answered(const Result<Reply>& reply) {
  const std::string line = answer_to_dup(reply, shop_.worker.base_url, dups_.front().dest);
  dup_under_way_ = false;
  shop_.supervisor.reply(child_, line);
  if (gone_ && line.starts_with("fail") && !std::exchange(unheard_told_, true)) {
    spdlog::warn(
        "message {}: its script has ended, and heard no answer to 'dup {}-X-{}': {}; of "
        "its others nothing is said",
        message_.id, dups_.front().delay_s, dups_.front().dest,
        std::string_view(line).substr(0, line.find('\n')));
  }
  drop_dup();
  shop_.supervisor.set_reading(child_, true);
  next_dup();
  settle();
}

// --- The end ---

void Attempt::on_ended(Ended&& ended) {
  gone_ = !ended.leftovers;
  log_ = std::move(ended.log);
  ended.cpu_seconds_max = station_->settings().limits.cpu_seconds;
  Verdict verdict = verdict_of(ended, success_);
  if (handing_back_ && verdict.outcome == "stopped") {
    note_end_with_worker();
    verdict.outcome = "release";
    verdict.reason = "the worker was stopped";
  }
  const auto now = std::chrono::steady_clock::now();
  if (station_->note_end(verdict.outcome, ended.wall, now)) {
    shop_.reporter.hold_back(station_->name(), "a script has done its work", {});
  } else if (const auto held = station_->held_until() - now; held.count() > 0) {
    shop_.reporter.hold_back(station_->name(), station_->storm(verdict.reason), held);
  }
  Finish finish{
      .token = message_.token,
      .outcome = verdict.outcome,
      .reason = std::move(verdict.reason),
      .post_mortem = post_mortem_of(ended, {.path = script_path_, .sha256 = script_sha256_}),
      .delay_ms = verdict.delay_s * 1000};
  // Whoever stops a service tells all of its processes at once: that is no failure.
  const bool by_signal = was_told_to_end(ended.status);
  if (verdict.outcome != "failed" || ended.cause != StopCause::none) {
    judged(std::move(finish));
  } else if (by_signal ? shop_.host.is_ending() : shop_.host.was_just_told()) {
    judged(stopped_with_us(std::move(finish)));
  } else if (by_signal) {
    shop_.host.soon([self = shared_from_this(), end = std::move(finish)]() mutable {
      const bool with_us = self->shop_.host.is_ending();
      self->judged(with_us ? self->stopped_with_us(std::move(end)) : std::move(end));
    });
  } else {
    judged(std::move(finish));
  }
}

Finish Attempt::stopped_with_us(Finish finish) {
  note_end_with_worker();
  finish.reason = fmt::format("stopped together with its worker ({})", finish.reason.value_or(""));
  finish.outcome = "release";
  return finish;
}

// When a script has told the worker to end, that counts as a death of the worker.
void Attempt::note_end_with_worker() {
  with_worker_ = true;
  if (witness_ || !shop_.host.is_ended_by_script()) return;
  witness_ = true;
  deaths_ = shop_.record.accuse(record_slot_, message_.seq);
}

void Attempt::judged(Finish finish) {
  if (deaths_ >= kPoisonDeaths && may_run_again(finish.outcome)) {
    finish.outcome = "hold";
    finish.reason =
        held_text(shop_.worker.name, with_worker_ ? "was told to end" : "died", deaths_);
    spdlog::error("message {}: {}", message_.id, *finish.reason);
  }
  ending_ = std::move(finish);
  settle();
}

void Attempt::on_gone() {
  gone_ = true;
  settle();
}

// Tells the end and frees the slot, when nothing stands in the way any more.
void Attempt::settle() {
  if (settled_) return;
  if (lost_) {
    if (!gone_) return;
  } else {
    if (!ending_ || !dups_.empty()) return;
    // What might run again must not meet what is left of this run in its folder.
    if (!gone_ && may_run_again(ending_->outcome)) return;
    // Until a server has confirmed it, the end has the slot of the record.
    shop_.reporter.finish(*std::move(ending_), std::exchange(record_slot_, -1));
  }
  settled_ = true;
  unkeep();
  log_.reset();
  if (has_slot_) station_->free_slot();
  shop_.host.on_settled(shared_from_this());
}

}  // namespace rq::worker
