// What the store and the engine do when the disk does not: full, failing, or without power.
#include <gtest/gtest.h>

#include <set>

#include "store/sqlite/sqlite_rig.h"
#include "store/sqlite/test_vfs.h"
#include "store/sqlite/writer_vfs.h"

namespace rq::store::sqlite::test {
namespace {

// A store on the failing disk, and what it has promised.
class Promises {
 public:
  explicit Promises(Options options = {}) : options_(options) {}

  base::Result<void> open() {
    store_.reset();
    RQ_TRY_ASSIGN(opened, open_store(file(), options_));
    store_ = std::move(opened);
    RQ_TRY_ASSIGN(queues, store_->queues());
    if (!queues.empty()) {
      queue_ = queues.front().id;
      return {};
    }
    core::Queue q;
    q.name = "q";
    q.revision = 1;
    RQ_TRY(store_->load({}));
    queue_ = store_->insert(q);
    return committed(Sync::disk);
  }

  // Commits. After a fault the store is opened again, as the engine does.
  base::Result<void> committed(Sync sync) {
    Committed done = store_->commit(sync);
    if (done.what == Committed::What::yes) return {};
    return std::move(done.why);
  }

  // One batch: some puts, one erase, perhaps a lease.
  base::Result<void> batch(Sync sync) {
    std::vector<core::Seq> put;
    core::Seq erased = 0;
    auto work = [&]() -> base::Result<void> {
      if (broken_) RQ_TRY(store_->open());
      broken_ = false;
      RQ_TRY(store_->load({}));
      for (int i = 0; i < 3; ++i) {
        core::Message m;
        const core::Seq seq = store_->next_number();
        m.seq = seq;
        m.queue = queue_;
        m.created = base::from_ms(seq);
        m.due = m.created;
        m.payload.assign(700, 'x');
        m.detail().key = fmt::format("key-{}", seq);
        put.push_back(seq);
        store_->insert(std::move(m));
      }
      if (batches_ % 3 == 2 && !there_.empty()) {
        erased = *there_.begin();
        RQ_TRY_ASSIGN(record, store_->find(erased));
        if (record != nullptr) store_->erase(*record);
      }
      return {};
    };
    ++batches_;
    if (auto worked = work(); !worked) {
      broken_ = true;
      store_->abort();
      return worked;
    }
    auto done = committed(sync);
    if (!done) {
      broken_ = true;
      // It may be so or not: nobody was told.
      for (const core::Seq seq : put) unknown_.insert(seq);
      if (erased != 0) {
        there_.erase(erased);
        promised_.erase(erased);
        unknown_.insert(erased);
      }
      if (done.error().code == Code::disk_full) {
        for (const core::Seq seq : put) refused_.insert(seq);
      }
      return done;
    }
    for (const core::Seq seq : put) there_.insert(seq);
    if (erased != 0) {
      there_.erase(erased);
      gone_.insert(erased);
      // Until the next sync the power may bring it back.
      promised_.erase(erased);
    }
    if (sync == Sync::disk) {
      promised_ = there_;
      promised_gone_ = gone_;
    }
    return {};
  }

  void maintain() { store_->maintain(); }
  void close() { store_.reset(); }

  // What is in `file` holds all that was promised on disk.
  void expect_kept(const fs::path& at, const std::string& what) const {
    auto opened = open_store(at);
    ASSERT_TRUE(opened) << what << ": " << opened.error().message;
    opened->reset();
    std::set<std::string> stored;
    for (const std::string& seq : rows_of(at, "SELECT seq FROM message")) stored.insert(seq);
    for (const core::Seq seq : promised_) {
      EXPECT_TRUE(stored.contains(std::to_string(seq)))
          << what << ": message " << seq << " is lost";
    }
    for (const core::Seq seq : promised_gone_) {
      EXPECT_FALSE(stored.contains(std::to_string(seq))) << what << ": " << seq << " is back";
    }
    for (const core::Seq seq : refused_) {
      EXPECT_FALSE(stored.contains(std::to_string(seq)))
          << what << ": " << seq << " was refused for want of room";
    }
    const auto findings = check_store(at);
    ASSERT_TRUE(findings) << findings.error().message;
    for (const std::string& finding : *findings) {
      if (!finding.starts_with("counter of queue")) ADD_FAILURE() << what << ": " << finding;
    }
  }

