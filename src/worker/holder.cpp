#include "worker/holder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/number.h"
#include "base/whole_file.h"
#include "worker/home.h"
#include "worker/process_tree.h"
#include "worker/stop_count.h"

extern char** environ;

namespace rq::worker {
namespace {

constexpr int kMadeWay = 75;  // exit code of a loop that has made way
constexpr std::chrono::seconds kForkRetry{1};
// At the directory, and the files in run/.
constexpr timespec kLookEvery{.tv_sec = 1, .tv_nsec = 0};
// So many in a row have to fail: a process that only asks whether a lock is held takes it for a
// moment.
constexpr int kOutOfPlaceLooks = 2;
constexpr std::size_t kEnvironBytesMax = 8 * base::kMiB;

std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

sigset_t heard_signals() {
  sigset_t heard;
  ::sigemptyset(&heard);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGURG}) ::sigaddset(&heard, signal);
  return heard;
}

// A fork that shares the table of open files; the C library has none.
pid_t fork_sharing_files() {
  return static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
}

std::string environment_of(const std::string& process) {
  const base::Fd file(
      ::open(fmt::format("/proc/{}/environ", process).c_str(), O_RDONLY | O_CLOEXEC));
  return base::read_whole(file.get(), kEnvironBytesMax);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

void hand_on(int fd) {
  if (fd >= 0) ::fcntl(fd, F_SETFD, 0);
}

// Everything that scripts start is below this process, whatever it does. A sender that has ended by
// now, as a program `kill` has, may be anybody's: no script is blamed for it.
bool is_of_script(const siginfo_t& info) {
  return info.si_code == SI_USER && info.si_pid > 0 &&
         ProcessTable::read().is_below(info.si_pid, ::getpid()).value_or(false);
}

// From now on this process writes its log where that one does: to the same open file if the kernel
// allows it, else to the file of that name.
void speak_like(pid_t model) {
  const base::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, model, 0)));
  if (!process.is_open()) return;
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    base::Fd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
    const std::string file = fmt::format("/proc/{}/fd/{}", model, fd);
    struct stat info {};
    if (!copy.is_open() && ::stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
      copy.reset(::open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    }
    if (copy.is_open()) ::dup2(copy.get(), fd);
  }
}

}  // namespace

// --- What is handed on ---

std::string Handed::to_text() const { return fmt::format("{},{},{}", lock, memory, record); }

// A program of before has handed on two.
std::optional<Handed> Handed::parse(const std::string& text) {
  Handed handed;
  const std::array<int*, 3> numbers{&handed.lock, &handed.memory, &handed.record};
  std::string_view rest = text;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::size_t comma = rest.find(',');
    const auto number = base::whole_number<int>(rest.substr(0, comma));
    if (!number) return std::nullopt;
    *numbers.at(i) = *number;
    if (comma == std::string_view::npos) return i > 0 ? std::optional(handed) : std::nullopt;
    rest.remove_prefix(comma + 1);
  }
  return std::nullopt;
}

// --- The holder ---

Holder::Holder(Facts facts, base::LockFile& lock, KeptMemory& memory, RunningRecord& record)
    : facts_(std::move(facts)),
      lock_(lock),
      memory_(memory),
      record_(record),
      lock_fd_(lock.fd()) {}

std::optional<int> Holder::hold() {
  const sigset_t heard = heard_signals();
  RQ_CHECK(::sigprocmask(SIG_BLOCK, &heard, nullptr) == 0);
  RQ_CHECK(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
  KeptMemory::Past& past = memory_.past();
  past.orderly = 0;
  past.begun_ns = steady_ns();
  pid_ = ::getpid();
  ::prctl(PR_SET_NAME, "rq", 0, 0, 0);  // whatever name its file was started by
  while ((loop_ = fork_sharing_files()) < 0) {
    spdlog::error("no process for the worker's loop: {}", base::text_of_errno(errno));
    std::this_thread::sleep_for(kForkRetry);
  }
  if (loop_ == 0) {
    // The lock is the holder's; the name of the process in it as well.
    lock_.disown();
    ::prctl(PR_SET_PDEATHSIG, SIGURG, 0, 0, 0);
    if (::getppid() != pid_) ::kill(::getpid(), SIGURG);
    return std::nullopt;
  }
  while (true) {
    reap();
    if (const auto code = end_of_loop()) return code;
    siginfo_t info{};
    const int signal = ::sigtimedwait(&heard, &info, &kLookEvery);
    if (signal > 0 && signal != SIGCHLD) hear(signal, info);
    keep_place();
  }
}

// Scripts that a loop has left are children of this process now, and so are their orphans.
void Holder::reap() {
  bool any = false;
  while (true) {
    int status = 0;
    rusage usage{};
    const pid_t pid = ::wait4(-1, &status, WNOHANG, &usage);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) break;
    if (pid == loop_) {
      loop_status_ = status;
    } else {
      memory_.note_exit(pid, status, usage);
      any = true;
    }
  }
  if (any && !loop_status_) ::kill(loop_, SIGCHLD);
}

