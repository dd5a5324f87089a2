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
#include "store/contract/commands_rig.h"
#include "store/contract/home_rig.h"
#include "store/contract/memory_rig.h"
#include "store/contract/model_rig.h"
#include "store/contract/seeds_rig.h"
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::contract {
namespace {

constexpr int kSteps = 80;  // of a game

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
  // `no_room`: read by the home's stores.
  LockStep(std::unique_ptr<Home> home, std::uint64_t seed, bool scarce,
           std::shared_ptr<bool> no_room = std::make_shared<bool>())
      : home_(std::move(home)),
        draw_(seed),
        scarce_(scarce),
        no_room_(std::move(no_room)),
        commands_(draw_, scarce) {
    start();
  }

  void play() {
    compare(collect({}), {}, nullptr);
    for (const std::string name : {"a", "b", "c"}) {
      run({.ticket = {.request = --setup_},
           .command = DefineQueue{.queue = name, .settings = settings_of(draw_)}});
    }
    for (int i = 0; i < kSteps && !testing::Test::HasFailure(); ++i) {
      if (draw_.below(5) < 2) pass();
      if (draw_.below(40) == 0) restart();
      if (no_room_.use_count() > 1) *no_room_ = draw_.below(*no_room_ ? 4 : 30) == 0;
      Envelope envelope = commands_.next(now_, view());
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
  [[nodiscard]] View view() const {
    View out;
    for (const auto& [seq, m] : model_.stored().messages) {
      out.messages.push_back(seq);
      if (m.lease) out.live.push_back({seq, m.lease->attempt, m.lease->boot});
    }
    return out;
  }

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
    compare(collect({}), {}, nullptr);
  }

  void pass() {
    const Millis by = draw_.pick<Millis>({Millis{0}, Millis{1}, Millis{999}, seconds{5},
                                          Millis{12'345}, seconds{20}, seconds{61}, seconds{600}});
    const Millis shift = draw_.below(8) == 0
                             ? draw_.pick<Millis>({seconds{-3600}, seconds{3600}, Millis{-1}})
                             : Millis{0};
    const Model::Jump jump{.shift = shift,
                           .stopped = by >= seconds{20} && draw_.one_in(4) ? by : Millis{0}};
    now_ += by + shift;
    trace_.push_back(fmt::format("{} ms, the clock is stepped by {}{}", by.count(), shift.count(),
                                 jump.stopped > Millis{0} ? ", the server was stopped" : ""));
    compare(collect({}, jump), jump, nullptr);
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
    compare(collect(std::move(batch)), {}, &envelope);
  }

  // Batches till the engine is at rest: all replies, in their order.
  std::vector<Delivery> collect(std::vector<Envelope> batch, const Model::Jump& jump = {}) {
    std::vector<Delivery> out;
    for (int i = 0;; ++i) {
      Outbox outbox;
      const auto [shift, stopped] = i == 0 ? jump : Model::Jump{};
      const Committed done =
          engine_->run(batch, {.now = now_, .shift = shift, .stopped = stopped}, outbox);
      batch.clear();
      EXPECT_EQ(done.what, Committed::What::yes) << done.why.message;
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

  void compare(const std::vector<Delivery>& deliveries, const Model::Jump& jump,
               const Envelope* envelope) {
    Choices choices{.boot = store_->boot(), .no_room = *no_room_};
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
        envelope != nullptr ? model_.run(*envelope, choices) : model_.pass(now_, jump, choices);
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
  const std::shared_ptr<bool> no_room_;
  Commands commands_;
  Instant now_ = base::from_ms(1'700'000'000'000);
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

class ModelGames : public testing::TestWithParam<std::uint64_t> {};

TEST_P(ModelGames, TheEngineDoesWhatThePlainModelDoes) {
  for_each_seed(
      1000,
      [](std::uint64_t seed) {
        memory::Options options = options_of(seed);
        const auto no_room = std::make_shared<bool>();
        options.no_room = [no_room] { return *no_room; };
        LockStep(std::make_unique<MemoryHome>(options), seed, options.short_lists, no_room).play();
      },
      {GetParam(), kShares});
}
INSTANTIATE_TEST_SUITE_P(Shares, ModelGames, testing::Range(std::uint64_t{0}, kShares));

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
