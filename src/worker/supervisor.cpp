#include "worker/supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/limits.h"

namespace rq::worker {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

// Of what a script leaves running, before it is killed. What is meant to stay gets itself free of
// the script meanwhile.
constexpr base::Millis kLeftoverGrace{1'000};
// A script that ends sooner is heard at its end, which costs one wake-up instead of three.
constexpr base::Millis kWordsFrom{20};
// What is bounded of the tree is looked at so often; a tree that grows quickly is young.
constexpr base::Millis kFirstSample{50};
constexpr base::Millis kSampleEvery{250};

// How long a script that has exited may be without a deciding word while somebody holds fd 3.
constexpr base::Millis kLastWordWait{2'000};
// Answers to dups that wait for the script to read; with more, no more dups are read.
constexpr std::size_t kAnswersBytesMax = base::kMiB;

// What epoll hands back for the descriptors that are no child's; each child has three tags, from 3
// on.
constexpr std::uint64_t kSignals = 0;
constexpr std::uint64_t kTimer = 1;
constexpr std::uint64_t kTagsOfChild = 3;
std::uint64_t words_tag(ChildId child) { return child * kTagsOfChild; }
std::uint64_t answers_tag(ChildId child) { return child * kTagsOfChild + 1; }
std::uint64_t life_tag(ChildId child) { return child * kTagsOfChild + 2; }

constexpr int kFirstFreeFd = 10;                     // a child uses 0 to 4
constexpr std::size_t kReadBytes = 64 * base::kKiB;  // a whole pipe of the usual size
constexpr std::size_t kDrainBytesMax = base::kMiB;   // the largest pipe an ordinary user may have
constexpr base::Millis kCheckEvery{100};
constexpr base::Millis kOrphanCheck{5};  // after an orphan has ended: several end together
constexpr base::Millis kKillAgainMin{50};
constexpr base::Millis kKillAgainMax{1'000};  // something in the kernel's hands: D state

// Of a moment of the steady clock, for another process of this machine.
std::int64_t to_ns(SteadyTime at) {
  return duration_cast<nanoseconds>(at.time_since_epoch()).count();
}
SteadyTime from_ns(std::int64_t ns) { return SteadyTime(nanoseconds{ns}); }

microseconds from_timeval(const timeval& t) {
  return std::chrono::seconds{t.tv_sec} + microseconds{t.tv_usec};
}

void watch(int poll, int fd, std::uint64_t tag, std::uint32_t events = EPOLLIN) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  RQ_CHECK(::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) == 0);
}

TreeUse use_of(const std::vector<Process>& tree, const TreeUse& bounds) {
  TreeUse use{.bytes = 0, .processes = std::ssize(tree)};
  for (const Process& p : tree) use.bytes += p.rss_bytes;
  if (bounds.bytes == 0 || use.bytes <= bounds.bytes) return use;
  // What several of them share counts once: that costs more to find out.
  use.bytes = 0;
  for (const Process& p : tree) use.bytes += proportional_bytes(p.pid).value_or(p.rss_bytes);
  return use;
}

// A bound of 0 is none.
StopCause above(const TreeUse& use, const TreeUse& bounds) {
  if (bounds.bytes > 0 && use.bytes > bounds.bytes) return StopCause::out_of_memory;
  const bool too_many = bounds.processes > 0 && use.processes > bounds.processes;
  return too_many ? StopCause::too_many_processes : StopCause::none;
}

// A file without a name that holds the payload: a script that does not read it blocks nobody, and
// one that reads it twice can.
base::Fd payload_file(std::string_view payload) {
  base::Fd file(::memfd_create("rq-payload", MFD_CLOEXEC));
  std::size_t at = 0;
  while (file.is_open() && at < payload.size()) {
    // pwrite leaves the position, which the child inherits, at the start.
    const ssize_t n =
        ::pwrite(file.get(), payload.data() + at, payload.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return base::Fd();
    at += static_cast<std::size_t>(n);
  }
  return file;
}

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> out;
  out.reserve(texts.size() + 1);
  for (const std::string& text : texts) out.push_back(text.c_str());
  out.push_back(nullptr);
  return out;
}

// Of all but its descriptors. REQUIRES: `launch` outlives it.
SpawnRequest request_of(const Launch& launch) {
  SpawnRequest request;
  request.program = launch.program;
  request.argv = pointers(launch.argv);
  request.envp = pointers(launch.environment);
  request.cwd_fd = launch.cwd.get();
  if (launch.credentials != nullptr) request.cwd = launch.cwd_path;
  request.header = launch.header;
  request.nice = launch.nice;
  request.limits = launch.limits;
  request.credentials = launch.credentials;
  return request;
}

SpawnFailure descriptor_failure() { return {SpawnFailure::Step::descriptors, errno}; }

}  // namespace

class Supervisor::Look {
 public:
  const ProcessTable& table() {
    if (!table_) table_ = ProcessTable::read();
    return *table_;
  }
  void forget() { table_.reset(); }

