// spawn_floor PROGRAM [SECONDS] [AT_A_TIME]: how fast this machine starts and reaps PROGRAM, with
// nothing in between. The floor that running scripts is measured against: no supervisor can beat
// it. Descriptor 3, where a queue script reports, goes to /dev/null. Prints runs a second.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX wants it declared

namespace {

[[noreturn]] void fail(const char* what, int error) {
  std::fprintf(stderr, "spawn_floor: %s: %s\n", what, std::strerror(error));
  std::exit(1);
}

void spawn(const std::string& program, const posix_spawn_file_actions_t& actions) {
  std::string name = program;
  std::array<char*, 2> argv{name.data(), nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, argv.data(), ::environ);
  if (error != 0) fail(program.c_str(), error);
}

void reap(const std::string& program) {
  int status = 0;
  while (::wait(&status) < 0) {
    if (errno != EINTR) fail("wait", errno);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::fprintf(stderr, "spawn_floor: %s ended with status %d\n", program.c_str(), status);
    std::exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  const double seconds = argc > 2 ? std::atof(argv[2]) : 5;
  const long at_a_time = argc > 3 ? std::atol(argv[3]) : 2;
  if (argc < 2 || argc > 4 || seconds <= 0 || at_a_time < 1) {
    std::fprintf(stderr, "usage: spawn_floor PROGRAM [SECONDS=5] [AT_A_TIME=2]\n");
    return 2;
  }
  const std::string program = argv[1];

  constexpr int kReportFd = 3;
  posix_spawn_file_actions_t actions;
  if (const int error = ::posix_spawn_file_actions_init(&actions); error != 0) {
    fail("posix_spawn_file_actions_init", error);
  }
  if (const int error =
          ::posix_spawn_file_actions_addopen(&actions, kReportFd, "/dev/null", O_WRONLY, 0);
      error != 0) {
    fail("posix_spawn_file_actions_addopen", error);
  }

  for (long i = 0; i < at_a_time; ++i) spawn(program, actions);
  const auto start = Clock::now();
  std::chrono::duration<double> taken{};
  long runs = 0;
  while (taken.count() < seconds) {
    reap(program);
    spawn(program, actions);
    ++runs;
    taken = Clock::now() - start;
  }
  for (long i = 0; i < at_a_time; ++i) reap(program);
  std::printf("%.1f\n", static_cast<double>(runs) / taken.count());
  ::posix_spawn_file_actions_destroy(&actions);
  return 0;
}
