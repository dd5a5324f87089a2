#include "server/worker_keeper.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/fd.h"
#include "base/lock_file.h"

extern char** environ;

namespace rq::server {
namespace {

// A worker that dies at once is started again after this, doubled each time.
constexpr std::chrono::milliseconds kDelayMin{100};
constexpr std::chrono::milliseconds kDelayMax{10'000};
// One that lived so long starts the doubling anew.
constexpr std::chrono::seconds kLivedWell{30};
// How often the lock of a live worker is looked at: the worker makes a new one when it is gone.
constexpr std::chrono::seconds kKnowEvery{1};

}  // namespace

WorkerKeeper::WorkerKeeper(boost::asio::io_context& io, std::filesystem::path dir)
    : process_(io), pause_(io), know_timer_(io), dir_(std::move(dir)), delay_(kDelayMin) {}

WorkerKeeper::~WorkerKeeper() = default;

void WorkerKeeper::start() {
  keep_knowing();
  look();
}

void WorkerKeeper::keep_knowing() {
  if (stopped_) return;
  know_lock();
  know_timer_.expires_after(kKnowEvery);
  know_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) keep_knowing();
  });
}

// The file that a worker holds, or the one that the next worker will take. Made here where there is
// none: a worker that has just begun is known by it, too.
void WorkerKeeper::know_lock() {
  const std::string file = dir_ / "run" / "worker.lock";
  if (lock_.is_open() && (base::is_file_of(file, lock_.get()) || base::LockFile::is_held(lock_))) {
    return;
  }
  lock_.reset(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
}

void WorkerKeeper::look() {
  if (stopped_) return;
  know_lock();
  if (lock_.is_open() && base::LockFile::is_held(lock_)) {
    const int pid = base::LockFile::pid_in(dir_ / "run" / "worker.pid");
    if (pid > 0) {
      spdlog::info("worker {} is at work already", pid);
      // It may have another program and environment than we would give it.
      ::kill(pid, SIGURG);
      watch(pid, false);
      return;
    }
    look_again();  // it is just starting, or just ending, or one of its two processes has ended
    return;
  }
  spawn();
}

void WorkerKeeper::spawn() {
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  // Its own session: a signal to the server's group or terminal is not for it.
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setflags(
      &attributes,
      static_cast<short>(POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  std::string program = "/proc/self/exe";
  std::error_code error;
  const auto real = std::filesystem::read_symlink(program, error);
  if (!error) program = real.string();
  std::string name = "rq";
  std::string verb = "worker";
  std::string flag = "--dir";
  std::string dir = dir_.string();
  std::string kept = "--kept";
  char* const argv[] = {name.data(), verb.data(), flag.data(), dir.data(), kept.data(), nullptr};
  // The worker gets 0, 1 and 2 and nothing else, whatever a library has opened without CLOEXEC.
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, program.c_str(), &files, &attributes, argv, environ);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (failed != 0) {
    spdlog::error("starting the worker ({}): {}", program, base::text_of_errno(failed));
    look_again();
    return;
  }
  spdlog::info("worker {} started", pid);
  watch(pid, true);
}

void WorkerKeeper::watch(int pid, bool ours) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) {  // it has just ended
    if (ours) ::waitpid(pid, nullptr, 0);
    look_again();
    return;
  }
  pid_ = pid;
  ours_ = ours;
  started_ = std::chrono::steady_clock::now();
  process_.assign(fd);
  process_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                      [this](const boost::system::error_code& error) {
                        if (!error) ended();
                      });
}

void WorkerKeeper::ended() {
  if (ours_) ::waitpid(pid_, nullptr, 0);
  boost::system::error_code ignored;
  process_.close(ignored);
  if (!stopped_) spdlog::warn("worker {} has ended; starting another", pid_);
  pid_ = 0;
  if (std::chrono::steady_clock::now() - started_ > kLivedWell) delay_ = kDelayMin;
  look_again();
}

void WorkerKeeper::look_again() {
  if (stopped_) return;
  pause_.expires_after(delay_);
  delay_ = std::min(delay_ * 2, kDelayMax);
  pause_.async_wait([this](const boost::system::error_code& error) {
    if (!error) look();
  });
}

void WorkerKeeper::tell_of_new_log() const {
  if (pid_ > 0) ::kill(pid_, SIGURG);
}

void WorkerKeeper::stop() {
  stopped_ = true;
  pause_.cancel();
  know_timer_.cancel();
  if (pid_ > 0) ::kill(pid_, SIGHUP);
  boost::system::error_code ignored;
  process_.close(ignored);
}

}  // namespace rq::server