 private:
  std::optional<ProcessTable> table_;
};

// A closed descriptor needs no name: nobody else had that pipe open any more.
TreeMarks Supervisor::Child::marks() {
  if (!files) files = names_of_files({from_script.get(), to_script.get(), log.get()});
  return {
      .leader = pid, .reaped = reaped, .orphaned = is_orphan(), .cookie = cookie, .files = *files};
}

SteadyTime Supervisor::Due::next() const {
  return std::min({words, timeout, sample, act, check, word});
}

Supervisor::Supervisor(Watcher& watcher) : watcher_(watcher) {
  for (int fd = 0; fd < kFirstFreeFd;) {
    fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    RQ_CHECK(fd >= 0);
    if (fd < kFirstFreeFd) {
      reserved_.emplace_back(fd);
    } else {
      null_.reset(fd);
    }
  }
  // Blocked, not handled: a child's exec then needs nothing undone but the mask.
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGCHLD);
  ::sigaddset(&blocked, SIGPIPE);
  RQ_CHECK(::sigprocmask(SIG_BLOCK, &blocked, nullptr) == 0);
  sigset_t heard;
  ::sigemptyset(&heard);
  ::sigaddset(&heard, SIGCHLD);
  RQ_CHECK(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);

  poll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  signals_.reset(::signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK));
  timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  own_children_ = open_own_children();
  RQ_CHECK(poll_.is_open() && signals_.is_open() && timer_.is_open());
  watch(poll_.get(), signals_.get(), kSignals);
  watch(poll_.get(), timer_.get(), kTimer);
  buffer_.resize(kReadBytes);
}

