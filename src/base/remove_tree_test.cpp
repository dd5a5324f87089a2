#include "base/remove_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "base/temp_dir_rig.h"

namespace rq::base {
namespace {

namespace fs = std::filesystem;

const auto kGoOn = [] { return false; };

// faults.md D13
TEST(RemoveTree, DeletesWhatIsDeepAndMuchWithFewDescriptors) {
  test::TempDir dir;
  const fs::path folder = dir.path() / "a";
  fs::create_directory(folder);
  for (int i = 0; i < 1000; ++i) std::ofstream{folder / std::to_string(i)};
  // Deeper than a path may be long.
  const int here = ::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_EQ(::chdir(folder.c_str()), 0);
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(::mkdir("nested", 0700), 0);
    ASSERT_EQ(::chdir("nested"), 0);
    if (i % 100 == 0) std::ofstream{"file"};
  }
  ASSERT_EQ(::fchdir(here), 0);
  ::close(here);

  // A sanitizer needs descriptors of its own where it meets a type for the first time.
  fs::create_directories(dir.path() / "b" / "c" / "d");
  ASSERT_TRUE(remove_tree(dir.path() / "b", kGoOn));

  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = ::dup(0);  // the lowest descriptor that is free
  ::close(next);
  const rlimit few{.rlim_cur = static_cast<rlim_t>(next) + 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const auto removed = remove_tree(folder, kGoOn);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(removed) << removed.error().message;
  EXPECT_FALSE(fs::exists(folder));
}

TEST(RemoveTree, DoesNotFollowLinks) {
  test::TempDir dir;
  const fs::path other = dir.path() / "other";
  fs::create_directory(other);
  std::ofstream{other / "kept"};
  const fs::path folder = dir.path() / "a";
  fs::create_directories(folder / "in");
  fs::create_directory_symlink(other, folder / "link");
  fs::create_directory_symlink(other, folder / "in" / "link");
  EXPECT_TRUE(remove_tree(folder, kGoOn));
  EXPECT_FALSE(fs::exists(folder));
  EXPECT_TRUE(fs::exists(other / "kept"));
  fs::create_directory_symlink(other, folder);
  EXPECT_FALSE(remove_tree(folder, kGoOn)) << "a link in the place of the folder";
  EXPECT_TRUE(fs::exists(other / "kept"));
}

TEST(RemoveTree, OfNothingIsDone) {
  test::TempDir dir;
  EXPECT_TRUE(remove_tree(dir.path() / "none", kGoOn));
}

TEST(RemoveTree, DeletesWhatAScriptLeftReadOnly) {
  test::TempDir dir;
  const fs::path folder = dir.path() / "a";
  fs::create_directories(folder / "b" / "c" / "d");
  for (const fs::path& one : {folder / "b" / "c", folder / "b", folder}) {
    fs::permissions(one, fs::perms::owner_read | fs::perms::owner_exec);
  }
  const auto removed = remove_tree(folder, kGoOn);
  EXPECT_TRUE(removed) << removed.error().message;
  EXPECT_FALSE(fs::exists(folder));
}

// faults.md D13
TEST(RemoveTree, NamesWhatStaysAndDeletesTheRest) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs two users";
  constexpr uid_t kOther = 65534;
  test::TempDir dir;
  fs::permissions(dir.path(), fs::perms::all);
  const fs::path folder = dir.path() / "a";
  fs::create_directories(folder / "kept");
  std::ofstream{folder / "kept" / "file"};
  for (int i = 0; i < 10; ++i) std::ofstream{folder / std::to_string(i)};
  ASSERT_EQ(::chown(folder.c_str(), kOther, kOther), 0);
  ASSERT_EQ(::seteuid(kOther), 0);
  const auto removed = remove_tree(folder, kGoOn);
  ASSERT_EQ(::seteuid(0), 0);
  ASSERT_FALSE(removed);
  const std::string& said = removed.error().message;
  EXPECT_NE(said.find((folder / "kept" / "file").string() + ":"), std::string::npos) << said;
  EXPECT_EQ(std::distance(fs::directory_iterator{folder}, fs::directory_iterator{}), 1);
  EXPECT_TRUE(remove_tree(folder, kGoOn));
}

TEST(RemoveTree, StopsWhenAsked) {
  test::TempDir dir;
  const fs::path folder = dir.path() / "a";
  fs::create_directory(folder);
  for (int i = 0; i < 2000; ++i) std::ofstream{folder / std::to_string(i)};
  const auto removed = remove_tree(folder, [] { return true; });
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code, Code::timed_out);
  EXPECT_TRUE(fs::exists(folder));
}

}  // namespace
}  // namespace rq::base
