#include "worker/spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"

// What runs between clone and exec shares the worker's memory and its thread-local storage, so it
// makes system calls and nothing else. The sanitizers must not follow it onto its own stack.
#define RQ_CHILD_SIDE __attribute__((no_sanitize("address", "thread", "undefined")))

namespace rq::worker {
namespace {

// Of the child between clone and exec: a few frames of system calls.
constexpr std::size_t kStackBytes = 64 * 1024;
constexpr std::size_t kGuardBytes = 4096;

struct ChildSide {
  const SpawnRequest* request = nullptr;
  pid_t worker = 0;
  // Written by the child when it fails.
  bool failed = false;
  SpawnFailure failure;
};

RQ_CHILD_SIDE int give_up(ChildSide& side, SpawnFailure::Step step, int error) {
  side.failure.step = step;
  side.failure.error = error;
  side.failed = true;
  ::syscall(SYS_exit_group, 127);
  return 127;
}

RQ_CHILD_SIDE bool set_limit(int resource, std::int64_t value) {
  if (value <= 0) return true;
  const auto bound = static_cast<rlim_t>(value);
  const rlimit limit{bound, bound};
  return ::syscall(SYS_prlimit64, 0, resource, &limit, nullptr) == 0;
}

// Raw calls: glibc's setuid and its like would ask all "threads" of the worker to follow.
RQ_CHILD_SIDE bool become(const Credentials& who) {
  return ::syscall(SYS_setgroups, who.groups.size(), who.groups.data()) == 0 &&
         ::syscall(SYS_setresgid, who.gid, who.gid, who.gid) == 0 &&
         ::syscall(SYS_setresuid, who.uid, who.uid, who.uid) == 0;
}

// struct sigaction as the kernel has it, on all of Linux's 64-bit machines.
struct KernelAction {
  sighandler_t handler = SIG_DFL;
  unsigned long flags = 0;
  void (*restorer)() = nullptr;
  std::uint64_t mask = 0;
};

RQ_CHILD_SIDE void write_header(const SpawnRequest& request) {
  char text[16];
  std::size_t at = sizeof text;
  auto pid = static_cast<unsigned>(::syscall(SYS_getpid));
  do {
    text[--at] = static_cast<char>('0' + pid % 10);
    pid /= 10;
  } while (pid != 0);
  text[--at] = '\n';
  const iovec parts[2] = {{text + at, sizeof text - at},
                          {const_cast<char*>(request.header.data()), request.header.size()}};
  // A header that cannot be written is no reason not to run.
  const long written = ::syscall(SYS_writev, 1, parts, 2);
  static_cast<void>(written);
}

RQ_CHILD_SIDE int look(ChildSide& side) {
  const SpawnRequest& request = *side.request;
  if (::syscall(SYS_faccessat, AT_FDCWD, request.program.c_str(), X_OK) != 0 ||
      (!request.reads.empty() &&
       ::syscall(SYS_faccessat, AT_FDCWD, request.reads.c_str(), R_OK) != 0)) {
    return give_up(side, SpawnFailure::Step::exec, errno);
  }
  ::syscall(SYS_exit_group, 0);
  return 0;
}

RQ_CHILD_SIDE int child_main(void* argument) {
  using Step = SpawnFailure::Step;
  auto& side = *static_cast<ChildSide*>(argument);
  const SpawnRequest& request = *side.request;

  ::syscall(SYS_setsid);
  // A worker that is nicer already runs it as nice as itself.
  if (request.nice != 0 && ::syscall(SYS_setpriority, PRIO_PROCESS, 0, request.nice) != 0 &&
      request.nice < 0) {
    return give_up(side, Step::nice, errno);
  }
  const ChildLimits& limits = request.limits;
  if (!set_limit(RLIMIT_CPU, limits.cpu_seconds) || !set_limit(RLIMIT_NOFILE, limits.open_files) ||
      !set_limit(RLIMIT_FSIZE, limits.file_bytes)) {
    return give_up(side, Step::limits, errno);
  }
  if (request.credentials != nullptr && !become(*request.credentials)) {
    return give_up(side, Step::user, errno);
  }
  // By its path as well: the script will want to come back.
  if (!request.cwd.empty() && ::syscall(SYS_chdir, request.cwd.c_str()) != 0) {
    return give_up(side, Step::folder, errno);
  }
  if (request.probe) return look(side);
  if (request.kept_pid == nullptr) {
    // After the change of user, which clears it.
    ::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::syscall(SYS_getppid) != side.worker) return give_up(side, Step::clone, ESRCH);
  }

