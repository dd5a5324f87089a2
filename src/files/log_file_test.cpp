#include "files/log_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace rq::files {
namespace {

TEST(LogFile, FollowsNoLinkOutOfItsFolder) {
  namespace fs = std::filesystem;
  const fs::path dir = fs::path{testing::TempDir()} / "log_file_test";
  fs::remove_all(dir);
  fs::create_directories(dir / "queue/a/1/job");
  fs::create_directories(dir / "queue/a/2");
  std::ofstream{dir / "secret"} << "secret";
  std::ofstream{dir / "queue/a/1/job/stdio.log"} << "one\ntwo\nthree\n";
  fs::create_directory_symlink(dir / "queue/a/1/job", dir / "queue/a/2/job");
  const LogFile good(dir, "queue/a/1");
  EXPECT_EQ(good.size(), 14);
  EXPECT_EQ(*good.read(4, 3), "two");
  EXPECT_EQ(*good.tail_offset(2), 4);
  EXPECT_EQ(*good.tail_offset(9), 0);
  EXPECT_EQ(*good.tail_offset(0), 14);
  EXPECT_EQ(LogFile(dir, "queue/a/2").size(), 0);
  EXPECT_EQ(LogFile(dir, "queue/a/1/../1").size(), 0);
  EXPECT_EQ(LogFile(dir, "queue/a/3").size(), 0);
  EXPECT_EQ(LogFile(dir, "").size(), 0);
  fs::remove(dir / "queue/a/1/job/stdio.log");
  fs::create_symlink(dir / "secret", dir / "queue/a/1/job/stdio.log");
  EXPECT_EQ(LogFile(dir, "queue/a/1").size(), 0);
  fs::remove_all(dir);
}

}  // namespace
}  // namespace rq::files
