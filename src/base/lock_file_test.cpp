#include "base/lock_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <functional>
#include <optional>
#include <vector>

#include "base/temp_dir_rig.h"

namespace rq::base {
namespace {

namespace fs = std::filesystem;

class LockFileTest : public testing::Test {
 protected:
  [[nodiscard]] static bool is_held(const fs::path& lock) {
    const Fd file = open_plain_file(lock.string(), O_RDWR);
    return file.is_open() && LockFile::is_held(file);
  }
  [[nodiscard]] fs::path lock() const { return dir_.path() / "x.lock"; }
  [[nodiscard]] fs::path pid() const { return dir_.path() / "x.pid"; }

  test::TempDir dir_;
};

TEST_F(LockFileTest, OneHoldsItAndTheNextIsToldWhoDoes) {
  EXPECT_FALSE(is_held(lock()));
  const auto first = LockFile::take(lock(), pid());
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_TRUE(is_held(lock()));
  EXPECT_EQ(LockFile::pid_in(pid()), ::getpid());
  const auto second = LockFile::take(lock(), pid());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::exists);
  EXPECT_NE(second.error().message.find(std::to_string(::getpid())), std::string::npos);
  EXPECT_EQ(LockFile::pid_in(pid()), ::getpid()) << "the refused one must not touch the pid file";
}

TEST_F(LockFileTest, ItsEndFreesTheLockAndTakesThePidFileAway) {
  { ASSERT_TRUE(LockFile::take(lock(), pid())); }
  EXPECT_FALSE(is_held(lock()));
  EXPECT_FALSE(fs::exists(pid()));
  EXPECT_TRUE(LockFile::take(lock(), pid()));
}

TEST_F(LockFileTest, ThePidFileOfAnotherProcessStays) {
  {
    ASSERT_TRUE(LockFile::take(lock(), pid()));
    const auto held = LockFile::take(lock(), pid());
    std::ofstream{pid()} << "1\n";
  }
  EXPECT_EQ(LockFile::pid_in(pid()), 1);
}

// faults.md C18, relative: somebody cleans up beside a process that holds it.
TEST_F(LockFileTest, WhatIsRemovedOrMovedAwayIsMadeAnew) {
  const fs::path run = dir_.path() / "run";
  fs::create_directory(run);
  auto held = LockFile::take(run / "x.lock", run / "x.pid");
  ASSERT_TRUE(held);
  const int fd = held->fd();
  const std::vector<std::function<void()>> deeds{
      [&] { fs::remove(run / "x.lock"); },
      [&] { fs::remove(run / "x.pid"); },
      [&] { fs::remove_all(run); },
      [&] { fs::rename(run, dir_.path() / "run.old"); },
  };
  for (std::size_t i = 0; i < deeds.size(); ++i) {
    deeds[i]();
    ASSERT_TRUE(held->keep()) << i;
    EXPECT_EQ(held->fd(), fd) << i;
    EXPECT_TRUE(is_held(run / "x.lock")) << i;
    EXPECT_EQ(LockFile::pid_in(run / "x.pid"), ::getpid()) << i;
  }
  EXPECT_FALSE(is_held(dir_.path() / "run.old" / "x.lock"));

  fs::remove(run / "x.lock");
  const auto other = LockFile::take(run / "x.lock", run / "x.pid");
  ASSERT_TRUE(other);
  const auto kept = held->keep();
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, Code::exists);
  fs::remove_all(dir_.path());
  EXPECT_FALSE(held->keep()) << "no folder is made in place of a whole directory that is gone";
}

// faults.md C18, relative: a second process could begin beside one whose lock was removed.
TEST_F(LockFileTest, IsKnownToBeHeldAlsoWhenItsNameIsGone) {
  const fs::path run = dir_.path() / "run";
  fs::create_directory(run);
  auto held = LockFile::take(run / "x.lock", run / "x.pid");
  ASSERT_TRUE(held);
  const Fd known = open_plain_file((run / "x.lock").string(), O_RDWR);
  fs::remove_all(run);
  EXPECT_TRUE(LockFile::is_held(known));
  EXPECT_TRUE(LockFile::is_held(known)) << "to look is not to take";
  ASSERT_TRUE(held->keep());
  EXPECT_FALSE(LockFile::is_held(known)) << "it holds a new one";
  EXPECT_TRUE(is_held(run / "x.lock"));
}

