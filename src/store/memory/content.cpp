#include "store/memory/content.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "base/limits.h"
#include "core/settings_json.h"

namespace rq::store::memory {

namespace {

std::string text_of(const TextPairs& pairs) {
  std::string out;
  for (const auto& [name, value] : pairs) out += fmt::format("{}={};", name, value);
  return out;
}

std::string text_of(const Details& d) {
  std::string out = fmt::format(
      " key={} dest={} src={} orig={} cloned={} dup={} params={}|{}|{}|{} type={} remote={} "
      "tags={} headers={} hooks={}",
      d.key, d.dest, d.src, d.orig_id, d.cloned_from, d.dup_of, d.param1, d.param2, d.param3,
      d.param4, d.content_type, d.force_remote, fmt::join(d.tags, ","), text_of(d.headers),
      fmt::join(d.webhooks, ","));
  if (d.retries) out += fmt::format(" retries={}", *d.retries);
  if (d.backoff) {
    out += fmt::format(" backoff={}/{}/{}/{}", static_cast<int>(d.backoff->kind),
                       d.backoff->base.count(), d.backoff->max.count(), d.backoff->jitter_percent);
  }
  if (d.timeout) out += fmt::format(" timeout={}", d.timeout->count());
  return out + fmt::format(" progress={} result={} folder={}", d.progress, d.result, d.folder);
}

std::string text_of(const Lease& lease) {
  return fmt::format(" lease={}.{} {}..{} length={} end={} stop={} worker={} progress={}",
                     lease.attempt, lease.boot, base::to_ms(lease.since), base::to_ms(lease.until),
                     lease.length.count(), static_cast<int>(lease.end),
                     static_cast<int>(lease.stop), lease.worker, lease.progress);
}

std::string text_of(const Counters& c) {
  return fmt::format(
      "{} held={} high={} puts={} dones={} errs={} retries={} losses={} cancels={} "
      "deletes={} expired={}/{}",
      fmt::join(c.in_state, ","), c.held, c.high, c.puts, c.dones, c.errs, c.retries, c.losses,
      c.cancels, c.deletes, c.expired, c.expired_errs);
}

std::string text_of(const Queue& q) {
  return fmt::format(
      "queue {} '{}' admin={} paused={} rev={} created={} on_demand={} being_deleted={} "
      "error={} settings={} counters={}\n",
      q.id, q.name, core::name_of(q.admin), base::to_ms(q.paused_until), q.revision,
      base::to_ms(q.created), q.on_demand, q.being_deleted, q.script_error,
      boost::json::serialize(core::to_json(q.settings)), text_of(q.counters));
}

std::string text_of(const Attempt& a) {
  return fmt::format("attempt {}.{} {} {}..{} {} '{}' {}\n", a.seq, a.number, a.worker,
                     base::to_ms(a.started), base::to_ms(a.ended), a.outcome, a.reason,
                     a.post_mortem);
}

// What a counter says and the rows do not.
void compare(const Queue& queue, const Counters& rows, std::vector<std::string>& out) {
  const Counters& said = queue.counters;
  const auto check = [&](std::string_view what, std::int64_t says, std::int64_t is) {
    if (says == is) return;
    out.push_back(
        fmt::format("counter of queue {}: {} says {}, there are {}", queue.name, what, says, is));
  };
  for (int i = 0; i < core::kStateCount; ++i) {
    const auto state = static_cast<State>(i);
    check(core::name_of(state), said.in(state), rows.in(state));
  }
  check("held", said.held, rows.held);
  check("high", said.high, rows.high);
}

}  // namespace

Filed placed(const Message& m) {
  const Place place = place_of(m);
  return {m.queue, place, place == Place::line ? line_key(m) : LineKey{0, time_in_place(m), m.seq}};
}

void Content::put(Message&& message) {
  const Seq seq = message.seq;
  if (const auto old = messages.find(seq); old != messages.end()) {
    places.erase(placed(*old->second));
  }
  places.insert(placed(message));
  if (const auto& details = message.details; details && !details->key.empty()) {
    keys[details->key] = seq;
  }
  messages[seq] = std::make_shared<const Message>(std::move(message));
}

void Content::erase(Seq seq) {
  const auto found = messages.find(seq);
  if (found == messages.end()) return;
  const Message& message = *found->second;
  if (const auto& details = message.details) {
    if (!details->folder.empty()) waste.insert(details->folder);
    if (!details->key.empty()) keys.erase(details->key);
  }
  places.erase(placed(message));
  attempts.erase(seq);
  messages.erase(found);
}

void Content::append(Attempt&& attempt) {
  if (!messages.contains(attempt.seq)) return;
  auto& list = attempts[attempt.seq];
  std::erase_if(list, [&](const Attempt& one) {
    return one.number == attempt.number || one.number <= attempt.number - core::kAttemptsKept;
  });
  list.push_back(std::move(attempt));
}

bool Content::empty(QueueId queue, Place place) const {
  if (place == Place::any) {
    return std::all_of(std::begin(kAnyPlace), std::end(kAnyPlace),
                       [&](Place one) { return empty(queue, one); });
  }
  bool none = true;
  for_each_in(queue, place, [&](const Filed&) { return none = false; });
  return none;
}

std::vector<std::string> Content::findings() const {
  std::vector<std::string> out;
  std::map<QueueId, Counters> counted;
  std::set<std::string> names;
  std::set<std::string> seen_keys;
  for (const auto& [seq, message] : messages) {
    const Message& m = *message;
    if (!queues.contains(m.queue)) out.push_back(fmt::format("message {} has no queue", seq));
    if (!places.contains(placed(m))) out.push_back(fmt::format("message {} is not filed", seq));
    if ((m.state == State::run) != (m.lease != nullptr)) {
      out.push_back(fmt::format("message {} is {} and has {} lease", seq, core::name_of(m.state),
                                m.lease ? "a" : "no"));
    }
    if (is_finished(m.state) != (m.finished != Instant{})) {
      out.push_back(fmt::format("message {} is {}, finished at {}", seq, core::name_of(m.state),
                                base::to_ms(m.finished)));
    }
    const std::string& key = m.detail_or_default().key;
    if (!key.empty() && !seen_keys.insert(key).second) {
      out.push_back(fmt::format("key {} is there twice", key));
    }
    Counters& counters = counted[m.queue];
    ++counters.in(m.state);
    if (m.mark == core::Mark::held) ++counters.held;
    if (m.state == State::que && m.priority > core::kHighPriority) ++counters.high;
  }
  if (places.size() != messages.size()) out.emplace_back("a message is filed twice");
  if (keys.size() != seen_keys.size()) out.emplace_back("a key leads to nothing");
  for (const auto& [id, queue] : queues) {
    if (!names.insert(queue.name).second) out.push_back("two queues are named " + queue.name);
    compare(queue, counted[id], out);
  }
  for (const auto& [key, at] : timers) {
    if (!queues.contains(key.queue)) {
      out.push_back(fmt::format("a timer is about queue {}, which is gone", key.queue));
    }
  }
  return out;
}

std::string Content::dump() const {
  std::string out;
  for (const auto& [id, queue] : queues) out += text_of(queue);
  for (const auto& [seq, message] : messages) out += memory::text_of(*message) + "\n";
  for (const auto& [seq, list] : attempts) {
    for (const Attempt& attempt : list) out += text_of(attempt);
  }
  for (const auto& [key, at] : timers) {
    out += fmt::format("timer {} {} {} {}\n", static_cast<int>(key.what), key.queue, key.seq,
                       base::to_ms(at));
  }
  for (const std::string& folder : waste) out += fmt::format("waste {}\n", folder);
  return out;
}

std::string text_of(const Message& m) {
  std::string out = fmt::format(
      "message {} queue={} {} mark={} priority={} created={} due={} order={} finished={} "
      "attempts={} failures={} losses={} count={}/{} payload={}",
      m.seq, m.queue, core::name_of(m.state), core::name_of(m.mark), m.priority,
      base::to_ms(m.created), base::to_ms(m.due), m.order, base::to_ms(m.finished), m.attempts,
      m.failures, m.losses, m.count, m.max_count, m.payload);
  if (m.lease_length) out += fmt::format(" length={}", m.lease_length->count());
  if (m.details) out += text_of(*m.details);
  if (m.lease) out += text_of(*m.lease);
  return out;
}

}  // namespace rq::store::memory
