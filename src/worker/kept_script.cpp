#include "worker/kept_script.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "worker/process_tree.h"
#include "worker/shared_memory.h"

namespace rq::worker {
namespace {

using base::Code;
using base::fail;
using base::Result;

constexpr std::uint32_t kVersion = 3;
constexpr std::size_t kDestBytesMax = 400;  // longer than any name of a queue

// Of KeptScript::exited.
constexpr std::uint32_t kSeen = 1;
constexpr std::uint32_t kUnseen = 2;

constexpr std::int64_t kMicros = 1'000'000;

std::int64_t micros(const timeval& t) { return t.tv_sec * kMicros + t.tv_usec; }

}  // namespace

// --- One script ---

void KeptScript::start_anew() {
  std::atomic_ref(pid).store(0, std::memory_order_release);
  exited = ended = 0;
  from_script = to_script = log = -1;
  cause = 0;
  timeout_ns = std::numeric_limits<std::int64_t>::max();
  spoke = decisive = 0;
  dups_done = lease_ms = 0;
  text.size = line.size = unknown.size = 0;
  dups_begin = dups_end = 0;
}

void KeptScript::note(const wire::PipeVerdict& verdict) {
  text.set(verdict.text);
  unknown.set(verdict.unknown);
  delay_s = verdict.delay_s;
  decisive = verdict.decisive ? static_cast<std::uint8_t>(1 + static_cast<int>(*verdict.decisive))
                              : std::uint8_t{0};
  spoke = verdict.spoke ? 1 : 0;
}

wire::PipeVerdict KeptScript::verdict() const {
  wire::PipeVerdict out;
  out.spoke = spoke != 0;
  if (decisive != 0) out.decisive = static_cast<wire::PipeWord>(decisive - 1);
  out.delay_s = delay_s;
  out.text = text.view();
  out.unknown = unknown.view();
  return out;
}

std::array<std::string, 3> KeptScript::files() const {
  return names_of_files({from_script, to_script, log});
}

void KeptScript::close_files() {
  for (std::int32_t* const fd : {&from_script, &to_script, &log}) {
    if (*fd >= 0) ::close(std::exchange(*fd, -1));
  }
}

void KeptScript::note_exit(int wait_status, const rusage& used) {
  status = wait_status;
  user_us = micros(used.ru_utime);
  system_us = micros(used.ru_stime);
  rss_kib = used.ru_maxrss;
  std::atomic_ref(exited).store(kSeen, std::memory_order_release);
}

void KeptScript::note_unseen_exit() {
  status = SIGKILL;  // to a program that asks no further
  user_us = system_us = rss_kib = 0;
  std::atomic_ref(exited).store(kUnseen, std::memory_order_release);
}

bool KeptScript::was_seen() const { return exited == kSeen; }

bool KeptScript::has_exited() {
  return std::atomic_ref(exited).load(std::memory_order_acquire) != 0;
}

rusage KeptScript::usage() const {
  rusage used{};
  used.ru_utime = {.tv_sec = user_us / kMicros, .tv_usec = user_us % kMicros};
  used.ru_stime = {.tv_sec = system_us / kMicros, .tv_usec = system_us % kMicros};
  used.ru_maxrss = rss_kib;
  return used;
}

// Its log is about to be closed: then the number means another file.
bool KeptScript::note_end(std::string_view json) {
  if (json.size() > kEndBytes) return false;
  report.set(json);
  std::atomic_ref(ended).store(1, std::memory_order_release);
  log = -1;
  return true;
}

bool KeptScript::has_ended() { return std::atomic_ref(ended).load(std::memory_order_acquire) != 0; }

// As the script has written it, but for what nobody reads.
void KeptScript::add_dup(std::string_view said, std::string_view dest, std::int64_t delay) {
  const std::string whole =
      dest.empty() ? fmt::format("dup {}\n", said.substr(0, kDestBytesMax))
                   : fmt::format("dup {}-X-{}\n", delay, dest.substr(0, kDestBytesMax));
  if (dups_end + whole.size() > dups.size()) {
    std::memmove(dups.data(), dups.data() + dups_begin, dups_end - dups_begin);
    dups_end -= std::exchange(dups_begin, 0);
  }
  if (dups_end + whole.size() > dups.size()) return;
  std::memcpy(dups.data() + dups_end, whole.data(), whole.size());
  dups_end += static_cast<std::uint32_t>(whole.size());
}

void KeptScript::drop_dup() {
  const std::string_view rest(dups.data() + dups_begin, dups_end - dups_begin);
  const std::size_t end = rest.find('\n');
  dups_begin =
      end == std::string_view::npos ? dups_end : dups_begin + static_cast<std::uint32_t>(end) + 1;
  if (dups_begin == dups_end) dups_begin = dups_end = 0;
}

std::vector<std::string> KeptScript::waiting_dups() const {
  std::vector<std::string> lines;
  std::string_view rest(dups.data() + dups_begin, dups_end - dups_begin);
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size() - 1);
    lines.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  return lines;
}

