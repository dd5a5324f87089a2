#include "pipeline/pipeline.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <future>
#include <map>
#include <thread>

#include "net/loop.h"
#include "pipeline/desk.h"
#include "pipeline/pipeline_rig.h"

namespace rq::pipeline::test {
namespace {

// Whether the pipeline runs them where they are, as the loop asks it to, or in its own thread.
enum class Ran : std::uint8_t { here, there };
Ran give(Pipeline& pipeline, std::vector<Envelope>&& commands) {
  if (pipeline.run_here(commands)) return Ran::here;
  EXPECT_TRUE(pipeline.submit(commands));
  return Ran::there;
}

// Runs the command in the caller's thread: as soon as the engine's own thread sleeps, and has seen
// that the disk is quick. REQUIRES: every command before it has been answered.
bool give_here(Rig& rig, Command command) {
  std::vector<Envelope> one;
  one.push_back(rig.envelope(std::move(command)));
  const auto until = std::chrono::steady_clock::now() + kPatience;
  for (int tries = 1; !rig.pipeline().run_here(one); ++tries) {
    if (std::chrono::steady_clock::now() > until) return false;
    // A batch without a sync: after a slow one, quick ones make it trust the disk again.
    constexpr int kTriesBetween = 1'000;
    if (tries % kTriesBetween == 0) {
      static_cast<void>(rig.ask<core::EngineStatsDone>(core::EngineStats{}));
    }
    std::this_thread::yield();
  }
  return true;
}

TEST(Pipeline, CommandsOfOneThreadStayInOrderWhereverTheyRun) {
  Rig rig;
  rig.start();
  rig.define("q", minutes{1});
  ASSERT_TRUE(give_here(rig, Rig::put_of("q")));
  core::Seq last = Rig::as<core::PutDone>(rig.doors[0].next().reply).seq;

  std::map<Ran, int> ran;
  std::vector<std::uint64_t> given;
  constexpr int kTurns = 100;
  const auto take_all = [&] {
    for (const std::uint64_t request : given) {
      Delivery delivery = rig.doors[0].next();
      ASSERT_EQ(delivery.ticket.request, request);
      const core::Seq seq = Rig::as<core::PutDone>(std::move(delivery.reply)).seq;
      ASSERT_GT(seq, last);
      last = seq;
    }
    given.clear();
  };
  for (int turn = 0; turn < kTurns; ++turn) {
    if (turn % 10 == 9) {  // here for sure
      take_all();
      ASSERT_TRUE(give_here(rig, Rig::put_of("q")));
      ++ran[Ran::here];
      const core::Seq seq = Rig::as<core::PutDone>(rig.doors[0].next().reply).seq;
      ASSERT_GT(seq, last);
      last = seq;
    }
    // Every third turn is too large to run here, so that both ways alternate.
    const int puts = turn % 3 == 0 ? 300 : 1 + turn % 5;
    std::vector<Envelope> commands;
    for (int i = 0; i < puts; ++i) {
      commands.push_back(rig.envelope(Rig::put_of("q")));
      given.push_back(commands.back().ticket.request);
    }
    ++ran[give(rig.pipeline(), std::move(commands))];
  }
  take_all();
  EXPECT_GT(ran[Ran::there], 0);
  EXPECT_GT(ran[Ran::here], 0);
}

// What is delivered must be what a reader of the store sees at that moment.
class Witness {
 public:
  explicit Witness(Rig& rig) {
    rig.doors[0].looks_at = [this, &rig](const Delivery& delivery) {
      if (!reader_) reader_ = rig.reader();
      if (const auto* put = std::get_if<core::PutDone>(&delivery.reply)) {
        expect(put->seq, core::State::que);
      } else if (const auto* got = std::get_if<core::Reserved>(&delivery.reply)) {
        for (const core::Message& m : got->messages) expect(m.seq, core::State::run);
      } else if (std::get_if<core::FinishDone>(&delivery.reply) != nullptr) {
        expect(finished, core::State::done);
      }
    };
  }
  core::Seq finished = 0;
  std::atomic<int> seen{0};

