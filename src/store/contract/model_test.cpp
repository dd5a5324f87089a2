// The engine and the plain model, given the same commands at the same times, give the same replies
// and leave the same rows. One command a batch, so that there is one order.
//
// RQ_SEEDS=n plays n seeds, RQ_SEED=n that one alone.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "store/contract/home.h"
#include "store/contract/memory_rig.h"
#include "store/contract/model.h"
#include "store/contract/seeds_rig.h"
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::contract {
namespace {

using base::Millis;
using std::chrono::seconds;

constexpr std::uint64_t kInTurn = 1;  // the connection whose commands are done in turn
constexpr std::uint64_t kConnections = 4;
constexpr int kSteps = 80;

QueueSettings settings_of(Draw& draw) {
  QueueSettings s;
  s.lease = seconds{20};
  s.losses = draw.pick<std::int64_t>({0, 2, 3});
  s.retries = draw.pick<std::int64_t>({0, 1, 2});
  s.backoff = {.kind = BackoffKind::fixed, .base = seconds{5}, .jitter_percent = 20};
  s.keep_done = {.age = seconds{60}, .count = draw.pick<std::int64_t>({0, 2, 100})};
  s.keep_err = {.age = seconds{90}, .count = draw.pick<std::int64_t>({0, 1, 100})};
  s.sync = draw.below(2) == 0 ? SyncClass::always : SyncClass::relaxed;
  s.messages_max = draw.pick<std::int64_t>({0, 0, 6});
  s.priority = draw.pick<std::int64_t>({0, 2});
  return s;
}

// Commands as a server could get them: most of them make sense.
class Commands {
 public:
  Commands(Draw& draw, const Model& model, bool scarce)
      : draw_(draw), model_(model), scarce_(scarce) {}

  Envelope next(Instant now) {
    now_ = now;
    connection_ = 1 + draw_.below(kConnections);
    Envelope out;
    out.command = command();
    out.ticket.connection = connection_;
    out.ticket.in_turn = connection_ == kInTurn && draw_.below(4) > 0;
    out.ticket.request = requests_ + 1;
    const auto* reserve = std::get_if<Reserve>(&out.command);
    requests_ += reserve != nullptr && reserve->each
                     ? static_cast<std::uint64_t>(std::max<std::int64_t>(1, reserve->limit))
                     : 1;
    return out;
  }
  void remember(const Token& token) { tokens_.push_back(token); }

 private:
  std::string some_queue() {
    return draw_.pick<std::string>({"a", "a", "b", "c", "d", "e", "nowhere"});
  }
  Seq some_message() {
    const auto& all = model_.stored().messages;
    if (all.empty() || draw_.below(30) == 0) return 999'999;
    auto at = all.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(draw_.below(all.size())));
    return at->first;
  }
  Token some_token() {
    std::vector<Token> live;
    for (const auto& [seq, m] : model_.stored().messages) {
      if (m.lease) live.push_back({seq, m.lease->attempt, m.lease->boot});
    }
    if (!live.empty() && draw_.below(10) > 0) return live[draw_.below(live.size())];
    return tokens_.empty() ? Token{1, 1, 1} : tokens_[draw_.below(tokens_.size())];
  }
  std::string some_text() { return draw_.pick<std::string>({"", "", "so so", "nearly"}); }

  Put put() {
    Put out;
    out.queue = some_queue();
    out.make_queue = out.queue == "d" || out.queue == "e";
    out.message.payload = fmt::format("payload {}", draw_.below(3));
    if (draw_.below(3) == 0) out.message.detail().key = fmt::format("k{}", draw_.below(5));
    if (draw_.below(6) == 0) out.message.detail().tags = {"t"};
    if (draw_.below(6) == 0) out.message.detail().param1 = "p";
    if (draw_.below(6) == 0) out.message.detail().retries = 1;
    if (draw_.below(4) == 0) out.message.lease_length = seconds{7};
    if (draw_.below(2) == 0) out.priority = draw_.pick<std::int64_t>({-1, 0, 1, -5000});
    if (draw_.below(8) == 0) out.max_count = 2;
    switch (draw_.below(6)) {
      case 0:
        out.delay = draw_.pick<Millis>({Millis{1}, seconds{3}, seconds{30}});
        break;
      case 1:
        out.due = now_ + draw_.pick<Millis>({seconds{-50}, Millis{0}, seconds{9}});
        break;
      default:
        break;
    }
    out.prep = draw_.below(10) == 0;
    return out;
  }

  Reserve reserve() {
    Reserve out;
    // A bound of each queue is for one answer: an `each` has several.
    out.each = draw_.below(3) == 0;
    std::vector<ReserveQueue> queues;
    const auto n = 1 + draw_.below(3);
    for (std::uint64_t i = 0; i < n; ++i) {
      queues.push_back({.queue = draw_.pick<std::string>({"a", "b", "c", "d", "e"}),
                        .limit = out.each ? 0 : draw_.pick<std::int64_t>({0, 0, 0, 1, 2})});
    }
    out.queues = std::make_shared<const std::vector<ReserveQueue>>(std::move(queues));
    out.make_queue = draw_.below(8) > 0;
    out.limit = draw_.pick<std::int64_t>({1, 1, 1, 2, 3, 0});
    out.worker = draw_.pick<std::string>({"", "w"});
    if (draw_.below(5) == 0) out.lease = draw_.pick<Millis>({seconds{2}, seconds{50}});
    if (draw_.below(2) == 0) out.end = LeaseEnd::connection;
    out.folder = draw_.below(6) == 0;
    if (draw_.below(8) == 0) out.only = some_message();
    if (draw_.below(2) == 0) {
      out.wait_until = draw_.below(3) == 0
                           ? Instant::max()
                           : now_ + draw_.pick<Millis>({seconds{1}, seconds{8}, seconds{40}});
      if (draw_.below(3) == 0) out.lease_guard = seconds{1};
      // With short lists, who gets what is left depends on how short they are.
      if (scarce_ && out.limit > 1) out.wait_until.reset();
    }
    out.each = out.each && !out.only && out.limit > 0;
    return out;
  }

  Finish finish() {
    Finish out;
    const auto n = 1 + draw_.below(2);
    for (std::uint64_t i = 0; i < n; ++i) {
      Finish::Item item;
      item.token = some_token();
      item.outcome = static_cast<Outcome>(draw_.below(9));
      item.reason = some_text();
      if (draw_.below(4) == 0) item.result = "result";
      if (draw_.below(4) == 0) item.post_mortem = "{}";
      if (draw_.below(3) == 0) item.delay = seconds{6};
      if (draw_.below(4) == 0) item.priority = draw_.pick<std::int64_t>({-1, 1});
      item.remove = draw_.below(8) == 0;
      out.items.push_back(std::move(item));
    }
    return out;
  }

  Act act() {
    Act out;
    out.action = static_cast<Action>(draw_.below(10));
    const auto n = 1 + draw_.below(3);
    for (std::uint64_t i = 0; i < n; ++i) out.messages.push_back(some_message());
    if (out.action == Action::move || draw_.below(2) == 0) out.queue = some_queue();
    out.priority = draw_.pick<std::int64_t>({-2, 0, 3});
    out.reason = some_text();
    return out;
  }

  Command command_on_queues() {
    switch (draw_.below(8)) {
      case 0:
      case 1:
        return DefineQueue{.queue = draw_.pick<std::string>({"a", "b", "c", "d"}),
                           .mode = static_cast<DefineQueue::Mode>(draw_.below(3)),
                           .settings = settings_of(draw_)};
      case 2:
      case 3:
      case 4: {
        SetAdmin set{.queue = some_queue(), .admin = static_cast<Admin>(draw_.below(4))};
        if (draw_.below(2) == 0) set.admin = Admin::up;
        if (draw_.below(3) == 0) set.lasts = seconds{15};
        return set;
      }
      case 5:
        return DeleteQueue{.queue = some_queue(), .force = draw_.below(2) == 0};
      case 6:
        return SetScriptError{.queue = some_queue(), .error = some_text()};
      default:
        return draw_.below(2) == 0 ? Command{ListQueues{}} : Command{EngineStats{}};
    }
  }

  Command command() {
    switch (draw_.below(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        return put();
      case 5: {
        PutMany many;
        for (int i = 0; i < 3; ++i) many.puts.push_back(put());
        return many;
      }
      case 6:
      case 7:
      case 8:
      case 9:
        return reserve();
      case 10:
      case 11:
        return finish();
      case 12: {
        Heartbeat heartbeat;
        heartbeat.items.push_back({.token = some_token(), .extend = draw_.below(2) == 0});
        if (draw_.below(3) == 0) heartbeat.items[0].progress = some_text();
        if (draw_.below(3) == 0) heartbeat.items[0].lease = seconds{33};
        return heartbeat;
      }
      case 13:
        if (draw_.below(3) > 0) return act();
        return Duplicate{.token = some_token(),
                         .queue = some_queue(),
                         .delay = draw_.pick<Millis>({Millis{0}, seconds{4}})};
      case 14:
      case 15:
        return act();
      case 16:
        if (draw_.below(2) == 0) return RunEarlyOne{.seq = some_message()};
        return RunEarly{.queue = some_queue(),
                        .bound = scarce_ ? 1 : draw_.pick<std::int64_t>({1, 2, 100})};
      case 17:
        if (draw_.below(2) == 0) return ShowQueue{.queue = some_queue()};
        return Peek{.what = static_cast<PeekWhat>(draw_.below(4)),
                    .seq = some_message(),
                    .queue = some_queue()};
      case 18:
        return command_on_queues();
      default:
        if (draw_.below(3) == 0) return Disconnect{};
        if (draw_.below(3) == 0) return StopWaiting{};
        return command_on_queues();
    }
  }

  Draw& draw_;
  const Model& model_;
  const bool scarce_;
  Instant now_{};
  std::uint64_t connection_ = 0;
  std::uint64_t requests_ = 0;
  std::vector<Token> tokens_;
};

// The lines of each that the other has not.
std::string difference(const std::string& model, const std::string& engine) {
  const auto lines = [](const std::string& text) {
    std::istringstream in{text};
    std::multiset<std::string> out;
    for (std::string line; std::getline(in, line);) out.insert(line);
    return out;
  };
  std::string out;
  const auto tell = [&out](std::string_view who, const auto& these, const auto& others) {
    for (const std::string& line : these) {
      if (!others.contains(line)) out += fmt::format("{}: {}\n", who, line);
    }
  };
  tell("model ", lines(model), lines(engine));
  tell("engine", lines(engine), lines(model));
  return out;
}

class LockStep {
 public:
  LockStep(std::unique_ptr<Home> home, std::uint64_t seed, bool scarce)
      : home_(std::move(home)), draw_(seed), scarce_(scarce), commands_(draw_, model_, scarce) {
    start();
  }

  void play() {
    compare(collect({}), Millis{0}, nullptr);
    for (const std::string name : {"a", "b", "c"}) {
      run({.ticket = {.request = --setup_},
           .command = DefineQueue{.queue = name, .settings = settings_of(draw_)}});
    }
    for (int i = 0; i < kSteps && !testing::Test::HasFailure(); ++i) {
      if (draw_.below(5) < 2) pass();
      if (draw_.below(40) == 0) restart();
      Envelope envelope = commands_.next(now_);
      trace_.push_back(fmt::format("{}: {}", base::to_ms(now_), text_of(envelope)));
      run(envelope);
      if (i % 10 == 9) compare_rows();
    }
    compare_rows();
  }
  // What was replied, and what is stored: bytes.
  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] std::string dump() const { return home_->dump(); }

 private:
  void start() {
    store_ = home_->make();
    engine_ = std::make_unique<engine::Engine>(*store_);
    ASSERT_TRUE(engine_->open());
  }

  void restart() {
    trace_.emplace_back("restart");
    engine_.reset();
    if (draw_.below(2) == 0) home_->crash();
    store_.reset();
    start();
    model_.restart();
    each_.clear();
    clones_.clear();
    compare(collect({}), Millis{0}, nullptr);
  }

  void pass() {
    const Millis by = draw_.pick<Millis>({Millis{0}, Millis{1}, Millis{999}, seconds{5},
                                          Millis{12'345}, seconds{20}, seconds{61}, seconds{600}});
    const Millis shift = draw_.below(8) == 0
                             ? draw_.pick<Millis>({seconds{-3600}, seconds{3600}, Millis{-1}})
                             : Millis{0};
    now_ += by + shift;
    trace_.push_back(fmt::format("{} ms, the clock is stepped by {}", by.count(), shift.count()));
    shift_ = shift;
    compare(collect({}), shift, nullptr);
  }

  void run(const Envelope& envelope) {
    if (const auto* reserve = std::get_if<Reserve>(&envelope.command)) {
      if (reserve->each) each_[envelope.ticket.request] = reserve->limit;
    }
    if (const auto* act = std::get_if<Act>(&envelope.command)) {
      if (act->action == Action::clone) clones_.insert(envelope.ticket.request);
    }
    std::vector<Envelope> batch;
    batch.push_back(copy_of(envelope));
    compare(collect(std::move(batch)), Millis{0}, &envelope);
  }

  // Batches till the engine is at rest: all replies, in their order.
  std::vector<Delivery> collect(std::vector<Envelope> batch) {
    std::vector<Delivery> out;
    for (int i = 0;; ++i) {
      Outbox outbox;
      const Committed done =
          engine_->run(batch, {.now = now_, .shift = std::exchange(shift_, Millis{0})}, outbox);
      batch.clear();
      EXPECT_EQ(done.what, Committed::What::yes);
      for (Delivery& delivery : outbox.deliveries) out.push_back(std::move(delivery));
      if (engine_->next_wake() > now_) return out;
      if (i == 2000) {
        ADD_FAILURE() << "the engine never comes to rest";
        return out;
      }
    }
  }

  // A number for each message that was made.
  void note_numbers(const Delivery& delivery, Choices& choices) {
    const auto note = [&](Seq seq) {
      EXPECT_GT(seq, last_seq_) << "numbers grow";
      last_seq_ = seq;
      choices.numbers.push_back(seq);
    };
    if (const auto* put = std::get_if<PutDone>(&delivery.reply)) {
      if (!put->repeated) note(put->seq);
    } else if (const auto* many = std::get_if<PutManyDone>(&delivery.reply)) {
      for (const auto& one : many->puts) {
        if (one && !one->repeated) note(one->seq);
      }
    } else if (const auto* acted = std::get_if<ActDone>(&delivery.reply)) {
      if (!clones_.contains(delivery.ticket.request)) return;
      for (const auto& item : acted->items) {
        if (item) note(item->seq);
      }
    }
  }

  void note_reserved(const Ticket& ticket, const Reserved& reserved, Choices& choices,
                     Replies& replies) {
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < reserved.messages.size(); ++i) {
      const Message& m = reserved.messages[i];
      texts.push_back(text_of(m, *reserved.queues[i]));
      commands_.remember({m.seq, m.lease->attempt, m.lease->boot});
    }
    // The number of an `each` moves on with what was told.
    const auto first = each_.upper_bound(ticket.request);
    const bool each =
        first != each_.begin() &&
        std::prev(first)->first + static_cast<std::uint64_t>(std::prev(first)->second) >
            ticket.request;
    if (!each || texts.empty()) {
      if (scarce_) choices.taken[ticket.request] = std::ssize(texts);
      add(replies, ticket.request, text_of_reserved(texts));
      return;
    }
    std::uint64_t request = ticket.request;
    for (const std::string& text : texts) add(replies, request++, text_of_reserved({text}));
  }

  static void add(Replies& replies, std::uint64_t request, std::string text) {
    const auto [at, made] = replies.emplace(request, std::move(text));
    EXPECT_TRUE(made) << "request " << request << " was answered twice";
  }

  void compare(const std::vector<Delivery>& deliveries, Millis shift, const Envelope* envelope) {
    Choices choices{.boot = store_->boot()};
    Replies got;
    for (const Delivery& delivery : deliveries) {
      note_numbers(delivery, choices);
      if (const auto* reserved = std::get_if<Reserved>(&delivery.reply)) {
        note_reserved(delivery.ticket, *reserved, choices, got);
      } else {
        add(got, delivery.ticket.request, text_of(delivery.reply));
      }
    }
    const Replies expected =
        envelope != nullptr ? model_.run(*envelope, choices) : model_.pass(now_, shift, choices);
    for (const auto& [request, text] : got) bytes_ += fmt::format("{} {}\n", request, text);
    if (got == expected) return;
    for (const std::string& line : trace_) std::cerr << line << "\n";
    const auto tell = [](std::string_view who, const Replies& these, const Replies& others) {
      for (const auto& [request, text] : these) {
        const auto other = others.find(request);
        if (other != others.end() && other->second == text) continue;
        std::cerr << fmt::format("{} {}: {}\n", who, request, text);
      }
    };
    tell("engine", got, expected);
    tell("model ", expected, got);
    ADD_FAILURE() << "the engine and the model do not agree";
  }

  // The rows are those of the model.
  void compare_rows() {
    if (testing::Test::HasFailure()) return;
    std::string rows;
    Outbox outbox;
    std::vector<Envelope> batch;
    batch.push_back({.ticket = {.request = 0}, .command = ListQueues{}});
    EXPECT_EQ(engine_->run(batch, {.now = now_}, outbox).what, Committed::What::yes);
    for (QueueShown& shown : std::get<QueuesListed>(outbox.deliveries.at(0).reply).queues) {
      shown.waiting_reserves = 0;
      rows += text_of(shown) + "\n";
    }
    const auto reader = home_->reader();
    const auto listed = reader->list({.limit = 100'000, .newest_first = false});
    ASSERT_TRUE(listed);
    std::string attempts;
    for (const MessageRow& row : listed->rows) {
      rows += text_of(row.message, row.queue) + "\n";
      const auto of_message = reader->attempts(row.message.seq);
      ASSERT_TRUE(of_message);
      for (const Attempt& a : *of_message) attempts += text_of(a) + "\n";
    }
    const std::string expected = model_.dump();
    if (rows + attempts != expected) {
      for (const std::string& line : trace_) std::cerr << line << "\n";
    }
    EXPECT_TRUE(rows + attempts == expected) << difference(expected, rows + attempts);
    for (const std::string& finding : home_->findings()) ADD_FAILURE() << finding;
  }

  std::unique_ptr<Home> home_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<engine::Engine> engine_;
  Model model_;
  Draw draw_;
  const bool scarce_;
  Commands commands_;
  Instant now_ = base::from_ms(1'700'000'000'000);
  Millis shift_{};
  Seq last_seq_ = 0;
  std::uint64_t setup_ = UINT64_MAX;            // requests of the first queues
  std::map<std::uint64_t, std::int64_t> each_;  // requests, and for how many they stand
  std::set<std::uint64_t> clones_;
  std::vector<std::string> trace_;
  std::string bytes_;
};

memory::Options options_of(std::uint64_t seed) {
  memory::Options options = memory::drawn_from(seed);
  options.short_due = false;  // who is served first depends on what falls due together
  return options;
}

TEST(ModelTest, TheEngineDoesWhatThePlainModelDoes) {
  for_each_seed(1000, [](std::uint64_t seed) {
    const memory::Options options = options_of(seed);
    LockStep(std::make_unique<MemoryHome>(options), seed, options.short_lists).play();
  });
}

TEST(ModelTest, AndSoItDoesOnSqlite) {
  for_each_seed(30, [](std::uint64_t seed) {
    LockStep(std::make_unique<sqlite::test::SqliteHome>(sqlite::Options{}), seed, false).play();
  });
}

TEST(ModelTest, AndWhereLinesAreReadInSmallPieces) {
  for_each_seed(15, [](std::uint64_t seed) {
    LockStep(std::make_unique<sqlite::test::SqliteHome>(sqlite::Options{.wal_bytes = 64 * 1024,
                                                                        .threads = true,
                                                                        .line_max = 4,
                                                                        .line_read = 2,
                                                                        .line_ahead = 3}),
             seed, false)
        .play();
  });
}

TEST(ModelTest, TheSameSeedGivesTheSameBytes) {
  for_each_seed(20, [](std::uint64_t seed) {
    std::string before;
    for (int i = 0; i < 2; ++i) {
      const memory::Options options = options_of(seed);
      LockStep game(std::make_unique<MemoryHome>(options), seed, options.short_lists);
      game.play();
      const std::string now = game.bytes() + game.dump();
      EXPECT_TRUE(i == 0 || now == before);
      before = now;
    }
  });
}

}  // namespace
}  // namespace rq::store::contract
