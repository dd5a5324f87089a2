#include "worker/running_record.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/machine.h"
#include "worker/process_tree.h"
#include "worker/shared_memory.h"

namespace rq::worker {
namespace {

using base::Code;
using base::fail;
using base::Result;

constexpr std::size_t kRunningRecordsMax = 16'384;  // scripts that one worker can account for
constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kWitnessesMax = 256;  // messages that are remembered
constexpr std::int64_t kSuspectDeaths = 2;
// Instead of a process: of entries that have none yet.
constexpr std::int32_t kNotBegun = 0;
constexpr std::int32_t kStarting = -1;
constexpr std::size_t kPieceBytes = 4096;  // a page
constexpr int kKillRounds = 50;
constexpr int kKillWaitMs = 100;

// Of Entry::used.
constexpr std::uint32_t kFree = 0;
constexpr std::uint32_t kUsed = 1;
constexpr std::uint32_t kWitness = 2;  // and its worker has died in this attempt

}  // namespace

struct RunningRecord::Entry {
  std::uint32_t used;  // written last, cleared first
  std::int32_t pid;
  std::uint64_t start_ticks_min;
  std::uint64_t start_ticks_max;
  char token[kTokenBytes];
  // It knows this process by its number, or as one of its session.
  [[nodiscard]] bool has(const Process& p) const {
    if (pid <= 0) return false;  // nothing is known of it but its mark
    const bool leader = p.pid == pid && p.start_ticks <= start_ticks_max;
    const bool member = p.session == pid && p.pid != pid;
    return (leader || member) && p.start_ticks >= start_ticks_min;
  }
};

namespace {

// A message that ran when a worker died.
struct Witness {
  std::int64_t seq;  // 0: free
  std::int64_t deaths;
};

std::int64_t seq_of(std::string_view token) {
  std::int64_t seq = 0;
  std::from_chars(token.data(), token.data() + token.size(), seq);
  return seq;
}

using Witnesses = std::array<Witness, kWitnessesMax>;

std::int64_t deaths_of(const Witnesses& witnesses, std::int64_t seq) {
  const auto found = std::find_if(witnesses.begin(), witnesses.end(),
                                  [seq](const Witness& w) { return w.seq == seq; });
  return found == witnesses.end() ? 0 : found->deaths;
}

void note(Witnesses& witnesses, const Witness& witness) {
  const auto own = std::find_if(witnesses.begin(), witnesses.end(),
                                [&witness](const Witness& w) { return w.seq == witness.seq; });
  // Else in a free place, or in that of the least suspect.
  const auto least =
      std::min_element(witnesses.begin(), witnesses.end(), [](const Witness& a, const Witness& b) {
        return (a.seq == 0 ? 0 : a.deaths) < (b.seq == 0 ? 0 : b.deaths);
      });
  *(own != witnesses.end() ? own : least) = witness;
}

// Is it nobody's child who could see how it ends? Whose parent dies is one, unless it becomes ours.
bool is_orphaned(KeptScript& script) {
  siginfo_t info{};
  return !script.has_exited() &&
         ::waitid(P_PID, static_cast<id_t>(script.pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0;
}

// Where a table is at home. On another run of the machine process numbers mean nothing; and a copy
// of the file, made with a copy of the directory, tells of scripts that are somebody else's.
using Home = std::array<char, 40>;

Home home_of(int fd) {
  Home home{};
  struct stat info {};
  if (::fstat(fd, &info) != 0) return home;
  std::string run = base::run_of_machine();
  std::erase(run, '-');
  const char* const middle = run.data() + run.size() / 2;
  std::array<std::uint64_t, 4> parts{0, 0, info.st_dev, info.st_ino};
  std::from_chars(run.data(), middle, parts[0], 16);
  std::from_chars(middle, run.data() + run.size(), parts[1], 16);
  std::memcpy(home.data(), parts.data(), sizeof parts);
  return home;
}

}  // namespace

struct RunningRecord::Table {
  char magic[4];  // "RQRR"
  std::uint32_t version;
  std::uint32_t unused;
  Home home;
  char mark[32];
  Witnesses witnesses;
  std::array<Entry, kRunningRecordsMax> entries;
};

Result<std::unique_ptr<RunningRecord>> RunningRecord::open(const std::string& path,
                                                           base::Fd memory) {
  std::unique_ptr<RunningRecord> record(new RunningRecord);
  record->path_ = path;
  struct stat info {};
  record->is_handed_ = memory.is_open() && ::fstat(memory.get(), &info) == 0 &&
                       info.st_size == static_cast<off_t>(sizeof(Table));
  record->memory_file_ =
      record->is_handed_ ? std::move(memory) : make_shared_memory("rq-running", sizeof(Table));
  void* const at = record->memory_file_.is_open()
                       ? ::mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED,
                                record->memory_file_.get(), 0)
                       : MAP_FAILED;
  if (at == MAP_FAILED) {
    return fail(Code::internal, fmt::format("memory for the list of running scripts: {}",
                                            base::text_of_errno(errno)));
  }
  record->table_ = static_cast<Table*>(at);
  record->is_handed_ = record->is_handed_ && record->is_usable();
  RQ_TRY(record->open_file());
  if (!record->is_handed_) record->read_file();
  if (!record->is_usable()) {
    record->table_->witnesses.fill({});
    record->start_anew();
  }
  return record;
}

// Who goes on with scripts goes on without it: what it would hold is in the table.
Result<void> RunningRecord::open_file() {
  file_ = base::open_plain_file(path_, O_RDWR | O_CREAT);
  if (file_.is_open()) return {};
  const bool in_the_way = errno == EISDIR || errno == ELOOP || errno == ENXIO;
  auto error =
      in_the_way ? fail(Code::internal, fmt::format("'{}' is not a file", path_), "remove it")
                 : fail(Code::internal, fmt::format("'{}': {}", path_, base::text_of_errno(errno)),
                        "see to the disk and to the rights of the folder");
  if (!is_handed_) return error;
  warn_of(error.message);
  file_.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));  // a number, for keep_file()
  return {};
}