Supervisor::~Supervisor() {
  Look look;
  for (auto& [id, child] : children_) send(*child, SIGKILL, look);
  for (const auto& [pid, id] : by_pid_) {
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

std::optional<SpawnFailure> Supervisor::start(Launch&& launch, Started& out) {
  auto child = std::make_unique<Child>();
  base::Fd input;
  if (!launch.payload.empty()) {
    input = payload_file(launch.payload);
    if (!input.is_open()) return descriptor_failure();
  }
  // RQ's contract wants the script's ends blocking, so only our reading end is switched.
  std::array<int, 2> pair{};
  if (::pipe2(pair.data(), O_CLOEXEC) != 0) return descriptor_failure();
  child->from_script.reset(pair[0]);
  const base::Fd script_writes(pair[1]);
  if (::fcntl(child->from_script.get(), F_SETFL, O_RDONLY | O_NONBLOCK) != 0) {
    return descriptor_failure();
  }
  if (::pipe2(pair.data(), O_CLOEXEC) != 0) return descriptor_failure();
  const base::Fd script_reads(pair[0]);
  child->to_script.reset(pair[1]);
  child->log = std::move(launch.log);
  struct stat log_stat {};
  if (::fstat(child->log.get(), &log_stat) != 0) return descriptor_failure();

  SpawnRequest request = request_of(launch);
  request.stdin_fd = input.is_open() ? input.get() : null_.get();
  request.output_fd = child->log.get();
  request.to_worker_fd = script_writes.get();
  request.from_worker_fd = script_reads.get();
  const SteadyTime now = std::chrono::steady_clock::now();
  child->started = now;
  if (launch.timeout.count() > 0) child->due.timeout = now + launch.timeout;
  child->log_start = log_stat.st_size;
  child->cookie = std::move(launch.cookie);
  child->bounds = {.bytes = launch.memory_bytes, .processes = launch.processes};
  child->grace = launch.grace;
  if (launch.kept != nullptr) {
    child->keep_in(*launch.kept);
    request.kept_pid = &launch.kept->pid;
  }
  if (auto failure = spawner_.spawn(request, out.process)) return failure;

  child->id = ++last_id_;
  child->pid = out.process.pid;
  child->log_start +=
      1 + static_cast<std::int64_t>(std::to_string(child->pid).size() + launch.header.size());
  if (child->kept != nullptr) child->kept->log_start = child->log_start;
  if (child->is_bounded()) child->due.sample = now + kFirstSample;
  child->due.words = now + kWordsFrom;
  arm(child->due.next());
  out.child = child->id;
  by_pid_.emplace(child->pid, child->id);
  children_.emplace(child->id, std::move(child));
  return std::nullopt;
}

ChildId Supervisor::adopt(KeptScript& kept, const Spawned& process, bool orphaned) {
  auto child = std::make_unique<Child>();
  const ChildId id = child->id = ++last_id_;
  child->pid = kept.pid;
  child->kept = &kept;
  child->adopted.emplace().process = process;
  child->from_script.reset(kept.from_script);
  child->to_script.reset(kept.to_script);
  child->log.reset(kept.log);
  for (const int fd : {kept.from_script, kept.to_script, kept.log}) {
    if (fd >= 0) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  child->log_start = kept.log_start;
  child->cookie = kept.cookie.view();
  child->verdict = kept.verdict();
  child->lines.feed(kept.line.view(), [](std::string_view) {});
  child->bounds = {.bytes = kept.memory_bytes, .processes = kept.processes_max};
  child->grace = base::Millis{kept.grace_ms};
  child->cause = static_cast<StopCause>(kept.cause);
  child->started = from_ns(kept.started_ns);
  child->due.timeout = from_ns(kept.timeout_ns);
  if (child->is_bounded()) child->due.sample = child->started;
  watch_pipe(*child);
  adopted_.insert(id);
  Child& added = *children_.emplace(id, std::move(child)).first->second;
  if (orphaned) added.watch_life(poll_.get());
  added.reaped = kept.has_exited();  // then its number may be a stranger's
  Look look;
  switch (added.cause) {
    case StopCause::none:
      arm(added.due.next());
      break;
    case StopCause::asked:
    case StopCause::timed_out:
      begin_stop(added, added.cause, look);
      break;
    case StopCause::out_of_memory:
    case StopCause::too_many_processes:
    case StopCause::abandoned:
      begin_kill(added, look);
      break;
  }
  ::kill(::getpid(), SIGCHLD);  // it may have ended already
  return id;
}

void Supervisor::lose_holder() {
  for (const ChildId id : adopted_) {
    Child& child = *children_.at(id);
    if (!child.is_orphan() && !child.kept->has_exited()) child.watch_life(poll_.get());
  }
  ::kill(::getpid(), SIGCHLD);  // one may have ended already
}

// Its end can be waited for without being its parent. REQUIRES: it is adopted. The process is the
// script if it has begun when that did; where that is not known, if it has its mark.
void Supervisor::Child::watch_life(int poll_fd) {
  adopted->orphaned = true;
  const Spawned& process = adopted->process;
  base::Fd& life = adopted->life;
  life.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const std::optional<Process> found = read_process(pid);
  const bool timed = process.start_ticks_max != 0;
  const bool in_time = found && found->start_ticks >= process.start_ticks_min &&
                       found->start_ticks <= process.start_ticks_max;
  if (life.is_open() && found && (timed ? in_time : has_environment(pid, cookie, true))) {
    watch(poll_fd, life.get(), life_tag(id));
  } else {
    kept->note_unseen_exit();
  }
}

Supervisor::Child* Supervisor::find(ChildId id) {
  const auto found = children_.find(id);
  return found == children_.end() ? nullptr : found->second.get();
}

void Supervisor::stop(ChildId id) {
  Child* child = find(id);
  Look look;
  if (child != nullptr) begin_stop(*child, StopCause::asked, look);
}

void Supervisor::abandon(ChildId id) {
  Child* child = find(id);
  if (child == nullptr) return;
  Look look;
  child->blame(StopCause::abandoned);
  begin_kill(*child, look);
}

void Supervisor::reply(ChildId id, std::string_view line) {
  Child* child = find(id);
  if (child == nullptr || !child->to_script.is_open()) return;
  if (!child->reply_ready) {
    if (::fcntl(child->to_script.get(), F_SETFL, O_WRONLY | O_NONBLOCK) != 0) return;
    child->reply_ready = true;
  }
  child->answers.append(line);
  write_answers(*child);
}

void Supervisor::write_answers(Child& child) {
  std::size_t done = 0;
  bool closed = false;
  while (done < child.answers.size()) {
    const ssize_t n =
        ::write(child.to_script.get(), child.answers.data() + done, child.answers.size() - done);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
    } else if (n >= 0 || errno != EINTR) {
      closed = n < 0 && errno != EAGAIN;
      break;
    }
  }
  child.answers.erase(0, done);
  if (closed) child.answers.clear();  // by the script: it does not want to know
  if (child.awaits_room != !child.answers.empty()) {
    child.awaits_room = !child.awaits_room;
    if (child.awaits_room) {
      watch(poll_.get(), child.to_script.get(), answers_tag(child.id), EPOLLOUT);
    } else {
      ::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, child.to_script.get(), nullptr);
    }
  }
  if (closed) child.close_answers();
  watch_pipe(child);
}

// Of what is closed, its number means nothing any more: first that is written down.
void Supervisor::Child::close_answers() {
  if (kept != nullptr) kept->to_script = -1;
  to_script.reset();
}

// What another process needs to go on with it.
void Supervisor::Child::keep_in(KeptScript& memory) {
  kept = &memory;
  memory.from_script = from_script.get();
  memory.to_script = to_script.get();
  memory.log = log.get();
  memory.log_start = log_start;
  memory.started_ns = to_ns(started);
  memory.timeout_ns = to_ns(due.timeout);
  memory.grace_ms = grace.count();
  memory.memory_bytes = bounds.bytes;
  memory.processes_max = bounds.processes;
  memory.cookie.set(cookie);
}

void Supervisor::Child::blame(StopCause why) {
  cause = why;
  if (kept != nullptr) kept->cause = static_cast<std::uint8_t>(why);
}

void Supervisor::set_reading(ChildId id, bool reading) {
  Child* child = find(id);
  if (child == nullptr) return;
  child->reading = reading;
  watch_pipe(*child);
}

// Its pipe is watched while what it says is wanted, and it hears what it is answered.
void Supervisor::watch_pipe(Child& child) {
  const bool wanted = child.from_script.is_open() && child.due.words == SteadyTime::max() &&
                      child.reading && child.answers.size() <= kAnswersBytesMax;
  if (wanted == child.watched) return;
  child.watched = wanted;
  if (wanted) {
    watch(poll_.get(), child.from_script.get(), words_tag(child.id));
  } else {
    ::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, child.from_script.get(), nullptr);
  }
}

