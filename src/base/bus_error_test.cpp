// faults.md D14, relative: a file that is mapped was cut, and the process was gone without a word.
#include "base/bus_error.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "base/fd.h"
#include "base/temp_dir_rig.h"

namespace rq::base::test {
namespace {

TEST(BusError, NamesTheFileThatWasCut) {
  TempDir dir;
  const std::filesystem::path file = dir.path() / "mapped file";
  const Fd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(fd.is_open());
  constexpr std::size_t kBytes = 3UL * 65'536;
  ASSERT_EQ(::ftruncate(fd.get(), kBytes), 0);
  void* const at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(at, MAP_FAILED);
  const volatile char* const bytes = static_cast<const char*>(at);
  EXPECT_EQ(bytes[kBytes - 1], 0);
  ASSERT_EQ(::ftruncate(fd.get(), 0), 0);
  EXPECT_EXIT(
      {
        name_file_of_bus_error("somebody");
        static_cast<void>(bytes[kBytes - 1]);
      },
      testing::KilledBySignal(SIGBUS), "^somebody: .*the file /.*/mapped file was cut");
  ::munmap(at, kBytes);
}

}  // namespace
}  // namespace rq::base::test