bool RunningRecord::is_usable() const {
  return std::memcmp(table_->magic, "RQRR", 4) == 0 && table_->version == kVersion;
}

// One that is cut, or of another form, tells nothing.
void RunningRecord::read_file() {
  auto* const to = static_cast<char*>(static_cast<void*>(table_));
  std::size_t at = 0;
  while (at < sizeof(Table)) {
    const ssize_t n = ::pread(file_.get(), to + at, sizeof(Table) - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    at += static_cast<std::size_t>(n);
  }
  if (at < sizeof(Table)) std::memset(to, 0, sizeof(Table));
}

void RunningRecord::changed(const void* from, std::size_t bytes) {
  const auto at = static_cast<std::size_t>(static_cast<const char*>(from) - bytes_of_table());
  changed_from_ = std::min(changed_from_, at);
  changed_end_ = std::max(changed_end_, at + bytes);
}

// Copies what has changed of the table into the file. Should that fail, only the next worker knows
// less. A large part goes in small pieces: what was written at once, the page cache keeps as one,
// and each small write into it takes as long as it is large.
void RunningRecord::flush() {
  std::size_t from = std::exchange(changed_from_, SIZE_MAX);
  const std::size_t end = std::exchange(changed_end_, 0);
  while (from < end) {
    const std::size_t bytes = std::min(end - from, kPieceBytes - from % kPieceBytes);
    const ssize_t written =
        ::pwrite(file_.get(), bytes_of_table() + from, bytes, static_cast<off_t>(from));
    if (written != static_cast<ssize_t>(bytes)) {
      changed_from_ = from;  // the next one tries again
      changed_end_ = end;
      return warn_of(fmt::format("'{}' cannot be written: {}", path_,
                                 written < 0 ? base::text_of_errno(errno) : "the disk is full"));
    }
    from += bytes;
  }
}

void RunningRecord::keep_file() {
  if (base::is_file_of(path_, file_.get())) return;
  const base::Fd fresh = base::open_plain_file(path_, O_RDWR | O_CREAT);
  // The other process goes on writing what changes, by the same number.
  if (!fresh.is_open() || ::dup3(fresh.get(), file_.get(), O_CLOEXEC) < 0) {
    return warn_of(fmt::format("'{}' cannot be made again: {}", path_, base::text_of_errno(errno)));
  }
  table_->home = home_of(file_.get());
  changed(table_, sizeof(Table));
  flush();
}

void RunningRecord::warn_of(std::string_view what) {
  if (std::exchange(warned_, true)) return;
  spdlog::warn(
      "{}; should all processes of this worker die, the next one does not know which scripts ran",
      what);
}

RunningRecord::~RunningRecord() {
  if (table_ != nullptr) ::munmap(table_, sizeof(Table));
}

void RunningRecord::start_anew() {
  for (Entry& entry : table_->entries) {
    if (entry.used != kFree) entry = Entry{};
  }
  std::memcpy(table_->magic, "RQRR", 4);
  table_->version = kVersion;
  table_->home = home_of(file_.get());
  std::uint64_t random = 0;
  RQ_CHECK(::getrandom(&random, sizeof random, 0) == sizeof random);
  mark_ = fmt::format("RQ_RUN={:016x}.", random);
  std::memset(table_->mark, 0, sizeof table_->mark);
  mark_.copy(table_->mark, sizeof table_->mark - 1);
  free_.clear();
  for (int slot = static_cast<int>(kRunningRecordsMax) - 1; slot >= 0; --slot) {
    free_.push_back(slot);
  }
  changed(table_, sizeof(Table));
  flush();
}

// Something is left of some scripts: their entries and the mark stay.
void RunningRecord::go_on_with(const std::unordered_set<int>& slots) {
  free_.clear();
  for (int slot = static_cast<int>(kRunningRecordsMax) - 1; slot >= 0; --slot) {
    if (slots.count(slot) != 0) continue;
    Entry& entry = table_->entries.at(static_cast<std::size_t>(slot));
    if (entry.used != kFree) entry = Entry{};
    free_.push_back(slot);
  }
  table_->home = home_of(file_.get());  // the file may be another one now
  mark_ = table_->mark;
  changed(table_, sizeof(Table));
  flush();
}

std::vector<int> RunningRecord::used_slots() const {
  std::vector<int> slots;
  for (std::size_t slot = 0; slot < kRunningRecordsMax; ++slot) {
    if (table_->entries.at(slot).used != kFree) slots.push_back(static_cast<int>(slot));
  }
  return slots;
}

RunningRecord::Leftovers RunningRecord::clean_up() { return sort_out(true, false); }
RunningRecord::Leftovers RunningRecord::take_over(bool died) { return sort_out(died, true); }

bool RunningRecord::has_ended(int slot) {
  KeptScript* const script = kept(slot);
  return script != nullptr && script->has_ended();
}

// What is being sorted out of the table of a worker before this one.
struct RunningRecord::Sorting {
  bool died = false;
  bool keep = false;
  Witnesses before{};
  Leftovers out{};
  std::unordered_set<int> stay{};
  std::vector<Entry> ended{};

  // Gives in how many deaths in a row the message of this one was there.
  [[nodiscard]] std::int64_t note_death(Entry& entry, Witnesses& witnesses) const {
    const std::int64_t seq = seq_of(entry.token);
    std::int64_t deaths = deaths_of(before, seq);
    if (!died) return deaths;
    if (entry.used != kWitness) {
      ++deaths;
      entry.used = kWitness;
    }
    note(witnesses, {.seq = seq, .deaths = deaths});
    return deaths;
  }
};

RunningRecord::Leftovers RunningRecord::sort_out(bool died, bool keep) {
  table_->mark[sizeof table_->mark - 1] = '\0';
  const std::vector<int> slots = used_slots();
  // The death of a worker that ran nothing is no evidence, nor is an orderly end.
  died = died && std::any_of(slots.begin(), slots.end(), [this](int slot) {
           const bool begun = table_->entries.at(static_cast<std::size_t>(slot)).pid != kNotBegun;
           return begun && !has_ended(slot);
         });
  Sorting sorting{.died = died, .keep = keep, .before = table_->witnesses};
  if (died) table_->witnesses.fill({});
  for (const int slot : slots) sort_out(slot, sorting);
  // Who waits for its turn among the suspects stays one.
  for (const Witness& witness : sorting.before) {
    const bool again = deaths_of(table_->witnesses, witness.seq) > 0;
    if (died && !again && witness.deaths >= kSuspectDeaths) note(table_->witnesses, witness);
  }
  const bool at_home = is_handed_ || table_->home == home_of(file_.get());
  if (at_home && table_->mark[0] != '\0') {
    sorting.out.processes = kill_left(sorting.ended, sorting.out.staying);
  }
  if (sorting.stay.empty()) {
    start_anew();
  } else {
    go_on_with(sorting.stay);
  }
  return std::move(sorting.out);
}

void RunningRecord::sort_out(int slot, Sorting& sorting) {
  Entry& entry = table_->entries.at(static_cast<std::size_t>(slot));
  entry.token[kTokenBytes - 1] = '\0';
  if (has_ended(slot)) {
    KeptScript& script = *kept(slot);
    script.close_files();
    sorting.out.untold.push_back({.slot = slot,
                                  .token = entry.token,
                                  .end = std::string(script.report.view()),
                                  .lease = base::Millis{script.lease_ms}});
    sorting.stay.insert(slot);
    return;
  }
  KeptScript* const script = sorting.keep ? kept(slot) : nullptr;
  const bool no_process = script != nullptr && script->pid == 0;
  if (entry.pid == kNotBegun || no_process) {
    sorting.out.not_begun.emplace_back(entry.token);
    sorting.ended.push_back(entry);
    if (script != nullptr) script->close_files();
    return;
  }
  const std::int64_t deaths = sorting.note_death(entry, table_->witnesses);
  if (script == nullptr) {
    sorting.out.begun.push_back({.token = entry.token, .deaths = deaths});
    sorting.ended.push_back(entry);
    return;
  }
  sorting.out.staying.push_back({.slot = slot,
                                 .deaths = deaths,
                                 .witness = entry.used == kWitness,
                                 .process = {.pid = script->pid,
                                             .start_ticks_min = entry.start_ticks_min,
                                             .start_ticks_max = entry.start_ticks_max},
                                 .orphaned = is_orphaned(*script)});
  sorting.stay.insert(slot);
}

// Kills what is left of scripts that do not go on. In a few rounds, because a tree can grow while
// it is being killed. Gives how many processes there were.
std::size_t RunningRecord::kill_left(const std::vector<Entry>& ended,
                                     const std::vector<Leftovers::Staying>& staying) {
  std::size_t found = 0;
  for (int round = 0; round < kKillRounds; ++round) {
    const ProcessTable now = ProcessTable::read();
    std::unordered_set<pid_t> spared;
    for (const Leftovers::Staying& stays : staying) {
      const KeptScript& script = *kept(stays.slot);
      const std::array<std::string, 3> files = script.files();
      for (const Process& p : now.tree_of({.leader = script.pid,
                              .reaped = script.exited != 0,
                              .orphaned = stays.orphaned,
                              .cookie = script.cookie.view(),
                              .files = files})) {
        spared.insert(p.pid);
      }
    }
    std::vector<Process> left = now.with_environment(table_->mark);
    for (const Process& p : now.all()) {
      if (std::any_of(ended.begin(), ended.end(),
                      [&p](const Entry& entry) { return entry.has(p); })) {
        left.push_back(p);
      }
    }
    std::erase_if(left, [&spared](const Process& p) { return spared.count(p.pid) != 0; });
    if (left.empty()) break;
    if (round == 0) found = left.size();
    // Parents first: one whose child has ended would go on with its next step.
    std::ranges::sort(left, {}, &Process::start_ticks);
    for (const Process& p : left) {
      // By descriptor, so that it is the process that was looked at, or none.
      const base::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, p.pid, 0)));
      if (!process.is_open()) continue;
      ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
      pollfd gone{.fd = process.get(), .events = POLLIN, .revents = 0};
      ::poll(&gone, 1, kKillWaitMs);
    }
  }
  return found;
}

