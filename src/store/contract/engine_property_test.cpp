// Random commands at random times, with crashes, against a small plain model of what the engine
// promises: what is where, who gets what next, and that the counters never part from the tables.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <utility>

#include "store/contract/engine_rig.h"

namespace rq::store::sqlite::test {
namespace {

using core::Action;
using core::Outcome;
using core::Seq;

constexpr int kQueues = 3;
constexpr Millis kLease{20'000};
constexpr std::int64_t kLossesMax = 2;
constexpr std::int64_t kRetries = 1;
constexpr Millis kBackoff{5'000};

std::string name_of_queue(int queue) { return fmt::format("q{}", queue); }

core::QueueSettings settings_of(int queue) {
  core::QueueSettings s;
  s.lease = kLease;
  s.losses = kLossesMax;
  s.retries = kRetries;
  s.backoff = {.kind = core::BackoffKind::fixed, .base = kBackoff, .jitter_percent = 0};
  if (queue == 1) s.keep_done.count = 0;  // one that keeps nothing
  if (queue == 2) s.sync = core::SyncClass::relaxed;
  return s;
}

struct Item {
  int queue = 0;
  State state = State::que;
  core::Mark mark = core::Mark::none;
  std::int64_t priority = 0;
  base::Instant due{};
  base::Instant until{};
  Token token;
  int attempts = 0;
  int failures = 0;
  int losses = 0;
};

// The rules, told as plainly as possible.
class Model {
 public:
  base::Instant now{};
  std::map<Seq, Item> items;
  struct Waiting {
    std::uint64_t request;
    std::vector<int> queues;
    base::Instant until;
  };
  std::deque<Waiting> waiting;
  std::map<std::uint64_t, Seq> served;  // 0: its time was over

  // The best ready message of these queues.
  [[nodiscard]] Seq best(const std::vector<int>& queues) const {
    Seq found = 0;
    for (const auto& [seq, item] : items) {
      if (item.state != State::que) continue;
      if (std::find(queues.begin(), queues.end(), item.queue) == queues.end()) continue;
      if (found == 0 || item.priority > items.at(found).priority) found = seq;
    }
    return found;
  }
  void lease(Seq seq) {
    Item& item = items.at(seq);
    item.state = State::run;
    item.until = now + kLease;
    item.token = {};  // told with the reply
  }
  // What is ready goes to those who wait: whoever came first, for as long as there is something.
  void serve() {
    for (auto at = waiting.begin(); at != waiting.end();) {
      const Seq seq = best(at->queues);
      if (seq == 0) {
        ++at;
        continue;
      }
      lease(seq);
      served[at->request] = seq;
      at = waiting.erase(at);
    }
  }
  void back(Item& item, Millis delay) {
    item.due = now + delay;
    item.state = delay > Millis{0} ? State::scheduled : State::que;
  }
  void end(Seq seq, State state, core::Mark mark = core::Mark::none) {
    Item& item = items.at(seq);
    item.state = state;
    item.mark = mark;
    if (item.queue == 1 && (state == State::done || state == State::cancelled)) items.erase(seq);
  }
  void fail(Seq seq) {
    Item& item = items.at(seq);
    item.losses = 0;
    if (++item.failures > kRetries) {
      end(seq, State::err, core::Mark::exhausted);
    } else {
      back(item, kBackoff);
    }
  }
  // All that falls due by `now`.
  void pass() {
    std::vector<std::pair<base::Instant, Seq>> expired;
    for (const auto& [seq, item] : items) {
      if (item.state == State::run && item.until <= now) expired.emplace_back(item.until, seq);
    }
    for (const auto& [until, seq] : expired) {
      Item& item = items.at(seq);
      ++item.attempts;
      if (++item.losses >= kLossesMax) {
        end(seq, State::err, core::Mark::lost);
      } else {
        back(item, Millis{0});
      }
    }
    for (auto& [seq, item] : items) {
      if (item.state == State::scheduled && item.due <= now) item.state = State::que;
    }
    serve();
    std::erase_if(waiting, [&](const Waiting& w) {
      if (w.until > now) return false;
      served[w.request] = 0;
      return true;
    });
  }
};

class Player {
 public:
  explicit Player(const Options& options) : rig_(options) {
    for (int i = 0; i < kQueues; ++i) rig_.define(name_of_queue(i), settings_of(i));
    model_.now = rig_.now;
  }

  void step() {
    // Time first: the engine handles what is due before the commands of its batch.
    if (*rc::gen::arbitrary<bool>()) {
      model_.now += Millis{*rc::gen::element(1, 999, 5'000, 12'345, 20'000, 20'000)};
      rig_.now = model_.now;
      model_.pass();
      rig_.run();
      collect();
    }
    const int commands = *rc::gen::inRange(1, 8);
    for (int i = 0; i < commands; ++i) submit_one();
    rig_.run();
    collect();
    for (const auto& check : std::exchange(checks_, {})) check();
    if (*rc::gen::inRange(0, 12) == 0) {
      // Those who wait are gone with the server; all else is not.
      model_.waiting.clear();
      if (*rc::gen::arbitrary<bool>()) {
        rig_.crash();
      } else {
        rig_.reopen();
      }
      // A crash leaves out some numbers.
      last_seq_ = std::stoll(
          rows_of(rig_.file(), "SELECT value - 1 FROM meta WHERE key = 'next_seq'").at(0));
    }
  }

  // The engine, its tables and the model agree.
  void compare() {
    for (int i = 0; i < kQueues; ++i) {
      core::Counters expected;
      for (const auto& [seq, item] : model_.items) {
        if (item.queue != i) continue;
        ++expected.in(item.state);
        if (item.mark == core::Mark::held) ++expected.buried;
      }
      const auto shown = rig_.queue(name_of_queue(i));
      RC_ASSERT(shown.queue.counters.in_state == expected.in_state);
      RC_ASSERT(shown.queue.counters.held == expected.buried);
      const auto waiting =
          std::count_if(model_.waiting.begin(), model_.waiting.end(), [&](const Model::Waiting& w) {
            return std::find(w.queues.begin(), w.queues.end(), i) != w.queues.end();
          });
      RC_ASSERT(shown.waiting_reserves == waiting);
    }
  }
  void compare_tables() {
    std::vector<std::string> expected;
    for (const auto& [seq, item] : model_.items) {
      expected.push_back(fmt::format("{}|{}|{}|{}|{}", seq, name_of_queue(item.queue),
                                     core::name_of(item.state), item.priority, item.attempts));
    }
    RC_ASSERT(rows_of(rig_.file(),
                      "SELECT seq, queue, state, priority, attempts FROM messages ORDER BY seq") ==
              expected);
    RC_ASSERT(
        rows_of(rig_.file(), "SELECT seq FROM lease GROUP BY seq HAVING count(*) > 1").empty());
    const auto findings = check_store(rig_.file());
    RC_ASSERT(findings.has_value());
    RC_ASSERT(findings->empty());
  }

 private:
  Seq any() {
    if (model_.items.empty()) return 0;
    auto at = model_.items.begin();
    std::advance(
        at, *rc::gen::inRange<std::ptrdiff_t>(0, static_cast<std::ptrdiff_t>(model_.items.size())));
    return at->first;
  }
  // One that runs and whose token is known by now.
  Seq any_running() {
    std::vector<Seq> running;
    for (const auto& [seq, item] : model_.items) {
      if (item.state == State::run && item.token.seq != 0) running.push_back(seq);
    }
    return running.empty() ? 0 : *rc::gen::elementOf(running);
  }
  std::vector<int> some_queues() {
    return *rc::gen::unique<std::vector<int>>(*rc::gen::inRange<std::size_t>(1, kQueues + 1),
                                              rc::gen::inRange(0, kQueues));
  }

  void submit_one() {
    switch (*rc::gen::element(0, 1, 2, 4, 5, 7, 8, 9, 10, 10, 11)) {
      case 0:
      case 1:
      case 2:
        put();
        break;
      case 4:
      case 5:
        reserve();
        break;
      case 7:
      case 8:
        finish();
        break;
      case 9:
        act();
        break;
      case 10:
        wait();
        break;
      default:
        heartbeat();
        break;
    }
  }

  void put() {
    const int queue = *rc::gen::inRange(0, kQueues);
    core::Put p = Rig::put_of(name_of_queue(queue));
    p.priority = *rc::gen::inRange<std::int64_t>(-1, 2);
    const bool later = *rc::gen::inRange(0, 4) == 0;
    if (later) p.delay = Millis{*rc::gen::element(1, 1'000, 15'000)};
    Item item{.queue = queue, .priority = *p.priority};
    item.due = model_.now + p.delay.value_or(Millis{0});
    item.state = later ? State::scheduled : State::que;
    const Seq seq = ++last_seq_;
    const auto request = rig_.submit(std::move(p));
    model_.items.emplace(seq, item);
    model_.serve();
    checks_.push_back(
        [this, request, seq] { RC_ASSERT(rig_.reply<core::PutDone>(request).seq == seq); });
  }

  void reserve() {
    const auto queues = some_queues();
    std::vector<core::ReserveQueue> wanted;
    for (const int q : queues) wanted.push_back({.queue = name_of_queue(q)});
    const auto limit = *rc::gen::inRange<std::int64_t>(1, 4);
    std::vector<Seq> expected;
    while (static_cast<std::int64_t>(expected.size()) < limit) {
      const Seq seq = model_.best(queues);
      if (seq == 0) break;
      model_.lease(seq);
      expected.push_back(seq);
    }
    const auto request = rig_.submit(Rig::reserve_of(std::move(wanted), limit));
    pending_.emplace_back(request, std::move(expected));
  }

  void wait() {
    const auto queues = some_queues();
    std::vector<core::ReserveQueue> wanted;
    for (const int q : queues) wanted.push_back({.queue = name_of_queue(q)});
    const base::Instant until = model_.now + Millis{*rc::gen::element(1'000, 30'000)};
    const auto request = rig_.submit(rig_.waiting_reserve(std::move(wanted), until));
    model_.waiting.push_back({.request = request, .queues = queues, .until = until});
    model_.serve();
  }

  void finish() {
    const Seq seq = any_running();
    if (seq == 0) return;
    Item& item = model_.items.at(seq);
    const auto outcome = *rc::gen::element(Outcome::done, Outcome::failed, Outcome::release,
                                           Outcome::hold, Outcome::err);
    core::Finish command;
    command.items.push_back({.token = std::exchange(item.token, {}), .outcome = outcome});
    ++item.attempts;
    if (outcome != Outcome::release) item.losses = 0;
    switch (outcome) {
      case Outcome::done:
        model_.end(seq, State::done);
        break;
      case Outcome::err:
        model_.end(seq, State::err, core::Mark::failed);
        break;
      case Outcome::hold:
        model_.end(seq, State::err, core::Mark::held);
        break;
      case Outcome::failed:
        model_.fail(seq);
        break;
      default:
        model_.back(item, Millis{0});
    }
    const auto request = rig_.submit(std::move(command));
    model_.serve();
    checks_.push_back([this, request] {
      const auto done = rig_.reply<core::FinishDone>(request);
      RC_ASSERT(done.items.size() == 1U);
      RC_ASSERT(done.items[0].has_value());
    });
  }

  void heartbeat() {
    const Seq seq = any_running();
    if (seq == 0) return;
    Item& item = model_.items.at(seq);
    core::Heartbeat command;
    command.items.push_back({.token = item.token});
    item.until = std::max(item.until, model_.now + kLease);
    const auto request = rig_.submit(std::move(command));
    checks_.push_back([this, request, until = item.until] {
      const auto done = rig_.reply<core::HeartbeatDone>(request);
      RC_ASSERT(done.items.size() == 1U);
      RC_ASSERT(done.items[0].has_value());
      RC_ASSERT(done.items[0]->until == until);
    });
  }

  void act() {
    const Seq seq = any();
    if (seq == 0) return;
    Item& item = model_.items.at(seq);
    const auto action = *rc::gen::element(Action::retry, Action::cancel, Action::move,
                                          Action::remove, Action::priority, Action::requeue);
    core::Act command{.action = action, .messages = {seq}};
    const bool finished = core::is_finished(item.state);
    const bool running = item.state == State::run;
    const int to = *rc::gen::inRange(0, kQueues);
    const std::int64_t priority = *rc::gen::inRange<std::int64_t>(-1, 2);
    bool allowed = true;
    switch (action) {
      case Action::retry:
        allowed = finished;
        if (allowed) restart(item);
        break;
      case Action::requeue:
        allowed = finished || running;
        if (running) {
          ++item.attempts;
          item.token = {};
          model_.back(item, Millis{0});
        } else if (finished) {
          restart(item);
        }
        break;
      case Action::cancel:
        // Of a running one it is only a word to its worker, which this test does not play.
        if (running) return;
        allowed = item.state != State::done && item.state != State::cancelled;
        if (allowed) model_.end(seq, State::cancelled);
        break;
      case Action::move:
        command.queue = name_of_queue(to);
        allowed = !running;
        // Into the queue that keeps nothing, a finished one would go with the next batch.
        if (allowed && to == 1 && finished) return;
        if (allowed) item.queue = to;
        break;
      case Action::remove:
        allowed = !running;
        if (allowed) model_.items.erase(seq);
        break;
      default:
        command.priority = priority;
        allowed = !finished;
        if (allowed) item.priority = priority;
    }
    const auto request = rig_.submit(std::move(command));
    model_.serve();
    checks_.push_back([this, request, allowed] {
      const auto done = rig_.reply<core::ActDone>(request);
      RC_ASSERT(done.items.size() == 1U);
      RC_ASSERT(done.items[0].has_value() == allowed);
    });
  }

  void restart(Item& item) {
    item.failures = 0;
    item.losses = 0;
    item.mark = core::Mark::none;
    item.due = model_.now;
    item.state = State::que;
  }

  // Reads the replies to reserves: who got what, as the model said.
  void collect() {
    for (const auto& [request, expected] : std::exchange(pending_, {})) take(request, expected);
    for (const auto& [request, seq] : std::exchange(model_.served, {})) {
      RC_ASSERT(rig_.answered(request));
      take(request, seq == 0 ? std::vector<Seq>{} : std::vector<Seq>{seq});
    }
    for (const Model::Waiting& w : model_.waiting) RC_ASSERT(!rig_.answered(w.request));
  }
  void take(std::uint64_t request, const std::vector<Seq>& expected) {
    const auto reserved = rig_.reply<core::Reserved>(request);
    std::vector<Seq> got;
    for (const core::Message& m : reserved.messages) {
      got.push_back(m.seq);
      const auto item = model_.items.find(m.seq);
      if (item == model_.items.end() || item->second.state != State::run) continue;
      // It may have been taken away and leased again within the batch: the last one counts.
      if (item->second.token.attempt < m.lease->attempt) item->second.token = Rig::token_of(m);
    }
    RC_ASSERT(got == expected);
  }

  Rig rig_;
  Model model_;
  Seq last_seq_ = 0;
  std::vector<std::pair<std::uint64_t, std::vector<Seq>>> pending_;
  std::vector<std::function<void()>> checks_;
};

void play(const Options& options) {
  Player player{options};
  const int steps = *rc::gen::inRange(1, 40);
  for (int i = 0; i < steps; ++i) {
    player.step();
    player.compare();
    if (i % 8 == 7) player.compare_tables();
  }
  player.compare_tables();
}

RC_GTEST_PROP(EngineProperty, DoesWhatAPlainModelDoes, ()) { play({}); }

// A few messages are a long line here: every take reads on, in what was read ahead where it can.
RC_GTEST_PROP(EngineProperty, DoesSoWhenLinesAreReadInSmallPieces, ()) {
  play({.wal_bytes = 64 * 1024, .threads = true, .line_max = 4, .line_read = 2, .line_ahead = 3});
}

}  // namespace
}  // namespace rq::store::sqlite::test