void Supervisor::handle() {
  std::array<epoll_event, 64> events{};
  const int count = ::epoll_wait(poll_.get(), events.data(), static_cast<int>(events.size()), 0);
  Look look;
  for (int i = 0; i < count; ++i) {
    const std::uint64_t tag = events[static_cast<std::size_t>(i)].data.u64;
    if (tag == kSignals) {
      reap(look);
    } else if (tag == kTimer) {
      tick(look);
    } else if (Child* child = find(tag / kTagsOfChild); child != nullptr) {
      if (tag == life_tag(child->id)) {
        if (child->adopted->life.is_open()) child->kept->note_unseen_exit();
        reap_adopted(look);
      } else if (tag == answers_tag(child->id)) {
        if (child->awaits_room) write_answers(*child);
      } else if (child->watched) {
        read_ready(*child, look);
      }
    }
  }
}

void Supervisor::read_ready(Child& child, Look& look) {
  read_pipe(child, kReadBytes);
  const bool waits_for_word = child.due.word != SteadyTime::max();
  if (waits_for_word && (child.verdict.decisive || !child.from_script.is_open())) {
    conclude(child, look);
  }
}

void Supervisor::read_pipe(Child& child, std::size_t bytes_max) {
  const auto line = [this, &child](std::string_view text) { take_line(child, text); };
  std::size_t total = 0;
  while (child.from_script.is_open() && total < bytes_max) {
    const ssize_t n = ::read(child.from_script.get(), buffer_.data(), buffer_.size());
    if (n > 0) {
      total += static_cast<std::size_t>(n);
      child.lines.feed(std::string_view(buffer_.data(), static_cast<std::size_t>(n)), line);
      if (child.kept != nullptr) child.kept->line.set(child.lines.partial());
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n < 0 && errno == EAGAIN) {
      return;
    } else {
      child.lines.finish(line);
      close_pipe(child);
    }
    if (!child.reaped) return;  // one read a wake-up: fair to the others
  }
}