std::string RunningRecord::next_mark() {
  return fmt::format("{}{}", mark_, memory_ != nullptr ? memory_->next_serial() : ++marks_);
}

int RunningRecord::add(std::string_view token) {
  const int slot = take(token, kNotBegun);
  flush();
  return slot;
}

int RunningRecord::begin(std::string_view token) { return take(token, kStarting); }

void RunningRecord::began(int slot, const Spawned& process) {
  if (slot < 0) return;
  Entry& entry = table_->entries.at(static_cast<std::size_t>(slot));
  entry.start_ticks_min = process.start_ticks_min;
  entry.start_ticks_max = process.start_ticks_max;
  std::atomic_ref(entry.pid).store(process.pid, std::memory_order_release);
  changed(&entry, sizeof entry);
  flush();
}

int RunningRecord::take(std::string_view token, std::int32_t pid) {
  if (free_.empty() || token.size() >= kTokenBytes) return -1;
  const int slot = free_.back();
  free_.pop_back();
  // What the script before it has left here is not its own: descriptors above all.
  if (KeptScript* const script = kept(slot)) script->start_anew();
  Entry& entry = table_->entries.at(static_cast<std::size_t>(slot));
  entry.pid = pid;
  entry.start_ticks_min = entry.start_ticks_max = 0;
  std::memset(entry.token, 0, kTokenBytes);
  token.copy(entry.token, kTokenBytes - 1);
  std::atomic_ref(entry.used).store(kUsed, std::memory_order_release);
  changed(&entry, sizeof entry);
  return slot;
}