  [[nodiscard]] fs::path file() const { return dir_.path() / "rq.db"; }

 private:
  TempDir dir_;
  Options options_;
  std::unique_ptr<Store> store_;
  core::QueueId queue_ = 0;
  int batches_ = 0;
  bool broken_ = false;                           // it must be opened again
  std::set<core::Seq> there_, gone_;              // committed
  std::set<core::Seq> promised_, promised_gone_;  // and on disk
  std::set<core::Seq> unknown_, refused_;
};

Options small_log() {
  Options options;
  options.wal_bytes = 64 * 1024;  // so that a short test copies it into the database many times
  return options;
}

TEST(PowerCut, LosesNothingThatWasSynced) {
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    TestVfs vfs;
    Promises p{small_log()};
    ASSERT_TRUE(p.open());
    for (int i = 0; i < 60; ++i) {
      ASSERT_TRUE(p.batch(i % 4 == 1 ? Sync::disk : Sync::none));
      p.maintain();
      if (i % 15 == 14 || i == 2) {
        TempDir after;
        vfs.power_cut(p.file().parent_path(), after.path(), seed);
        p.expect_kept(after.path() / "rq.db", fmt::format("seed {} batch {}", seed, i));
      }
    }
  }
}

// Also those whose messages were not promised: a client has seen them.
TEST(PowerCut, NoSequenceNumberIsGivenAgain) {
  TestVfs vfs;
  TempDir dir;
  TempDir after;
  core::Seq last = 0;
  auto store = open_store(dir.path() / "rq.db");
  ASSERT_TRUE(store);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE((*store)->load({}));
    last = (*store)->next_number();
    ASSERT_EQ((*store)->commit(Sync::none).what, Committed::What::yes);
  }
  vfs.power_cut(dir.path(), after.path());
  auto again = open_store(after.path() / "rq.db");
  ASSERT_TRUE(again);
  ASSERT_TRUE((*again)->load({}));
  EXPECT_GT((*again)->next_number(), last);
}

TEST(PowerCut, RightAfterOpeningLeavesAStoreThatOpens) {
  TestVfs vfs;
  Promises p;
  ASSERT_TRUE(p.open());
  TempDir after;
  vfs.power_cut(p.file().parent_path(), after.path());
  p.expect_kept(after.path() / "rq.db", "opened");
}

// Every write and every sync of a run fails once: each time with a full disk, and with a broken
// one.
TEST(Fault, AtAnyWriteOrSyncIsAnErrorAndLosesNothing) {
  constexpr int kBatches = 8;
  for (const int code : {SQLITE_FULL, SQLITE_IOERR_WRITE}) {
    for (const bool stays : {false, true}) {
      for (int nth = 1;; nth += stays ? 11 : code == SQLITE_FULL ? 2 : 1) {
        const std::string what = fmt::format("code {} at {}{}", code, nth, stays ? " on" : "");
        TestVfs vfs;
        Promises p{small_log()};
        ASSERT_TRUE(p.open());
        vfs.fail_at(nth, code, stays);
        bool failed = false;
        for (int i = 0; i < kBatches; ++i) {
          const auto done = p.batch(Sync::disk);
          p.maintain();
          if (done) continue;
          failed = true;
          const Code got = done.error().code;
          EXPECT_TRUE(got == Code::disk_full || got == Code::unknown_outcome)
              << what << ": " << base::name_of(got);
          EXPECT_TRUE(code == SQLITE_FULL || got == Code::unknown_outcome) << what;
          EXPECT_FALSE(done.error().remedy.empty());
        }
        const bool reached = vfs.has_failed();
        vfs.fail_at(0, 0);
        // The disk is well again: so is the store, without a new start.
        for (int i = 0; i < 3; ++i) {
          const auto done = p.batch(Sync::disk);
          EXPECT_TRUE(done) << what << ": " << done.error().message;
        }
        TempDir after;
        vfs.power_cut(p.file().parent_path(), after.path(), static_cast<std::uint64_t>(nth) % 3);
        p.expect_kept(after.path() / "rq.db", what);
        if (nth % 8 == 1) {
          p.close();
          p.expect_kept(p.file(), what + ", closed");
        }
        if (!reached) {
          EXPECT_FALSE(failed);
          EXPECT_GT(nth, 20) << "the run is long enough to mean something";
          break;
        }
        if (HasFailure()) return;
      }
    }
  }
}

