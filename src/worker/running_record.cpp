#include "worker/running_record.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "worker/process_tree.h"

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
constexpr std::size_t kTokenBytes = 72;  // three 64-bit numbers and dots
constexpr int kKillRounds = 50;
constexpr int kKillWaitMs = 100;

struct Entry {
  std::uint32_t used;  // written last, cleared first
  std::int32_t pid;
  std::uint64_t start_ticks_min;
  std::uint64_t start_ticks_max;
  char token[kTokenBytes];
};
static_assert(sizeof(Entry) == 96);

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

// Which run of the machine: process numbers of another one mean nothing.
std::array<char, 40> machine_boot() {
  std::array<char, 40> id{};
  const base::Fd file(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  if (file.is_open() && ::read(file.get(), id.data(), id.size() - 1) < 0) id.fill(0);
  return id;
}

}  // namespace

struct RunningRecord::Table {
  char magic[4];  // "RQRR"
  std::uint32_t version;
  std::uint32_t left;  // 1: by leave()
  std::array<char, 40> boot;
  char mark[32];
  std::array<Witness, kWitnessesMax> witnesses;
  std::array<Entry, kRunningRecordsMax> entries;
};

Result<std::unique_ptr<RunningRecord>> RunningRecord::open(const std::string& path) {
  std::unique_ptr<RunningRecord> record(new RunningRecord);
  record->file_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  struct stat info {};
  if (!record->file_.is_open() || ::fstat(record->file_.get(), &info) != 0 ||
      ::ftruncate(record->file_.get(), sizeof(Table)) != 0) {
    return fail(Code::internal, fmt::format("'{}': {}", path, base::text_of_errno(errno)),
                "see to the disk and to the rights of the folder");
  }
  void* const memory =
      ::mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED, record->file_.get(), 0);
  if (memory == MAP_FAILED) {
    return fail(Code::internal, fmt::format("'{}': {}", path, base::text_of_errno(errno)));
  }
  record->table_ = static_cast<Table*>(memory);
  Table& table = *record->table_;
  if (std::memcmp(table.magic, "RQRR", 4) != 0 || table.version != kVersion ||
      info.st_size != static_cast<off_t>(sizeof(Table))) {
    table.witnesses.fill({});
    record->start_anew();
  }
  return record;
}

RunningRecord::~RunningRecord() {
  if (table_ != nullptr) ::munmap(table_, sizeof(Table));
}

void RunningRecord::start_anew() {
  for (Entry& entry : table_->entries) {
    if (entry.used != 0) entry = Entry{};
  }
  std::memcpy(table_->magic, "RQRR", 4);
  table_->version = kVersion;
  table_->left = 0;
  table_->boot = machine_boot();
  std::uint64_t random = 0;
  RQ_CHECK(::getrandom(&random, sizeof random, 0) == sizeof random);
  mark_ = fmt::format("RQ_RUN={:016x}.", random);
  std::memset(table_->mark, 0, sizeof table_->mark);
  mark_.copy(table_->mark, sizeof table_->mark - 1);
  free_.clear();
  for (int slot = static_cast<int>(kRunningRecordsMax) - 1; slot >= 0; --slot) {
    free_.push_back(slot);
  }
}

RunningRecord::Leftovers RunningRecord::clean_up() {
  Leftovers out;
  table_->mark[sizeof table_->mark - 1] = '\0';
  const std::string old_mark = table_->mark;
  std::vector<Entry> old;
  for (const Entry& entry : table_->entries) {
    if (entry.used != 0) old.push_back(entry);
  }
  std::array<Witness, kWitnessesMax> before{};
  std::swap(before, table_->witnesses);
  std::size_t noted = 0;
  for (Entry& entry : old) {
    entry.token[kTokenBytes - 1] = '\0';
    if (entry.pid == kNotBegun || table_->left != 0) {
      out.not_begun.emplace_back(entry.token);
      continue;
    }
    Witness now{.seq = seq_of(entry.token), .deaths = 1};
    for (const Witness& witness : before) {
      if (witness.seq == now.seq) now.deaths += witness.deaths;
    }
    if (noted < kWitnessesMax) table_->witnesses.at(noted++) = now;
    out.begun.push_back({.token = entry.token, .deaths = now.deaths});
  }
  // Who waits for its turn among the suspects stays one.
  for (const Witness& witness : before) {
    const bool again = std::any_of(out.begun.begin(), out.begun.end(), [&witness](const auto& b) {
      return seq_of(b.token) == witness.seq;
    });
    if (!again && witness.deaths >= kSuspectDeaths && noted < kWitnessesMax) {
      table_->witnesses.at(noted++) = witness;
    }
  }
  const bool same_run = table_->boot == machine_boot();
  // A few rounds, because a tree can grow while it is being killed.
  for (int round = 0; same_run && !old_mark.empty() && round < kKillRounds; ++round) {
    const ProcessTable now = ProcessTable::read();
    std::vector<Process> left = now.with_environment(old_mark);
    for (const Process& p : now.all()) {
      const bool known = std::any_of(old.begin(), old.end(), [&p](const Entry& entry) {
        if (entry.pid <= 0) return false;  // nothing is known of it but its mark
        const bool leader = p.pid == entry.pid && p.start_ticks <= entry.start_ticks_max;
        const bool member = p.session == entry.pid && p.pid != entry.pid;
        return (leader || member) && p.start_ticks >= entry.start_ticks_min;
      });
      if (known) left.push_back(p);
    }
    if (left.empty()) break;
    if (round == 0) out.processes = left.size();
    for (const Process& p : left) {
      // By descriptor, so that it is the process that was looked at, or none.
      const base::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, p.pid, 0)));
      if (!process.is_open()) continue;
      ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
      pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
      ::poll(&ended, 1, kKillWaitMs);
    }
  }
  start_anew();
  return out;
}

int RunningRecord::add(std::string_view token) { return take(token, kNotBegun); }

int RunningRecord::begin(std::string_view token) { return take(token, kStarting); }

void RunningRecord::began(int slot, const Spawned& process) {
  if (slot < 0) return;
  Entry& entry = table_->entries.at(static_cast<std::size_t>(slot));
  entry.start_ticks_min = process.start_ticks_min;
  entry.start_ticks_max = process.start_ticks_max;
  std::atomic_ref(entry.pid).store(process.pid, std::memory_order_release);
}

int RunningRecord::take(std::string_view token, std::int32_t pid) {
  if (free_.empty() || token.size() >= kTokenBytes) return -1;
  const int slot = free_.back();
  free_.pop_back();
  Entry& entry = table_->entries.at(static_cast<std::size_t>(slot));
  entry.pid = pid;
  std::memset(entry.token, 0, kTokenBytes);
  token.copy(entry.token, kTokenBytes - 1);
  std::atomic_ref(entry.used).store(1, std::memory_order_release);
  return slot;
}

void RunningRecord::remove(int slot) {
  if (slot < 0) return;
  std::atomic_ref(table_->entries.at(static_cast<std::size_t>(slot)).used)
      .store(0, std::memory_order_release);
  free_.push_back(slot);
}

void RunningRecord::leave() { table_->left = 1; }

bool RunningRecord::is_suspect(std::int64_t seq) const {
  return std::any_of(table_->witnesses.begin(), table_->witnesses.end(), [seq](const Witness& w) {
    return w.seq == seq && w.deaths >= kSuspectDeaths;
  });
}

void RunningRecord::clear(std::int64_t seq) {
  for (Witness& witness : table_->witnesses) {
    if (witness.seq == seq) witness = Witness{};
  }
}

}  // namespace rq::worker