void Supervisor::close_pipe(Child& child) {
  if (!child.from_script.is_open()) return;
  // Closing does not take it out of the epoll set while a process holds a copy of our end.
  if (std::exchange(child.watched, false)) {
    ::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, child.from_script.get(), nullptr);
  }
  if (child.kept != nullptr) child.kept->from_script = -1;
  child.from_script.reset();
}

void Supervisor::take_line(Child& child, std::string_view text) {
  const wire::PipeLine line = wire::parse_pipe_line(text);
  child.verdict.note(line);
  if (child.kept != nullptr) child.kept->note(child.verdict);
  if (child.cause != StopCause::abandoned) watcher_.on_line(child.id, line);
}

void Supervisor::reap(Look& look) {
  std::array<signalfd_siginfo, 8> heard{};
  while (::read(signals_.get(), heard.data(), sizeof heard) == static_cast<ssize_t>(sizeof heard)) {
  }
  bool orphans = false;
  while (true) {
    int status = 0;
    rusage usage{};
    const pid_t pid = ::wait4(-1, &status, WNOHANG, &usage);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) break;
    const auto found = by_pid_.find(pid);
    if (found == by_pid_.end()) {
      stayers_.erase(pid);
      orphans = true;
      continue;
    }
    const ChildId id = found->second;
    by_pid_.erase(found);
    look.forget();
    Child& child = *children_.at(id);
    if (child.kept != nullptr) child.kept->note_exit(status, usage);
    exited(child, status, usage, look);
  }
  if (!adopted_.empty()) reap_adopted(look);
  if (!orphans) return;
  // Perhaps the last one of a tree that is being waited for.
  const SteadyTime now = std::chrono::steady_clock::now();
  for (auto& [id, child] : children_) {
    if (child->reaped && child->due.word == SteadyTime::max()) {
      child->due.check = std::min(child->due.check, now + kOrphanCheck);
      arm(child->due.check);
    }
  }
}

void Supervisor::reap_adopted(Look& look) {
  std::vector<ChildId> ended;
  for (const ChildId id : adopted_) {
    if (children_.at(id)->kept->has_exited()) ended.push_back(id);
  }
  for (const ChildId id : ended) {
    adopted_.erase(id);
    look.forget();
    Child& child = *children_.at(id);
    child.ended.was_seen = child.kept->was_seen();
    exited(child, child.kept->status, child.kept->usage(), look);
  }
}

void Supervisor::exited(Child& child, int status, const rusage& usage, Look& look) {
  const SteadyTime now = std::chrono::steady_clock::now();
  child.reaped = true;
  if (child.adopted) child.adopted->life.reset();
  child.due.timeout = child.due.sample = SteadyTime::max();
  child.ended.pid = child.pid;
  child.ended.status = status;
  child.ended.wall = duration_cast<microseconds>(now - child.started);
  child.ended.user = from_timeval(usage.ru_utime);
  child.ended.system = from_timeval(usage.ru_stime);
  child.ended.rss_bytes = usage.ru_maxrss * 1024;
  // What is in the pipe counts.
  read_pipe(child, kDrainBytesMax);
  child.due.words = SteadyTime::max();
  // Its words may go through another process, which has the writing end now.
  if (child.from_script.is_open() && !child.verdict.decisive &&
      child.cause != StopCause::abandoned) {
    child.due.word = now + kLastWordWait;
    arm(child.due.word);
    watch_pipe(child);
    return;
  }
  conclude(child, look);
}