  const int from[5] = {request.stdin_fd, request.output_fd, request.output_fd, request.to_worker_fd,
                       request.from_worker_fd};
  for (int to = 0; to < 5; ++to) {
    if (::syscall(SYS_dup3, from[to], to, 0) < 0) return give_up(side, Step::descriptors, errno);
  }
  // Not all that opens descriptors here marks them to be closed (asio's sockets are not).
  ::syscall(SYS_close_range, 5, ~0U, CLOSE_RANGE_CLOEXEC);
  if (::syscall(SYS_fchdir, request.cwd_fd) != 0) return give_up(side, Step::folder, errno);
  write_header(request);

  const std::uint64_t no_signals = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, nullptr, sizeof no_signals);
  ::syscall(SYS_execve, request.program.c_str(), request.argv.data(), request.envp.data());
  return give_up(side, Step::exec, errno);
}

std::uint64_t boot_ticks() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  static const auto per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return static_cast<std::uint64_t>(now.tv_sec) * per_second +
         static_cast<std::uint64_t>(now.tv_nsec) * per_second / 1'000'000'000;
}

// A fresh program ignores no signal; what whoever started the worker ignored would be inherited.
// Asked of the kernel itself: glibc keeps two signals to itself.
void ignore_no_signal() {
  constexpr int kSignals = 64;
  for (int signal = 1; signal <= kSignals; ++signal) {
    KernelAction action{};
    if (::syscall(SYS_rt_sigaction, signal, nullptr, &action, sizeof action.mask) != 0 ||
        action.handler != SIG_IGN) {
      continue;
    }
    action = KernelAction{};
    ::syscall(SYS_rt_sigaction, signal, &action, nullptr, sizeof action.mask);
  }
}

}  // namespace

Spawner::Spawner() {
  ignore_no_signal();
  stack_ = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  RQ_CHECK(stack_ != MAP_FAILED);
  RQ_CHECK(::mprotect(stack_, kGuardBytes, PROT_NONE) == 0);
}

Spawner::~Spawner() { ::munmap(stack_, kStackBytes); }

std::optional<SpawnFailure> Spawner::spawn(const SpawnRequest& request, Spawned& out) {
  ChildSide side;
  side.request = &request;
  side.worker = ::getpid();
  out.start_ticks_min = boot_ticks();
  const int how =
      CLONE_VM | CLONE_VFORK | SIGCHLD | (request.kept_pid != nullptr ? CLONE_PARENT_SETTID : 0);
  const int pid =
      ::clone(child_main, static_cast<char*>(stack_) + kStackBytes, how, &side, request.kept_pid);
  if (pid < 0) return SpawnFailure{SpawnFailure::Step::clone, errno};
  out.start_ticks_max = boot_ticks() + 1;  // rounded down above
  if (side.failed || request.probe) {
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    if (request.kept_pid != nullptr) *request.kept_pid = 0;
    return side.failed ? std::optional(side.failure) : std::nullopt;
  }
  out.pid = pid;
  return std::nullopt;
}

std::optional<SpawnFailure> Spawner::probe(SpawnRequest request) {
  request.probe = true;
  request.kept_pid = nullptr;
  Spawned nobody;
  return spawn(request, nobody);
}

}  // namespace rq::worker
