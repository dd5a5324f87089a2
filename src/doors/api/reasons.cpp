#include "doors/api/reasons.h"

#include <fmt/format.h>

#include <chrono>

#include "base/iso8601.h"

namespace rq::doors::api {
namespace {

using core::State;
using Kind = WorkerNotes::Presence::Kind;

std::string count_text(std::int64_t count) {
  return count >= kAheadMax ? fmt::format("more than {}", kAheadMax) : fmt::to_string(count);
}

std::string with_text(std::string_view what, std::string_view text) {
  return text.empty() ? std::string(what) : fmt::format("{}: {}", what, text);
}

Reason why_closed(const core::Queue& queue, core::ClosedBy by) {
  switch (by) {
    case core::ClosedBy::deletion:
      return {"deleted", fmt::format("queue '{}' is being deleted, and it with it", queue.name),
              ""};
    case core::ClosedBy::pause:
      return {"paused",
              fmt::format("queue '{}' is paused{}", queue.name,
                          queue.paused_until == base::Instant{}
                              ? std::string{}
                              : " until " + base::to_iso8601(queue.paused_until)),
              fmt::format("resume it: rq queue resume {}", queue.name)};
    case core::ClosedBy::down:
      return {"down", fmt::format("queue '{}' is down", queue.name),
              fmt::format("bring it up: rq queue resume {}", queue.name)};
    case core::ClosedBy::script_error:
      return {
          "script_error",
          fmt::format("the script of queue '{}' cannot run: {}", queue.name, queue.script_error),
          "mend that; the queue goes on by itself"};
  }
  return {};
}

// Of a queue with a script: it is run by workers that say that they are there.
std::optional<Reason> why_no_script_starts(const core::QueueShown& shown,
                                           const Surroundings& around) {
  const core::Queue& queue = *shown.queue;
  if (queue.settings.num_workers == 0) {
    return Reason{"no_workers", fmt::format("queue '{}' has num_workers 0", queue.name),
                  fmt::format("let it start some: rq queue set {} -j 1", queue.name)};
  }
  // Somebody else may take them, a client of beanstalkd for one. That one runs says nothing: its
  // lease may be of a worker that is gone.
  if (around.workers.kind == Kind::none && shown.waiting_reserves > 0) return std::nullopt;
  return why_no_worker_takes(around);
}

// Of a queue without one: whoever reserves takes what waits.
std::optional<Reason> why_nobody_reserves(const core::QueueShown& shown) {
  const core::Queue& queue = *shown.queue;
  if (queue.counters.in(State::run) > 0 || shown.waiting_reserves > 0) return std::nullopt;
  return Reason{
      "no_worker",
      fmt::format("queue '{}' has no script, so a worker must reserve its messages, and "
                  "none waits now",
                  queue.name),
      fmt::format("start a worker of your own, or: rq queue set {} --script PATH", queue.name)};
}

// Of a message that is ready: what keeps it from being leased now.
Reason why_ready(const core::QueueShown& shown, std::int64_t ahead, const Surroundings& around) {
  if (auto hindrance = hindrance_of(shown, around)) return *std::move(hindrance);
  const core::Queue& queue = *shown.queue;
  const std::int64_t running = queue.counters.in(State::run);
  if (ahead > 0) {
    return {"behind",
            fmt::format("{} message{} of queue '{}' go{} first, {} {} running", count_text(ahead),
                        ahead == 1 ? "" : "s", queue.name, ahead == 1 ? "es" : "", running,
                        running == 1 ? "is" : "are"),
            ""};
  }
  if (queue.settings.script.empty()) {
    return {"no_worker",
            fmt::format("it is next; queue '{}' has no script, so a worker must reserve it, and "
                        "none waits now",
                        queue.name),
            ""};
  }
  if (const std::int64_t at_a_time = queue.settings.num_workers; running >= at_a_time) {
    return {
        "workers_busy",
        at_a_time == 1
            ? fmt::format("it is next; the one script that queue '{}' runs at a time is running",
                          queue.name)
            : fmt::format("it is next; all {} scripts that queue '{}' runs at a time are "
                          "running",
                          at_a_time, queue.name),
        ""};
  }
  return {"next", "it is next; no worker has asked for it yet", ""};
}

// What is wrong with the worker of a message that runs; empty: nothing is known.
std::string lost_worker(const core::Lease& lease, const core::QueueShown& shown,
                        const Surroundings& around) {
  const bool gone = around.workers.kind == Kind::none && !shown.queue->settings.script.empty();
  const bool silent = around.workers.kind == Kind::silent && around.workers.name == lease.worker;
  if ((!gone && !silent) || lease.until == base::Instant::max()) return {};
  return fmt::format("; {}: unless it comes back, the message waits again from {} on",
                     gone ? "there is no worker that runs scripts" : "that worker is silent",
                     base::to_iso8601(lease.until));
}

Reason why_running(const core::Message& m, const core::QueueShown& shown,
                   const Surroundings& around) {
  if (!m.lease) return {"running", "it is running", ""};
  std::string text = fmt::format(
      "it is running, attempt {}{} since {}", m.lease->attempt,
      m.lease->worker.empty() ? std::string{} : fmt::format(" at worker '{}'", m.lease->worker),
      base::to_iso8601(m.lease->since));
  text += lost_worker(*m.lease, shown, around);
  if (m.lease->stop != core::StopRequest::none) {
    text += with_text(fmt::format("; it was told to stop ({}), and ends when its script has",
                                  name_of(m.lease->stop)),
                      m.lease->progress);
  }
  return {"running", std::move(text), ""};
}

std::string last_attempt(const core::Message& m) {
  return with_text(fmt::format("; attempt {} has ended", m.attempts),
                   m.detail_or_default().progress);
}

Reason why_ready_again(const core::Message& m, const core::QueueShown& shown, std::int64_t ahead,
                       const Surroundings& around) {
  Reason why = why_ready(shown, ahead, around);
  if (m.losses > 0) why.text += last_attempt(m);
  return why;
}

Reason why_scheduled(const core::Message& m, const Surroundings& around) {
  std::string text = fmt::format("it waits for {}", base::to_iso8601(m.due));
  if (m.attempts > 0) text += last_attempt(m);
  if (around.clock_not_followed != base::Millis{0}) {
    text += fmt::format(
        "; the wall clock was set by {} s, and the time of the server does not follow it yet",
        std::chrono::duration_cast<std::chrono::seconds>(around.clock_not_followed).count());
  }
  return {"scheduled", std::move(text), ""};
}

}  // namespace

std::optional<Reason> why_no_worker_takes(const Surroundings& around) {
  switch (around.workers.kind) {
    case Kind::draining:
      return Reason{"worker_draining",
                    fmt::format("worker '{}' was told to end: it takes nothing more, and goes when "
                                "its scripts have ended; the next worker takes what waits",
                                around.workers.name),
                    ""};
    case Kind::silent:
      return Reason{"worker_silent",
                    fmt::format("worker '{}' has said nothing since {}, and there is no other",
                                around.workers.name, base::to_iso8601(around.workers.seen)),
                    "is it stopped (kill -CONT), or its machine cut off?"};
    case Kind::none:
      return Reason{"no_worker", "there is no worker that runs scripts",
                    fmt::format("start one: rq worker --dir {}", around.dir)};
    case Kind::at_work:
      break;
  }
  return std::nullopt;
}

std::optional<Reason> hindrance_of(const core::QueueShown& shown, const Surroundings& around) {
  const core::Queue& queue = *shown.queue;
  if (queue.counters.in(State::que) == 0) return std::nullopt;
  if (const auto closed = core::why_closed(queue)) return why_closed(queue, *closed);
  const bool has_script = !queue.settings.script.empty();
  if (has_script) {
    if (auto nobody = why_no_script_starts(shown, around)) return nobody;
  }
  if (!around.hold) return has_script ? std::nullopt : why_nobody_reserves(shown);
  return Reason{"held_back",
                fmt::format("{}; the next start is at {}", around.hold->text,
                            base::to_iso8601(around.hold->until)),
                fmt::format("rq list {} --by reason tells what fails", queue.name)};
}

Reason why_not(const core::Message& m, const core::QueueShown& shown, std::int64_t ahead,
               const Surroundings& around) {
  switch (m.state) {
    case State::prep:
      return {"prep", "it is being put together",
              fmt::format("commit it: rq commit {}", core::format_id(m))};
    case State::scheduled:
      return why_scheduled(m, around);
    case State::throttled:
      return {"throttled", "it waits for a slot of a throttle", ""};
    case State::depends:
      return {"depends", "it waits for other messages", ""};
    case State::que:
      return why_ready_again(m, shown, ahead, around);
    case State::run:
      return why_running(m, shown, around);
    case State::done:
      return {"done", "it is done", ""};
    case State::relayed:
      return {"relayed", "it was handed to another machine", ""};
    case State::err:
      return {"err",
              with_text(fmt::format("it ended in err ({})", name_of(m.mark)),
                        m.detail_or_default().progress),
              fmt::format("run it again: rq retry {}", core::format_id(m))};
    case State::cancelled:
      return {"cancelled", with_text("it was cancelled", m.detail_or_default().progress), ""};
  }
  return {"unknown", "", ""};
}

}  // namespace rq::doors::api