std::optional<int> Holder::end_of_loop() {
  if (!loop_status_) return std::nullopt;
  const int status = *loop_status_;
  if (WIFEXITED(status) && WEXITSTATUS(status) != kMadeWay) return WEXITSTATUS(status);
  if (WIFEXITED(status)) start_again(model_);
  spdlog::error("the worker's loop was killed by SIG{}: it is started again, its scripts go on",
                ::sigabbrev_np(WTERMSIG(status)));
  start_again(0);
}

void Holder::hear(int signal, const siginfo_t& info) {
  if (signal == SIGURG) {
    // A server that has found this worker at work, or has opened its log anew.
    const pid_t sender = info.si_code == SI_USER ? info.si_pid : 0;
    if (sender <= 0 || sender != base::LockFile::pid_in(facts_.server)) return;
    // The loop has the same descriptors.
    if (is_like(sender)) return speak_like(sender);
    model_ = sender;
  } else if (signal != SIGHUP) {
    StopCount::count_in(memory_.past().stops);  // before the loop wakes to look at it
    if (is_of_script(info)) StopCount::count_script(memory_.past().stops);
  }
  ::kill(loop_, signal);
}

// A worker that has lost its directory or its name takes nothing more, and ends when its scripts
// have.
void Holder::keep_place() {
  const auto now = std::chrono::steady_clock::now();
  if (now < look_at_) return;
  look_at_ = now + std::chrono::seconds{kLookEvery.tv_sec};
  const std::string lost = keep_files();
  out_of_place_ = lost.empty() ? 0 : out_of_place_ + 1;
  if (out_of_place_ < kOutOfPlaceLooks) return;
  if (!StopCount::tell_once(memory_.past().stops)) return;
  spdlog::error("{}: this worker takes nothing more, and ends when its scripts have", lost);
  ::kill(loop_, SIGTERM);
}

// Without its lock a second worker of the name could start beside this one, and without the record
// the next one would not know which scripts ran. Gives why they are not this worker's to keep;
// empty: they are.
std::string Holder::keep_files() {
  if (!is_home_at(facts_.dir)) {
    return fmt::format("'{}' is not the directory any more that this worker began in", facts_.dir);
  }
  const base::Result<void> kept = lock_.keep();
  if (kept) record_.keep_file();  // else it may be that of a second worker
  if (std::exchange(is_named_, kept.has_value()) && !kept) {
    spdlog::error("the lock of this worker is gone and cannot be made again: {}; {}",
                  kept.error().message, kept.error().remedy);
  }
  const bool is_taken = !kept && kept.error().code == base::Code::exists;
  return is_taken ? "another process has the name of this worker" : "";
}

// Would a worker that this server starts be as this one is?
bool Holder::is_like(pid_t server) {
  struct stat own {};
  struct stat other {};
  return ::stat("/proc/self/exe", &own) == 0 &&
         ::stat(fmt::format("/proc/{}/exe", server).c_str(), &other) == 0 &&
         own.st_dev == other.st_dev && own.st_ino == other.st_ino &&
         environment_of("self") == environment_of(fmt::to_string(server));
}

// --- The next program ---

void Holder::make_way() {
  memory_.past().orderly = ::getppid() == pid_ ? 1 : 0;
  spdlog::default_logger()->flush();
  // The holder goes on, and is the next one; without it that is us.
  if (::getppid() == pid_) ::_exit(kMadeWay);
  start_again(0);
}

// As `model` is; 0: as this process is.
void Holder::start_again(pid_t model) {
  // All else is closed: connections of the loop are among it, on which a server might still answer.
  RQ_CHECK(::syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0);
  record_.for_kept([](const KeptScript& script) {
    for (const int fd : {script.from_script, script.to_script, script.log}) hand_on(fd);
  });
  const Handed handed{.lock = lock_fd_, .memory = memory_.fd(), .record = record_.fd()};
  for (const int fd : {handed.lock, handed.memory, handed.record}) hand_on(fd);
  std::vector<std::string> argv = facts_.argv;
  argv.emplace_back("--goes-on");
  argv.push_back(handed.to_text());
  if (model > 0) {
    std::string text = environment_of(fmt::to_string(model));
    std::vector<std::string> variables;
    for (std::string_view rest = text; !rest.empty();) {
      const std::size_t end = std::min(rest.find('\0'), rest.size() - 1);
      variables.emplace_back(rest.substr(0, end));
      rest.remove_prefix(end + 1);
    }
    speak_like(model);
    if (!text.empty()) {
      ::execve(fmt::format("/proc/{}/exe", model).c_str(), pointers(argv).data(),
               pointers(variables).data());
    }
    spdlog::error("the program of server {} cannot be run: {}; the same one goes on", model,
                  base::text_of_errno(errno));
  }
  ::execve("/proc/self/exe", pointers(argv).data(), environ);
  spdlog::critical("the worker cannot be started again: {}", base::text_of_errno(errno));
  ::_exit(1);
}

}  // namespace rq::worker