// faults.md C18, relative: whoever takes over from a dead process does so with its lock, whatever
// has become of the files, and spoils nothing of another process that has come to their place.
TEST_F(LockFileTest, IsTakenOverWithoutItsFiles) {
  const fs::path run = dir_.path() / "run";
  fs::create_directory(run);
  const auto take = [&] { return LockFile::take(run / "x.lock", run / "x.pid"); };
  auto dead = take();
  ASSERT_TRUE(dead);
  fs::remove_all(run);
  {
    const auto next = LockFile::take_over(Fd(::dup(dead->fd())), run / "x.lock", run / "x.pid");
    ASSERT_TRUE(next) << next.error().message;
    EXPECT_TRUE(is_held(run / "x.lock"));
    EXPECT_EQ(LockFile::pid_in(run / "x.pid"), ::getpid());
  }
  fs::remove_all(run);
  fs::create_directory(run);
  const auto other = take();
  ASSERT_TRUE(other);
  std::ofstream{run / "x.pid"} << "1\n";
  EXPECT_TRUE(LockFile::take_over(Fd(::dup(dead->fd())), run / "x.lock", run / "x.pid"));
  EXPECT_EQ(LockFile::pid_in(run / "x.pid"), 1) << "it names who holds the lock of that name";
}

TEST_F(LockFileTest, WhatALinkInPlaceOfThePidFilePointsToIsLeftAlone) {
  const fs::path other = dir_.path() / "other";
  std::ofstream{other} << "precious";
  fs::create_symlink(other, pid());
  const auto held = LockFile::take(lock(), pid());
  ASSERT_TRUE(held) << held.error().message;
  EXPECT_EQ(LockFile::pid_in(pid()), ::getpid());
  std::string kept;
  std::ifstream{other} >> kept;
  EXPECT_EQ(kept, "precious");
}

TEST_F(LockFileTest, OneThatIsMovedFromLeavesThePidFile) {
  auto first = LockFile::take(lock(), pid());
  ASSERT_TRUE(first);
  {
    const LockFile moved = *std::move(first);
    { const auto emptied = std::move(first); }
    EXPECT_TRUE(fs::exists(pid()));
    EXPECT_TRUE(is_held(lock()));
  }
  EXPECT_FALSE(is_held(lock()));
}

TEST_F(LockFileTest, AKilledHolderHoldsItNoMore) {
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const Fd in(ready[0]);
  Fd out(ready[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto held = LockFile::take(lock(), pid());
    const bool told = ::write(out.get(), held ? "y" : "n", 1) == 1;
    if (told) ::pause();
    ::_exit(0);
  }
  out.reset();
  char said = 0;
  ASSERT_EQ(::read(in.get(), &said, 1), 1);
  EXPECT_EQ(said, 'y');
  EXPECT_TRUE(is_held(lock()));
  EXPECT_EQ(LockFile::pid_in(pid()), child);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(is_held(lock()));
  EXPECT_EQ(LockFile::pid_in(pid()), child) << "left behind, and overwritten by the next";
  ASSERT_TRUE(LockFile::take(lock(), pid()));
}

TEST_F(LockFileTest, AFolderThatIsNotThereIsAnErrorThatNamesTheFile) {
  const auto held = LockFile::take(dir_.path() / "no" / "x.lock", pid());
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, Code::internal);
  EXPECT_NE(held.error().message.find("x.lock"), std::string::npos);
}

TEST_F(LockFileTest, APidFileWithoutANumberIsNoPid) {
  EXPECT_EQ(LockFile::pid_in(pid()), 0);
  std::ofstream{pid()} << "hello";
  EXPECT_EQ(LockFile::pid_in(pid()), 0);
}

TEST(Fd, ClosesWhatItOwnsOnce) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  Fd in(ends[0]);
  {
    Fd out(ends[1]);
    Fd moved = std::move(out);
    EXPECT_TRUE(moved.is_open());
    EXPECT_EQ(moved.get(), ends[1]);
  }
  char byte = 0;
  EXPECT_EQ(::read(in.get(), &byte, 1), 0) << "the other end is closed";
  const int raw = in.release();
  EXPECT_FALSE(in.is_open());
  EXPECT_EQ(::close(raw), 0);
}

}  // namespace
}  // namespace rq::base
