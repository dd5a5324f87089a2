#include "cli/check.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace rq::cli {
namespace {

constexpr std::size_t kGiB = 1024 * base::kMiB;

// Much room, and many inodes.
struct statvfs sound_disk() {
  struct statvfs disk {};
  disk.f_frsize = 4096;
  disk.f_blocks = 100 * kGiB / 4096;
  disk.f_bavail = disk.f_blocks / 2;
  disk.f_files = 1000;
  disk.f_favail = 500;
  return disk;
}

TEST(DiskChecks, ASoundDiskIsOneLine) {
  const auto checks = checks_of_disk("/d", sound_disk());
  ASSERT_EQ(checks.size(), 1U);
  EXPECT_EQ(checks[0].finding, Finding::ok);
  EXPECT_EQ(checks[0].text, "50 GiB free of 100 GiB");
  EXPECT_TRUE(checks[0].remedy.empty());
}

// faults.md D2, relative
TEST(DiskChecks, ADiskThatIsMountedReadOnlyIsBad) {
  struct statvfs disk = sound_disk();
  EXPECT_FALSE(is_read_only(disk));
  disk.f_flag = ST_RDONLY | ST_NOSUID;
  EXPECT_TRUE(is_read_only(disk));
  const auto checks = checks_of_disk("/d", disk);
  ASSERT_EQ(checks.size(), 2U);
  EXPECT_EQ(checks[0].finding, Finding::bad);
  EXPECT_EQ(checks[0].text, "/d is on a disk that is mounted read-only");
  EXPECT_NE(checks[0].remedy.find("dmesg"), std::string::npos);
}

TEST(DiskChecks, LittleRoomAndFewInodesAreWarnings) {
  struct statvfs disk = sound_disk();
  disk.f_bavail = disk.f_blocks / 25;  // more than the bytes, less than the share
  disk.f_favail = 9;
  const auto checks = checks_of_disk("/d", disk);
  ASSERT_EQ(checks.size(), 2U);
  EXPECT_EQ(checks[0].finding, Finding::warning);
  EXPECT_NE(checks[0].remedy.find("make room"), std::string::npos);
  EXPECT_EQ(checks[1].finding, Finding::warning);
  EXPECT_EQ(checks[1].text, "9 inodes left");
}

}  // namespace
}  // namespace rq::cli