TEST(Fault, WhileOpeningIsAnErrorAndTheNextTryOpens) {
  for (int nth = 1;; ++nth) {
    TestVfs vfs;
    Promises p;
    vfs.fail_at(nth, nth % 2 == 0 ? SQLITE_FULL : SQLITE_IOERR_WRITE);
    const auto opened = p.open();
    const bool reached = vfs.has_failed();
    vfs.fail_at(0, 0);
    if (!opened) {
      const auto again = p.open();
      ASSERT_TRUE(again) << nth << ": " << again.error().message;
    }
    ASSERT_TRUE(p.batch(Sync::disk)) << nth;
    TempDir after;
    vfs.power_cut(p.file().parent_path(), after.path());
    p.expect_kept(after.path() / "rq.db", fmt::format("at {}", nth));
    if (!reached) break;
  }
}

// After a sync that failed, Linux takes the lost pages for written. Whoever just goes on promises
// what stands behind a hole in the log.
TEST(Fault, AFailedSyncIsNeverBuiltUpon) {
  for (int nth = 1; nth <= 8; ++nth) {
    TestVfs vfs;
    Promises p;
    ASSERT_TRUE(p.open());
    ASSERT_TRUE(p.batch(Sync::disk));
    vfs.fail_sync_at(nth);
    for (int i = 0; i < 8; ++i) static_cast<void>(p.batch(Sync::disk));
    ASSERT_TRUE(vfs.has_failed());
    TempDir after;
    vfs.power_cut(p.file().parent_path(), after.path());
    p.expect_kept(after.path() / "rq.db", fmt::format("sync {}", nth));
    if (HasFailure()) return;
  }
}

TEST(Fault, ALongLogIsWrittenOnceMoreToo) {
  TestVfs vfs;
  Promises p;
  ASSERT_TRUE(p.open());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(p.batch(Sync::disk));
  ASSERT_GT(fs::file_size(p.file().string() + "-wal"), 5 * kLogPieceBytes);
  vfs.fail_sync_at(1);
  ASSERT_FALSE(p.batch(Sync::disk));
  const auto next = p.batch(Sync::disk);
  ASSERT_TRUE(next) << next.error().message;
  TempDir after;
  vfs.power_cut(p.file().parent_path(), after.path());
  p.expect_kept(after.path() / "rq.db", "a long log");
}

TEST(Fault, AFileSystemWithoutSharedMemoryIsRefused) {
  TestVfs vfs;
  vfs.forbid_shared_memory();
  TempDir dir;
  const auto refused = open_store(dir.path() / "rq.db");
  ASSERT_FALSE(refused) << "commits would not be what they promise";
  EXPECT_FALSE(refused.error().remedy.empty());
}

// --- The engine over it ---