 private:
  void expect(core::Seq seq, core::State state) {
    const auto row = reader_->message(seq);
    EXPECT_TRUE(row && *row && (*row)->message.state == state)
        << "message " << seq << " was told of before its commit";
    ++seen;
  }
  std::unique_ptr<core::Reader> reader_;
};

core::Finish done_of(const core::Message& m) {
  core::Finish finish;
  finish.items.push_back(
      {.token = {.seq = m.seq, .attempt = m.lease->attempt, .boot = m.lease->boot}});
  return finish;
}

TEST(Pipeline, NothingIsDeliveredBeforeItsCommitByTheEnginesThread) {
  Rig rig;
  Witness witness{rig};
  rig.start();
  rig.define("q", minutes{1});
  for (int i = 0; i < 20; ++i) {
    static_cast<void>(rig.ask<core::PutDone>(Rig::put_of("q")));
    const auto got = rig.ask<core::Reserved>(Rig::reserve_of("q"));
    ASSERT_EQ(got.messages.size(), 1U);
    witness.finished = got.messages.front().seq;
    static_cast<void>(rig.ask<core::FinishDone>(done_of(got.messages.front())));
  }
  EXPECT_EQ(witness.seen, 60);
}

TEST(Pipeline, NothingIsDeliveredBeforeItsCommitByTheCallersThread) {
  for (const auto end : {core::LeaseEnd::deadline, core::LeaseEnd::connection}) {
    Rig rig;
    Witness witness{rig};
    rig.start();
    rig.define("q", minutes{1});
    ASSERT_TRUE(give_here(rig, Rig::put_of("q")));
    static_cast<void>(rig.doors[0].next());
    core::Reserve reserve = Rig::reserve_of("q");
    reserve.end = end;
    ASSERT_TRUE(give_here(rig, std::move(reserve)));
    const auto got = Rig::as<core::Reserved>(rig.doors[0].next().reply);
    ASSERT_EQ(got.messages.size(), 1U);
    witness.finished = got.messages.front().seq;
    ASSERT_TRUE(give_here(rig, done_of(got.messages.front())));
    static_cast<void>(rig.doors[0].next());
    EXPECT_EQ(witness.seen, 3);
  }
}

TEST(Pipeline, AFullMailboxRefuses) {
  constexpr std::size_t kRoom = 5;
  Rig rig{std::make_unique<Clock>(Clock::Mode::manual), kRoom};
  rig.start();
  Hold hold{rig};

  std::vector<Envelope> many;
  for (std::size_t i = 0; i <= kRoom; ++i) many.push_back(rig.envelope(core::EngineStats{}));
  EXPECT_FALSE(rig.pipeline().submit(many));
  EXPECT_EQ(many.size(), kRoom + 1) << "what is refused must stay with the caller";
  many.pop_back();
  EXPECT_TRUE(rig.pipeline().submit(many));
  EXPECT_TRUE(many.empty());
  EXPECT_FALSE(rig.pipeline().submit(rig.envelope(core::EngineStats{})));

  hold.release();
  for (std::size_t i = 0; i < kRoom; ++i) {
    EXPECT_TRUE(std::holds_alternative<core::EngineStatsDone>(rig.doors[0].next().reply));
  }
  // There is room again.
  static_cast<void>(rig.ask<core::EngineStatsDone>(core::EngineStats{}));
}

// On the loop a refusal is an answer like any other, and comes later.
class AskingDoor final : public LoopDoor {
 public:
  explicit AskingDoor(Desk& at) : LoopDoor(at) {}
  void ask(std::uint64_t request) {
    desk().submit({.door = door_number(), .connection = 1, .request = request},
                  core::EngineStats{});
    asked = request;
  }
  void on_deliveries(std::vector<Delivery>& deliveries) override {
    for (Delivery& delivery : deliveries) {
      EXPECT_LE(delivery.ticket.request, asked) << "answered before it was asked";
      if (const auto* error = std::get_if<base::Error>(&delivery.reply)) {
        refusal.set_value(error->code);
      } else {
        answer.set_value();
      }
    }
  }
  std::uint64_t asked = 0;
  std::promise<Code> refusal;
  std::promise<void> answer;
};

TEST(Desk, ARefusalOfTheMailboxReachesItsDoorAsBusy) {
  Rig rig{std::make_unique<Clock>(Clock::Mode::manual), 1};
  net::Loop loop;
  Desk desk{loop, rig.pipeline()};
  AskingDoor door{desk};
  loop.start();
  rig.start();
  Hold hold{rig};
  rig.post(core::EngineStats{});  // the mailbox is full
  boost::asio::post(loop.io(), [&door] { door.ask(1); });
  auto refused = door.refusal.get_future();
  ASSERT_EQ(refused.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(refused.get(), Code::busy);

  hold.release();
  static_cast<void>(rig.doors[0].next());
  boost::asio::post(loop.io(), [&door] { door.ask(2); });
  EXPECT_EQ(door.answer.get_future().wait_for(kPatience), std::future_status::ready);
  loop.stop();
  rig.pipeline().stop();  // before the loop that it wakes
}

TEST(Pipeline, StopFinishesWhatItHasAndTakesNothingMore) {
  Rig rig;
  rig.start();
  Hold hold{rig};
  constexpr int kLeft = 3'000;  // more than one batch
  std::vector<std::uint64_t> left;
  for (int i = 0; i < kLeft; ++i) left.push_back(rig.post(core::EngineStats{}));
  std::thread stopper{[&rig] { rig.pipeline().stop(); }};
  // The mailbox is closed when it refuses: there was room enough.
  const auto until = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    Envelope more = rig.envelope(core::EngineStats{});
    const std::uint64_t request = more.ticket.request;
    if (!rig.pipeline().submit(std::move(more))) break;
    left.push_back(request);
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "a pipeline that stops takes commands";
    std::this_thread::yield();
  }
  hold.release();
  stopper.join();
  const std::vector<Delivery> got = rig.doors[0].rest();
  ASSERT_EQ(got.size(), left.size());
  for (std::size_t i = 0; i < left.size(); ++i) EXPECT_EQ(got[i].ticket.request, left[i]);
  std::vector<Envelope> late;
  late.push_back(rig.envelope(core::EngineStats{}));
  EXPECT_FALSE(rig.pipeline().run_here(late));
}

TEST(Pipeline, AnAdvanceIsOverWhenAllThatFellDueIsCommitted) {
  Rig rig;
  rig.start();
  rig.define("q", minutes{1});
  core::Put later = Rig::put_of("q");
  later.delay = hours{2};
  const auto put = rig.ask<core::PutDone>(std::move(later));
  const std::uint64_t waits = rig.wait_for("q", hours{24}, 0);

  std::promise<core::State> state;
  const Instant start = rig.clock().now();
  EXPECT_TRUE(rig.pipeline().advance_clock(hours{2}, [&](Instant now) {
    EXPECT_EQ(now - start, hours{2});
    const auto row = rig.reader()->message(put.seq);
    ASSERT_TRUE(row && *row);
    state.set_value((*row)->message.state);
  }));
  auto seen = state.get_future();
  ASSERT_EQ(seen.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(seen.get(), core::State::run);
  const std::vector<Delivery> got = rig.doors[0].rest();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got.front().ticket.request, waits);
}

TEST(Pipeline, ACallThatAdvancesTheClockIsRefusedWhenTooManyWait) {
  Rig rig;
  rig.start();
  Hold hold{rig};
  int called = 0;
  std::promise<void> all;
  for (std::size_t i = 0; i < kAdvancesMax; ++i) {
    ASSERT_TRUE(rig.pipeline().advance_clock(Millis{1}, [&](Instant) {
      if (++called == static_cast<int>(kAdvancesMax)) all.set_value();
    }));
  }
  EXPECT_FALSE(rig.pipeline().advance_clock(Millis{1}, [&](Instant) { ++called; }));
  hold.release();
  EXPECT_EQ(all.get_future().wait_for(kPatience), std::future_status::ready);
  rig.pipeline().stop();
  EXPECT_EQ(called, static_cast<int>(kAdvancesMax));
}

// While it lives, no file of this process can grow beyond what the store's log has now: a full disk
// with an error that is not known to be one.
class FailingDisk {
 public:
  explicit FailingDisk(const Rig& rig) {
    ::signal(SIGXFSZ, SIG_IGN);  // NOLINT(cert-err33-c): what was there before is of no interest
    RQ_CHECK(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    rlimit small = before_;
    small.rlim_cur = std::filesystem::file_size(rig.file().string() + "-wal");
    RQ_CHECK(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  }
  FailingDisk(const FailingDisk&) = delete;
  FailingDisk& operator=(const FailingDisk&) = delete;
  ~FailingDisk() { RQ_CHECK(::setrlimit(RLIMIT_FSIZE, &before_) == 0); }

 private:
  rlimit before_{};
};

// Whatever else they say, the file must grow for it.
core::Put large_put() {
  core::Put put = Rig::put_of("q");
  put.message.payload.assign(500'000, 'x');
  return put;
}

TEST(Pipeline, AFailingStoreAnswersUnknownOutcomeAndIsOpenedAgain) {
  Rig rig;
  rig.start();
  rig.define("q", minutes{1});
  rig.define("empty", minutes{1});
  static_cast<void>(rig.ask<core::PutDone>(Rig::put_of("q")));
  const std::uint64_t waits = rig.wait_for("empty", minutes{1}, 1);
  std::vector<Code> codes;
  {
    const FailingDisk failing{rig};
    std::vector<Envelope> batch;
    for (int i = 0; i < 3; ++i) batch.push_back(rig.envelope(large_put()));
    ASSERT_TRUE(rig.pipeline().submit(batch));
    for (int i = 0; i < 3; ++i) {
      Reply reply = rig.doors[0].next().reply;
      const auto* error = std::get_if<base::Error>(&reply);
      ASSERT_NE(error, nullptr) << "a put that cannot be on disk was acknowledged";
      codes.push_back(error->code);
    }
  }
  EXPECT_EQ(codes, std::vector(3, Code::unknown_outcome));
  // The engine goes on with what is committed.
  const auto put = rig.ask<core::PutDone>(Rig::put_of("q"));
  const auto row = rig.reader()->message(put.seq);
  EXPECT_TRUE(row && *row);
  EXPECT_FALSE(rig.pipeline().failed());
  // Who has waited since before the fault still waits.
  static_cast<void>(rig.ask<core::PutDone>(Rig::put_of("empty")));
  Delivery delivery = rig.doors[1].next();
  EXPECT_EQ(delivery.ticket.request, waits);
  EXPECT_EQ(Rig::as<core::Reserved>(std::move(delivery.reply)).messages.size(), 1U);
  EXPECT_EQ(
      rig.ask<core::QueueShown>(core::ShowQueue{.queue = "q"}).queue->counters.in(core::State::que),
      2);
}

// A put whose commit has that fate, and its answer.
Code put_with(Rig& rig, core::Committed::What what, Code code, bool done) {
  core::Put put = Rig::put_of("q");
  put.message.detail().key = "k";
  rig.fates.next_commit(what, code, done);
  return rig.ask<base::Error>(std::move(put)).code;
}
// The same again: true when the first was there.
bool put_is_repeated(Rig& rig) {
  core::Put put = Rig::put_of("q");
  put.message.detail().key = "k";
  return rig.ask<core::PutDone>(std::move(put)).repeated;
}

TEST(Pipeline, ACommitThatSaysNoIsRefusedWithItsReason) {
  Rig rig;
  rig.start();
  rig.define("q", minutes{1});
  EXPECT_EQ(put_with(rig, core::Committed::What::no, Code::disk_full, false), Code::disk_full);
  EXPECT_FALSE(put_is_repeated(rig));
}

TEST(Pipeline, ACommitThatNobodyKnowsOfAnswersUnknownOutcomeAndARepeatFindsOut) {
  for (const bool done : {false, true}) {
    Rig rig;
    rig.start();
    rig.define("q", minutes{1});
    EXPECT_EQ(put_with(rig, core::Committed::What::unknown, Code::unknown_outcome, done),
              Code::unknown_outcome);
    EXPECT_EQ(put_is_repeated(rig), done);
    EXPECT_EQ(rig.ask<core::QueueShown>(core::ShowQueue{.queue = "q"})
                  .queue->counters.in(core::State::que),
              1);
  }
}

// The end of a pipeline whose store is of no use any more.
class End {
 public:
  explicit End(Rig& rig) {
    rig.pipeline().on_failure([this] {
      ++calls;
      called_.set_value();
    });
  }
  [[nodiscard]] bool comes() {
    return called_.get_future().wait_for(kPatience) == std::future_status::ready;
  }
  std::atomic<int> calls{0};

 private:
  std::promise<void> called_;
};

TEST(Pipeline, AStoreThatOpensAgainAfterSomeTriesIsGoneOnWith) {
  Rig rig;
  End end{rig};
  rig.start();
  rig.define("q", minutes{1});
  rig.fates.next_opens_fail(1);
  EXPECT_EQ(put_with(rig, core::Committed::What::unknown, Code::unknown_outcome, false),
            Code::unknown_outcome);
  EXPECT_FALSE(put_is_repeated(rig));
  EXPECT_EQ(end.calls, 0);
  EXPECT_FALSE(rig.pipeline().failed());
}

// faults.md D15, relative: the server ended, and could not be started on the full disk.
TEST(Pipeline, AFullDiskIsWaitedOutHoweverLongItLasts) {
  Rig rig;
  End end{rig};
  rig.start();
  rig.define("q", minutes{1});
  rig.fates.next_opens_fail(1'000'000, Code::disk_full);
  EXPECT_EQ(put_with(rig, core::Committed::What::no, Code::disk_full, false), Code::disk_full);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(rig.ask<base::Error>(Rig::put_of("q")).code, Code::disk_full) << "with the reason";
  }
  EXPECT_FALSE(rig.pipeline().failed());
  rig.fates.next_opens_fail(0);
  const auto put = [&rig] {
    const auto request = rig.post(Rig::put_of("q"));
    Delivery delivery = rig.doors[0].next();
    EXPECT_EQ(delivery.ticket.request, request);
    return std::holds_alternative<core::PutDone>(delivery.reply);
  };
  while (!put()) {
  }
  EXPECT_EQ(end.calls, 0);
}

TEST(Pipeline, AStoreThatDoesNotOpenAgainEndsTheServer) {
  Rig rig;
  End end{rig};
  rig.start();
  rig.define("q", minutes{1});
  rig.fates.next_opens_fail(1'000);
  EXPECT_EQ(put_with(rig, core::Committed::What::unknown, Code::unknown_outcome, false),
            Code::unknown_outcome);
  ASSERT_TRUE(end.comes());
  EXPECT_TRUE(rig.pipeline().failed());
  rig.pipeline().stop();
  EXPECT_EQ(end.calls, 1);
}

TEST(Pipeline, AnEngineThatWasReplacedEndsAtOnceAndItsClientsAreTold) {
  Rig rig;
  End end{rig};
  rig.start();
  rig.define("q", minutes{1});
  rig.fates.next_commit(core::Committed::What::deposed, Code::unknown_outcome);
  static_cast<void>(rig.ask<base::Error>(Rig::put_of("q")));
  ASSERT_TRUE(end.comes());
  EXPECT_TRUE(rig.pipeline().failed());
  rig.pipeline().stop();
  EXPECT_EQ(end.calls, 1);
}

}  // namespace
}  // namespace rq::pipeline::test