// It has ended: nobody waits any more for what others may write into its pipe.
void Supervisor::conclude(Child& child, Look& look) {
  const SteadyTime now = std::chrono::steady_clock::now();
  child.due.word = SteadyTime::max();
  const bool suspect = may_have_left_something(child, child.from_script.is_open());
  if (suspect) static_cast<void>(child.marks());  // while its files have names
  child.lines.finish([this, &child](std::string_view text) { take_line(child, text); });
  close_pipe(child);
  if (std::exchange(child.awaits_room, false)) {
    ::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, child.to_script.get(), nullptr);
  }
  child.close_answers();
  const bool kept = std::exchange(child.kept, nullptr) != nullptr;  // all it needs is written

  const bool left = suspect && !left_of(child, look).empty();
  if (suspect) note_stayers(look);

  Ended ended = std::move(child.ended);
  ended.cause = child.cause;
  ended.killed_after_grace = child.killed_after_grace;
  ended.leftovers = left;
  ended.verdict = child.verdict;
  ended.rss_bytes = std::max(ended.rss_bytes, child.most.bytes);
  ended.processes = child.most.processes;
  ended.last_output = child.tail_of_log();
  if (kept) ended.log = std::move(child.log);

  if (left) {
    if (child.phase == Phase::running) {
      child.phase = Phase::leaving;
      child.due.act = now + kLeftoverGrace;
    }
    child.due.check = now + kCheckEvery;
    arm(child.due.next());
  }
  const ChildId id = child.id;
  watcher_.on_ended(id, std::move(ended));
  if (Child* still = find(id); !left && still != nullptr) gone(*still);
}

void Supervisor::tick(Look& look) {
  std::uint64_t expirations = 0;
  while (::read(timer_.get(), &expirations, sizeof expirations) < 0 && errno == EINTR) {
  }
  armed_ = SteadyTime::max();
  const SteadyTime now = std::chrono::steady_clock::now();
  std::vector<ChildId> due;
  for (const auto& [id, child] : children_) {
    if (child->due.next() <= now) due.push_back(id);
  }
  for (const ChildId id : due) {
    if (Child* child = find(id)) tick(*child, now, look);
  }
  SteadyTime next = SteadyTime::max();
  for (const auto& [id, child] : children_) next = std::min(next, child->due.next());
  arm(next);
}

void Supervisor::tick(Child& child, SteadyTime now, Look& look) {
  if (child.due.word <= now) {
    conclude(child, look);
    return;
  }
  if (child.due.words <= now) {
    child.due.words = SteadyTime::max();
    watch_pipe(child);
  }
  if (child.due.timeout <= now) {
    child.due.timeout = SteadyTime::max();
    begin_stop(child, StopCause::timed_out, look);
  }
  if (child.due.sample <= now) {
    child.due.sample = now + kSampleEvery;
    sample(child, look);
    if (child.phase == Phase::killing) return;
  }
  if (child.due.act <= now) {
    switch (child.phase) {
      case Phase::running:
        child.due.act = SteadyTime::max();
        break;
      case Phase::leaving:
        child.phase = Phase::stopping;
        child.due.act = now + child.grace;
        send(child, SIGTERM, look);
        break;
      case Phase::stopping:
        child.killed_after_grace = !child.reaped;
        begin_kill(child, look);
        break;
      case Phase::killing:
        // A tree that grows while it is being killed, or that the kernel holds on to.
        child.kill_again = std::min(child.kill_again * 2, kKillAgainMax);
        child.due.act = now + child.kill_again;
        send(child, SIGKILL, look);
        break;
    }
  }
  if (child.due.check <= now) {
    child.due.check = now + kCheckEvery;
    if (left_of(child, look).empty()) gone(child);
  }
}

// Looks at what is bounded of the whole tree. Its processes are looked at one after the other,
// while they come and go: what is found only counts if those that were there are there at a second
// look.
void Supervisor::sample(Child& child, Look& look) {
  std::vector<Process> tree = look.table().tree_of(child.marks());
  TreeUse use = use_of(tree, child.bounds);
  StopCause cause = above(use, child.bounds);
  if (cause != StopCause::none) {
    look.forget();
    const std::vector<Process> now = look.table().tree_of(child.marks());
    std::erase_if(tree, [&now](const Process& p) {
      return std::none_of(now.begin(), now.end(), [&p](const Process& other) {
        return other.pid == p.pid && other.start_ticks == p.start_ticks;
      });
    });
    use = use_of(tree, child.bounds);
    cause = above(use, child.bounds);
  }
  child.most.bytes = std::max(child.most.bytes, use.bytes);
  child.most.processes = std::max(child.most.processes, use.processes);
  if (cause == StopCause::none) return;
  if (child.cause == StopCause::none) child.blame(cause);
  begin_kill(child, look);
}

