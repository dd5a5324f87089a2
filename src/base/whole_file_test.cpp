#include "base/whole_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/fd.h"
#include "base/temp_dir_rig.h"

namespace rq::base {
namespace {

TEST(WholeFile, IsReadToItsEndOrItsBound) {
  const test::TempDir dir;
  const Fd file(::open((dir.path() / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  std::string text;
  for (int i = 0; i < 50'000; ++i) text += std::to_string(i);
  ASSERT_TRUE(write_whole(file.get(), text));
  ASSERT_EQ(::lseek(file.get(), 0, SEEK_SET), 0);
  EXPECT_EQ(read_whole(file.get()), text);
  ASSERT_EQ(::lseek(file.get(), 0, SEEK_SET), 0);
  EXPECT_EQ(read_whole(file.get(), 100'001), text.substr(0, 100'001));
  EXPECT_EQ(read_whole(-1), "");
}

// The kernel writes what has room, and says why only when it is asked again.
TEST(WholeFile, WhatDoesNotFitTellsWhy) {
  const test::TempDir dir;
  const Fd file(::open((dir.path() / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 10, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  errno = 0;
  const bool written = write_whole(file.get(), "more than ten bytes");
  const int error = errno;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_FALSE(written);
  EXPECT_EQ(error, EFBIG);
}

}  // namespace
}  // namespace rq::base
