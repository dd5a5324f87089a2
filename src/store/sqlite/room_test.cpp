#include "store/sqlite/room.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "store/sqlite/sqlite_rig.h"
#include "store/sqlite/test_vfs.h"

namespace rq::store::sqlite::test {
namespace {

constexpr std::int64_t kKept = 1 << 20;

// faults.md D15: on a full disk nothing that frees room could be written either.
TEST(Room, IsGivenUpWhenTheDiskIsFullAndKeptAgainWhenItIsNot) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db.room";
  std::int64_t free = 10 * kKept;
  Room room(dir.path() / "rq.db", kKept, [&](const fs::path&) { return free; });
  EXPECT_FALSE(room.none());
  room.look(true);
  ASSERT_TRUE(fs::exists(file));
  EXPECT_EQ(fs::file_size(file), static_cast<std::uintmax_t>(kKept));
  free = kKept / 4;
  room.look(true);
  EXPECT_FALSE(room.none());
  free = kKept / 4 - 1;
  room.look(true);
  EXPECT_TRUE(room.none());
  EXPECT_FALSE(fs::exists(file)) << "its bytes are for what frees others";
  free = 2 * kKept - 1;  // with what was given up
  room.look(true);
  EXPECT_TRUE(room.none());
  free = 2 * kKept;
  room.look();
  EXPECT_TRUE(room.none()) << "it does not ask each time";
  room.look(true);
  EXPECT_FALSE(room.none());
  EXPECT_TRUE(fs::exists(file));
}

TEST(Room, IsNoneAfterAWriteThatFoundNone) {
  TempDir dir;
  Room room(dir.path() / "rq.db", kKept, [](const fs::path&) { return 10 * kKept; });
  room.look(true);
  room.used_up();
  EXPECT_TRUE(room.none());
  EXPECT_FALSE(fs::exists(dir.path() / "rq.db.room"));
  room.look(true);
  EXPECT_FALSE(room.none());
}

TEST(Room, ThatAnEarlierStartKeptIsGivenUpByTheNext) {
  TempDir dir;
  {
    Room(dir.path() / "rq.db", kKept, [](const fs::path&) { return 10 * kKept; }).look(true);
  }
  ASSERT_TRUE(fs::exists(dir.path() / "rq.db.room"));
  Room room(dir.path() / "rq.db", kKept, [](const fs::path&) { return 0; });
  room.look(true);
  EXPECT_TRUE(room.none());
  EXPECT_FALSE(fs::exists(dir.path() / "rq.db.room"));
}

TEST(Room, IsNoneFromTheStartOnAFullDisk) {
  TempDir dir;
  Room room(dir.path() / "rq.db", kKept, [](const fs::path&) { return kKept; });
  room.look(true);
  EXPECT_TRUE(room.none());
  // A start that finds it just not full keeps its room.
  std::int64_t free = kKept + kKept / 4 - 1;
  Room small(dir.path() / "rq.db", kKept, [&](const fs::path&) { return free; });
  small.look(true);
  EXPECT_TRUE(small.none());
  free = kKept + kKept / 4;
  Room next(dir.path() / "rq.db", kKept, [&](const fs::path&) { return free; });
  next.look(true);
  EXPECT_FALSE(next.none());
}

// faults.md D15
TEST(StoreRoom, AStoreThatFoundTheDiskFullServesWhatFreesRoom) {
  TestVfs vfs;
  SqliteRig rig{Options{.room_bytes = kKept}};
  rig.define("q");
  const auto seq = rig.put("q");
  vfs.fail_at(1, SQLITE_FULL);
  rig.submit(Rig::put_of("q"));
  const auto failed = rig.try_run();
  ASSERT_EQ(failed.what, Committed::What::no);
  ASSERT_TRUE(rig.engine().open());
  const auto put = rig.submit(Rig::put_of("q"));
  const auto stats = rig.submit(core::EngineStats{});
  const auto remove = rig.submit(core::Act{.action = core::Action::remove, .messages = {seq}});
  rig.run();
  EXPECT_EQ(rig.reply<Error>(put).code, Code::disk_full);
  EXPECT_TRUE(rig.reply<core::EngineStatsDone>(stats).no_room);
  EXPECT_TRUE(rig.reply<core::ActDone>(remove).items.at(0));
  EXPECT_EQ(rig.counters("q").in(State::que), 0);
}

}  // namespace
}  // namespace rq::store::sqlite::test