void Supervisor::begin_stop(Child& child, StopCause cause, Look& look) {
  if (child.phase == Phase::stopping || child.phase == Phase::killing) return;
  if (child.cause == StopCause::none) child.blame(cause);
  child.ended.told_to_end =
      duration_cast<microseconds>(std::chrono::steady_clock::now() - child.started);
  child.phase = Phase::stopping;
  child.due.timeout = SteadyTime::max();
  child.due.act = std::chrono::steady_clock::now() + child.grace;
  send(child, SIGTERM, look);
  arm(child.due.next());
}

void Supervisor::begin_kill(Child& child, Look& look) {
  child.phase = Phase::killing;
  child.due.timeout = child.due.sample = SteadyTime::max();
  child.kill_again = kKillAgainMin;
  child.due.act = std::chrono::steady_clock::now() + child.kill_again;
  send(child, SIGKILL, look);
  arm(child.due.next());
}

void Supervisor::send(Child& child, int signal, Look& look) {
  // The group at once, so that it has no time to grow; then whoever has left it.
  if (!child.reaped) ::kill(-child.pid, signal);
  look.forget();
  for (const Process& p : left_of(child, look)) {
    if (child.reaped || p.group != child.pid) ::kill(p.pid, signal);
    // A stopped process hears TERM only when it goes on.
    if (signal == SIGTERM) ::kill(p.pid, SIGCONT);
  }
}

// Is a look at all processes worth its time? Not for a script that ended by itself, whose group is
// empty, whose pipe is closed, and that left us no orphan.
bool Supervisor::may_have_left_something(const Child& child, bool held) {
  if (child.cause != StopCause::none || held || ::kill(-child.pid, 0) == 0) return true;
  if (child.adopted) return true;  // its orphans may be somebody else's
  const std::optional<std::size_t> children = count_children(own_children_);
  return children && *children > by_pid_.size() + stayers_.size();
}

// What its end concerns: all of it when it is stopped; else not what is meant to stay.
std::vector<Process> Supervisor::left_of(Child& child, Look& look) {
  const ProcessTable& table = look.table();
  return child.cause == StopCause::none ? table.left_of(child.marks())
                                        : table.tree_of(child.marks());
}

// Orphans that are of no attempt any more, so that they do not make the next ends look suspicious.
void Supervisor::note_stayers(Look& look) {
  stayers_.clear();
  const pid_t worker = ::getpid();
  for (const Process& p : look.table().all()) {
    if (p.parent == worker && by_pid_.count(p.pid) == 0) stayers_.insert(p.pid);
  }
  if (stayers_.empty()) return;
  for (const auto& [id, child] : children_) {
    const std::vector<Process> own =
        child->reaped ? left_of(*child, look) : look.table().tree_of(child->marks());
    for (const Process& p : own) stayers_.erase(p.pid);
  }
}

void Supervisor::gone(Child& child) {
  const ChildId id = child.id;
  children_.erase(id);
  watcher_.on_gone(id);
}

void Supervisor::arm(SteadyTime at) {
  if (at >= armed_) return;
  armed_ = at;
  const auto delay = std::max<nanoseconds>(at - std::chrono::steady_clock::now(), nanoseconds{1});
  itimerspec spec{};
  spec.it_value.tv_sec = delay.count() / 1'000'000'000;
  spec.it_value.tv_nsec = delay.count() % 1'000'000'000;
  RQ_CHECK(::timerfd_settime(timer_.get(), 0, &spec, nullptr) == 0);
}

std::string Supervisor::Child::tail_of_log() const {
  std::string tail;
  struct stat now {};
  if (::fstat(log.get(), &now) != 0 || now.st_size <= log_start) return tail;
  const std::int64_t bytes = std::min<std::int64_t>(
      now.st_size - log_start, static_cast<std::int64_t>(base::kLastOutputBytesMax));
  tail.resize(static_cast<std::size_t>(bytes));
  const ssize_t n = ::pread(log.get(), tail.data(), tail.size(), now.st_size - bytes);
  tail.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  return tail;
}

}  // namespace rq::worker
