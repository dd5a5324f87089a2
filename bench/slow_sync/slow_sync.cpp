// A preloaded shim that makes each sync take RQ_SYNC_DELAY_MS milliseconds longer (fractions
// allowed), as on a disk that is slower than the one at hand. It sleeps, then syncs for real:
//
//   LD_PRELOAD=libslow_sync.so RQ_SYNC_DELAY_MS=5 beanstalkd -b DIR -f 0
//
// Uses nothing of the C++ library, so that any program can be made to load it.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

timespec delay_of_environment() {
  constexpr double kLongestMs = 10'000;
  const char* const text = std::getenv("RQ_SYNC_DELAY_MS");
  if (text == nullptr || *text == '\0') return {};
  char* end = nullptr;
  const double ms = std::strtod(text, &end);
  if (*end != '\0' || !(ms >= 0) || ms > kLongestMs) {
    std::fprintf(stderr, "slow_sync: RQ_SYNC_DELAY_MS='%s' is not a number from 0 to %.0f\n", text,
                 kLongestMs);
    std::abort();
  }
  const auto ns = static_cast<long long>(ms * 1e6);
  return {.tv_sec = static_cast<time_t>(ns / 1'000'000'000),
          .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
}

using Sync = int (*)(int);
using SyncRange = int (*)(int, off64_t, off64_t, unsigned int);

template <typename Function>
Function real(const char* name) {
  const auto found = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
  if (found == nullptr) std::abort();
  return found;
}

// Looked up when the program is loaded, before it has any thread.
const timespec kDelay = delay_of_environment();
const Sync kFsync = real<Sync>("fsync");
const Sync kFdatasync = real<Sync>("fdatasync");
const SyncRange kSyncFileRange = real<SyncRange>("sync_file_range");

void wait_a_little() {
  timespec left = kDelay;
  while (::nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

}  // namespace

extern "C" {

int fsync(int fd) {
  wait_a_little();
  return kFsync(fd);
}

int fdatasync(int fd) {
  wait_a_little();
  return kFdatasync(fd);
}

int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned int flags) {
  if ((flags & SYNC_FILE_RANGE_WAIT_AFTER) != 0) wait_a_little();
  return kSyncFileRange(fd, offset, bytes, flags);
}
}