// --- All of them ---

struct KeptMemory::Table {
  std::array<char, 4> magic;  // "RQKS"
  std::uint32_t version;
  std::uint64_t serial;
  Past past;
  std::int32_t top;  // no slot from here on was ever used
  std::array<KeptScript, kScriptsMax> scripts;
};

Result<std::unique_ptr<KeptMemory>> KeptMemory::map(base::Fd file) {
  std::unique_ptr<KeptMemory> memory(new KeptMemory);
  memory->file_ = std::move(file);
  void* const at =
      ::mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd(), 0);
  if (at == MAP_FAILED) {
    return fail(Code::internal,
                fmt::format("memory for running scripts: {}", base::text_of_errno(errno)));
  }
  memory->table_ = static_cast<Table*>(at);
  return memory;
}

Result<std::unique_ptr<KeptMemory>> KeptMemory::make() {
  base::Fd file = make_shared_memory("rq-scripts", sizeof(Table));
  if (!file.is_open()) {
    return fail(Code::internal,
                fmt::format("memory for running scripts: {}", base::text_of_errno(errno)));
  }
  RQ_TRY_ASSIGN(memory, map(std::move(file)));
  memory->table_->magic = {'R', 'Q', 'K', 'S'};
  memory->table_->version = kVersion;
  return memory;
}

Result<std::unique_ptr<KeptMemory>> KeptMemory::take_over(base::Fd file) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0 || info.st_size != static_cast<off_t>(sizeof(Table))) {
    return fail(Code::bad_value, "what the worker before this one has kept is not readable");
  }
  RQ_TRY_ASSIGN(memory, map(std::move(file)));
  if (memory->table_->magic != std::array<char, 4>{'R', 'Q', 'K', 'S'} ||
      memory->table_->version != kVersion) {
    return fail(Code::bad_value, "what the worker before this one has kept has another form");
  }
  return memory;
}

KeptMemory::~KeptMemory() {
  if (table_ != nullptr) ::munmap(table_, sizeof(Table));
}

KeptScript* KeptMemory::at(int slot) {
  if (slot < 0 || slot >= static_cast<int>(kScriptsMax)) return nullptr;
  table_->top = std::max(table_->top, slot + 1);
  return &table_->scripts.at(static_cast<std::size_t>(slot));
}

std::uint64_t KeptMemory::next_serial() { return ++table_->serial; }

KeptMemory::Past& KeptMemory::past() { return table_->past; }

void KeptMemory::note_exit(int pid, int status, const rusage& usage) {
  for (int slot = 0; slot < table_->top; ++slot) {
    KeptScript& script = table_->scripts.at(static_cast<std::size_t>(slot));
    if (script.pid == pid && script.exited == 0) script.note_exit(status, usage);
  }
}

}  // namespace rq::worker