TEST(EngineFault, FailsTheWholeBatchAndGoesOnOnceOpenedAgain) {
  TestVfs vfs;
  SqliteRig rig;
  rig.define("q");
  const auto waits = rig.submit(rig.waiting_reserve({{.queue = "q"}}), 7);
  rig.run();
  vfs.fail_at(1, SQLITE_IOERR_WRITE);
  const auto put = rig.submit(Rig::put_of("q"));
  const auto comes_to_wait = rig.submit(rig.waiting_reserve({{.queue = "q"}}), 8);
  const auto disconnect = rig.submit(core::Disconnect{}, 9);
  ASSERT_NE(rig.try_run().what, Committed::What::yes);
  for (const auto request : {waits, put, comes_to_wait}) {
    EXPECT_EQ(rig.reply<Error>(request).code, Code::unknown_outcome);
  }
  EXPECT_FALSE(rig.answered(disconnect));
  EXPECT_TRUE(rig.notices.size() == 1) << "only of the queue: nothing else has happened";

  const auto too_early = rig.submit(Rig::put_of("q"));
  EXPECT_NE(rig.try_run().what, Committed::What::yes) << "what it knows is no longer true";
  EXPECT_TRUE(rig.answered(too_early));

  ASSERT_TRUE(rig.engine().open());
  const auto seq = rig.put("q");
  EXPECT_EQ(rig.state(seq), State::que) << "those who waited have had their answer";
  EXPECT_EQ(rig.queue("q").waiting_reserves, 0);
  EXPECT_EQ(rig.counters("q").puts, 1);
  rig.expect_sound();
}

TEST(EngineFault, WhatWasHeldBeforeIsDoneAfterIt) {
  TestVfs vfs;
  SqliteRig rig;
  rig.define("q");
  core::Reserve r = rig.waiting_reserve({{.queue = "q"}});
  r.each = true;
  const auto waits = rig.submit_in_turn(r, 7);
  const auto held = rig.submit_in_turn(Rig::put_of("q"), 7);
  rig.run();
  vfs.fail_at(1, SQLITE_IOERR_WRITE);
  const auto put = rig.submit(Rig::put_of("q"));
  const auto late = rig.submit_in_turn(Rig::put_of("q"), 7);
  ASSERT_NE(rig.try_run().what, Committed::What::yes);
  // The put served the reserve, and so `held` was done too: all in vain.
  for (const auto request : {waits, put, held, late}) {
    EXPECT_EQ(rig.reply<Error>(request).code, Code::unknown_outcome);
  }
  ASSERT_TRUE(rig.engine().open());
  const auto waits_now = rig.submit_in_turn(r, 7);
  const auto held_now = rig.submit_in_turn(Rig::put_of("q"), 7);
  rig.run();
  EXPECT_FALSE(rig.answered(held_now));
  vfs.fail_at(1, SQLITE_IOERR_WRITE);
  const auto behind = rig.submit_in_turn(Rig::put_of("q"), 7);
  rig.submit(Rig::put_of("other"));
  rig.submit(core::SetAdmin{.queue = "q", .admin = core::Admin::pause, .lasts = {}});
  ASSERT_NE(rig.try_run().what, Committed::What::yes);
  EXPECT_FALSE(rig.answered(behind)) << "it stands behind what waits, and had no part either";
  EXPECT_FALSE(rig.answered(waits_now)) << "it had no part in that batch";
  ASSERT_TRUE(rig.engine().open());
  const auto seq = rig.put("q");
  EXPECT_EQ(rig.reply<core::Reserved>(waits_now).messages.at(0).seq, seq);
  EXPECT_GT(rig.reply<core::PutDone>(held_now).seq, seq);
  EXPECT_GT(rig.reply<core::PutDone>(behind).seq, seq);
  EXPECT_EQ(rig.counters("q").puts, 3);
  rig.expect_sound();
}

TEST(EngineFault, ConnectionLeasesAreStillGivenBackAfterIt) {
  TestVfs vfs;
  SqliteRig rig;
  rig.define("q");
  const auto seq = rig.put("q");
  core::Reserve r = Rig::reserve_of({{.queue = "q"}});
  r.end = core::LeaseEnd::connection;
  ASSERT_EQ(rig.ask<core::Reserved>(r, 5).messages.size(), 1U);
  vfs.fail_at(1, SQLITE_FULL);
  rig.submit(Rig::put_of("q"));
  ASSERT_NE(rig.try_run().what, Committed::What::yes);
  ASSERT_TRUE(rig.engine().open());
  EXPECT_EQ(rig.state(seq), State::run) << "its holder is still there";
  rig.submit(core::Disconnect{}, 5);
  rig.run();
  EXPECT_EQ(rig.state(seq), State::que);
  rig.expect_sound();
}

}  // namespace
}  // namespace rq::store::sqlite::test
