#include "doors/beanstalk/stats.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/name.h"
#include "wire/beanstalk.h"

namespace rq::doors::beanstalk {
namespace {

using base::Instant;
using base::Millis;
using core::State;
using wire::beanstalk::Verb;
using wire::beanstalk::Yaml;

std::int64_t whole_seconds(Millis length) {
  return std::max<std::int64_t>(0, std::chrono::floor<std::chrono::seconds>(length).count());
}

bool is_buried(const core::Message& message) {
  return message.state == State::err && message.mark == core::Mark::held;
}

std::string_view state_word(const core::Message& message) {
  if (message.state == State::que) return "ready";
  if (message.state == State::run) return "reserved";
  return is_buried(message) ? "buried" : "delayed";
}

std::string cpu_time(const timeval& time) {
  return fmt::format("{}.{:06}", time.tv_sec, time.tv_usec);
}

// What waits for a time, a slot or another message is all "delayed" to beanstalkd.
std::int64_t delayed(const core::Counters& counters) {
  return counters.in(State::scheduled) + counters.in(State::throttled) +
         counters.in(State::depends) + counters.in(State::prep);
}

}  // namespace

bool is_job(const core::Message& message) {
  return !core::is_finished(message.state) || is_buried(message);
}

std::string stats_of_job(const core::Peeked& peeked, std::optional<Millis> queue_lease,
                         Instant now) {
  const core::Message& message = *peeked.message;
  const bool running = message.lease != nullptr;
  const bool delayed_now = message.state == State::scheduled;
  const Millis lease = message.lease_length ? *message.lease_length
                       : running            ? message.lease->length
                                            : queue_lease.value_or(Millis{0});
  const Millis left = running       ? message.lease->until - now
                      : delayed_now ? message.due - now
                                    : Millis{0};
  const std::int64_t buries = is_buried(message) ? 1 : 0;
  // rq counts the ends of leases, and of those the lost ones since the last orderly end.
  const std::int64_t releases =
      std::max<std::int64_t>(0, message.attempts - message.losses - buries);
  Yaml yaml;
  yaml.entry("id", message.seq)
      .quoted("tube", core::unescaped_queue_name(peeked.queue))
      .entry("state", state_word(message))
      .entry("pri", std::max<std::int64_t>(0, -message.priority))
      .entry("age", whole_seconds(now - message.created))
      .entry("delay", whole_seconds(message.due - message.created))
      .entry("ttr", whole_seconds(lease))
      .entry("time-left", whole_seconds(left))
      .entry("file", 0)
      .entry("reserves", message.attempts + (running ? 1 : 0))
      .entry("timeouts", message.losses)
      .entry("releases", releases)
      .entry("buries", buries)
      .entry("kicks", 0);
  return std::string(yaml.text());
}

std::string stats_of_tube(const std::string& name, const Tube* tube, const core::QueueShown* queue,
                          Instant now) {
  const core::Counters none;
  const core::Counters& counters = queue != nullptr ? queue->queue->counters : none;
  std::int64_t pause_left = 0;
  std::int64_t pause = 0;
  if (queue != nullptr && queue->queue->admin == core::Admin::pause &&
      queue->queue->paused_until > now) {
    // Rounded up: a tube with time left is still paused.
    pause_left = whole_seconds(queue->queue->paused_until - now + Millis{999});
    pause = std::max(pause_left, tube != nullptr ? tube->paused_s : 0);
  }
  Yaml yaml;
  yaml.quoted("name", name)
      .entry("current-jobs-urgent", counters.high)
      .entry("current-jobs-ready", counters.in(State::que))
      .entry("current-jobs-reserved", counters.in(State::run))
      .entry("current-jobs-delayed", delayed(counters))
      .entry("current-jobs-buried", counters.held)
      .entry("total-jobs", counters.puts)
      .entry("current-using", tube != nullptr ? tube->users : 0)
      .entry("current-watching", tube != nullptr ? tube->watchers : 0)
      .entry("current-waiting", queue != nullptr ? queue->waiting_reserves : 0)
      .entry("cmd-delete", counters.deletes)
      .entry("cmd-pause-tube", tube != nullptr ? tube->pauses : 0)
      .entry("pause", pause)
      .entry("pause-time-left", pause_left);
  return std::string(yaml.text());
}

std::string list_of_tubes(const core::QueuesListed& queues, const Tubes& tubes) {
  // In the order in which they were made, `default` first.
  struct Listed {
    std::string name;
    Instant made;
    std::uint64_t number = 0;
  };
  std::vector<Listed> list;
  tubes.each([&list](const Tube& tube) { list.push_back({tube.name, tube.made, tube.number}); });
  for (const core::QueueShown& shown : queues.queues) {
    std::string name = core::unescaped_queue_name(shown.queue->name);
    if (shown.queue->empty_on_demand() || tubes.find(name) != nullptr) continue;
    list.push_back(
        {std::move(name), shown.queue->created, static_cast<std::uint64_t>(shown.queue->id)});
  }
  std::sort(list.begin(), list.end(), [](const Listed& a, const Listed& b) {
    return std::tie(a.made, a.number) < std::tie(b.made, b.number);
  });
  Yaml yaml;
  for (const Listed& tube : list) yaml.item(tube.name);
  return std::string(yaml.text());
}

std::string stats_of_server(const core::EngineStatsDone& engine, const Totals& totals,
                            const Tubes& tubes, const Process& process) {
  const auto commands = [&totals](Verb verb) {
    return totals.commands[static_cast<std::size_t>(verb)];
  };
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  utsname machine{};
  uname(&machine);
  std::int64_t known = 0;
  tubes.each([&known](const Tube&) { ++known; });
  for (const core::QueueName& name : engine.in_use) {
    if (tubes.find(core::unescaped_queue_name(*name)) == nullptr) ++known;
  }

  const core::Counters& counters = *engine.totals;
  Yaml yaml;
  yaml.entry("current-jobs-urgent", counters.high)
      .entry("current-jobs-ready", counters.in(State::que))
      .entry("current-jobs-reserved", counters.in(State::run))
      .entry("current-jobs-delayed", delayed(counters))
      .entry("current-jobs-buried", counters.held)
      .entry("cmd-put", commands(Verb::put))
      .entry("cmd-peek", commands(Verb::peek))
      .entry("cmd-peek-ready", commands(Verb::peek_ready))
      .entry("cmd-peek-delayed", commands(Verb::peek_delayed))
      .entry("cmd-peek-buried", commands(Verb::peek_buried))
      .entry("cmd-reserve", commands(Verb::reserve))
      .entry("cmd-reserve-with-timeout", commands(Verb::reserve_with_timeout))
      .entry("cmd-delete", commands(Verb::remove))
      .entry("cmd-release", commands(Verb::release))
      .entry("cmd-use", commands(Verb::use))
      .entry("cmd-watch", commands(Verb::watch))
      .entry("cmd-ignore", commands(Verb::ignore))
      .entry("cmd-bury", commands(Verb::bury))
      .entry("cmd-kick", commands(Verb::kick))
      .entry("cmd-touch", commands(Verb::touch))
      .entry("cmd-stats", commands(Verb::stats))
      .entry("cmd-stats-job", commands(Verb::stats_job))
      .entry("cmd-stats-tube", commands(Verb::stats_tube))
      .entry("cmd-list-tubes", commands(Verb::list_tubes))
      .entry("cmd-list-tube-used", commands(Verb::list_tube_used))
      .entry("cmd-list-tubes-watched", commands(Verb::list_tubes_watched))
      .entry("cmd-pause-tube", commands(Verb::pause_tube))
      .entry("job-timeouts", counters.losses)
      .entry("total-jobs", counters.puts)
      .entry("max-job-size", static_cast<std::int64_t>(process.body_bytes_max))
      .entry("current-tubes", known)
      .entry("current-connections", totals.open)
      .entry("current-producers", totals.producers)
      .entry("current-workers", totals.workers)
      .entry("current-waiting", engine.waiting_reserves)
      .entry("total-connections", totals.connections)
      .entry("pid", static_cast<std::int64_t>(getpid()))
      .quoted("version", "1.13")  // what it speaks: clients choose their commands by it
      .entry("rusage-utime", cpu_time(usage.ru_utime))
      .entry("rusage-stime", cpu_time(usage.ru_stime))
      .entry("uptime", process.uptime_s)
      .entry("binlog-oldest-index", 0)
      .entry("binlog-current-index", 0)
      .entry("binlog-records-migrated", 0)
      .entry("binlog-records-written", 0)
      .entry("binlog-max-size", 0)
      .entry("draining", process.draining ? "true" : "false")
      .entry("id", process.id)
      .quoted("hostname", machine.nodename)
      .quoted("os", machine.version)
      .quoted("platform", machine.machine)
      .quoted("rq-version", RQ_VERSION);
  return std::string(yaml.text());
}

}  // namespace rq::doors::beanstalk
