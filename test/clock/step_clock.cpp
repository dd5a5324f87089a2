// A preloaded shim: the wall clock of the program is stepped by what the file RQ_CLOCK_STEP_FILE
// says, eight bytes, nanoseconds in the byte order of the machine. A test writes it while the
// program runs. Other clocks stay as they are.
//
// Uses nothing of the C++ library, so that any program can be made to load it.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

const volatile std::int64_t* step_of_environment() {
  const char* const path = std::getenv("RQ_CLOCK_STEP_FILE");
  if (path == nullptr) return nullptr;
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  void* const mapped =
      fd < 0 ? MAP_FAILED : ::mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) {
    std::fprintf(stderr, "step_clock: RQ_CLOCK_STEP_FILE='%s' cannot be read\n", path);
    std::abort();
  }
  ::close(fd);
  return static_cast<const volatile std::int64_t*>(mapped);
}

// Until the program is loaded, its clock is that of the machine.
const volatile std::int64_t* const kStep = step_of_environment();

}  // namespace

extern "C" {

int clock_gettime(clockid_t id, timespec* ts) {
  const auto got = static_cast<int>(::syscall(SYS_clock_gettime, id, ts));
  if (got == 0 && kStep != nullptr && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
    const std::int64_t ns = ts->tv_sec * kSecond + ts->tv_nsec + *kStep;
    ts->tv_sec = ns / kSecond;
    ts->tv_nsec = ns % kSecond;
  }
  return got;
}

int gettimeofday(timeval* tv, void* /*zone*/) {
  timespec ts{};
  const int got = clock_gettime(CLOCK_REALTIME, &ts);
  tv->tv_sec = ts.tv_sec;
  tv->tv_usec = ts.tv_nsec / 1000;
  return got;
}

time_t time(time_t* to) {
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  if (to != nullptr) *to = ts.tv_sec;
  return ts.tv_sec;
}
}