bool RunningRecord::keep_end(int slot, std::string_view end) {
  KeptScript* const script = kept(slot);
  return script != nullptr && script->note_end(end);
}

void RunningRecord::remove(int slot) {
  if (slot < 0) return;
  Entry& entry = table_->entries.at(static_cast<std::size_t>(slot));
  std::atomic_ref(entry.used).store(kFree, std::memory_order_release);
  changed(&entry.used, sizeof entry.used);
  free_.push_back(slot);
  if (free_.size() == kRunningRecordsMax) flush();
}

bool RunningRecord::is_suspect(std::int64_t seq) const {
  return std::any_of(table_->witnesses.begin(), table_->witnesses.end(), [seq](const Witness& w) {
    return w.seq == seq && w.deaths >= kSuspectDeaths;
  });
}

std::int64_t RunningRecord::accuse(int slot, std::int64_t seq) {
  const std::int64_t deaths = deaths_of(table_->witnesses, seq) + 1;
  note(table_->witnesses, {.seq = seq, .deaths = deaths});
  changed(&table_->witnesses, sizeof table_->witnesses);
  if (slot >= 0) {  // it counts once for this attempt
    Entry& entry = table_->entries.at(static_cast<std::size_t>(slot));
    std::atomic_ref(entry.used).store(kWitness, std::memory_order_release);
    changed(&entry.used, sizeof entry.used);
  }
  flush();
  return deaths;
}

void RunningRecord::clear(std::int64_t seq) {
  for (Witness& witness : table_->witnesses) {
    if (witness.seq != seq) continue;
    witness = Witness{};
    changed(&witness, sizeof witness);
    flush();
  }
}

}  // namespace rq::worker
