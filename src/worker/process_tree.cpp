#include "worker/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/bytes.h"
#include "worker/spawn.h"

namespace rq::worker {
namespace {

// Of the environment of a process, to find a mark in it.
constexpr std::size_t kEnvironReadBytesMax = 4 * base::kMiB;

std::string read_small(const std::string& path, std::size_t bytes_max) {
  const base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  if (!file.is_open()) return text;
  while (text.size() < bytes_max) {
    const std::size_t at = text.size();
    text.resize(std::min(bytes_max, at + 4096));
    const ssize_t n = ::read(file.get(), text.data() + at, text.size() - at);
    text.resize(at + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n <= 0) break;
  }
  return text;
}

// The numbers of /proc/PID/stat after the name, which is in brackets and may hold anything.
std::optional<Process> parse_stat(pid_t pid, const std::string& text) {
  const std::size_t bracket = text.rfind(')');
  if (bracket == std::string::npos || bracket + 4 > text.size()) return std::nullopt;
  const char state = text[bracket + 2];
  if (state == 'Z' || state == 'X') return std::nullopt;
  // From field 4 (ppid) on; proc(5) counts from 1.
  std::array<std::int64_t, 21> field{};
  const char* at = text.data() + bracket + 4;
  const char* const end = text.data() + text.size();
  for (std::int64_t& value : field) {
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc{}) {
      // An unsigned field beyond the signed range: of none that is used here.
      while (at < end && *at != ' ') ++at;
    } else {
      at = next;
    }
    if (at < end) ++at;
  }
  static const std::int64_t page_bytes = ::sysconf(_SC_PAGESIZE);
  return Process{.pid = pid,
                 .parent = static_cast<pid_t>(field[0]),
                 .group = static_cast<pid_t>(field[1]),
                 .session = static_cast<pid_t>(field[2]),
                 .start_ticks = static_cast<std::uint64_t>(field[18]),
                 .rss_bytes = field[20] * page_bytes};
}

}  // namespace

ProcessTable ProcessTable::read() {
  ProcessTable table;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc"), ::closedir);
  if (!folder) return table;
  while (const dirent* entry = ::readdir(folder.get())) {
    const char* const name = entry->d_name;
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name, name + std::strlen(name), pid);
    if (error != std::errc{} || *end != '\0') continue;
    const auto process = parse_stat(pid, read_small("/proc/" + std::string(name) + "/stat", 4096));
    if (process) table.processes_.push_back(*process);
  }
  std::sort(table.processes_.begin(), table.processes_.end(),
            [](const Process& a, const Process& b) { return a.pid < b.pid; });
  return table;
}

std::vector<Process> ProcessTable::tree_of(pid_t leader, bool reaped,
                                           std::string_view cookie) const {
  const pid_t worker = ::getpid();
  const bool number_reused =
      reaped && std::any_of(processes_.begin(), processes_.end(),
                            [leader](const Process& p) { return p.pid == leader; });
  std::vector<bool> member(processes_.size());
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    const Process& p = processes_[i];
    if (p.pid == leader || p.group == leader || p.session == leader) {
      member[i] = !number_reused;
    } else if (p.parent == worker && p.session != worker) {
      // An orphan of some attempt: the worker is the subreaper.
      member[i] = has_environment(p.pid, cookie, true);
    }
  }
  return closure(std::move(member));
}

std::vector<Process> ProcessTable::with_environment(std::string_view prefix) const {
  std::vector<bool> member(processes_.size());
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    member[i] =
        processes_[i].pid != ::getpid() && has_environment(processes_[i].pid, prefix, false);
  }
  return closure(std::move(member));
}

std::vector<Process> ProcessTable::closure(std::vector<bool> member) const {
  std::unordered_map<pid_t, std::vector<std::size_t>> children;
  for (std::size_t i = 0; i < processes_.size(); ++i) children[processes_[i].parent].push_back(i);
  std::vector<Process> found;
  std::vector<std::size_t> todo;
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    if (member[i]) todo.push_back(i);
  }
  while (!todo.empty()) {
    const std::size_t i = todo.back();
    todo.pop_back();
    found.push_back(processes_[i]);
    const auto below = children.find(processes_[i].pid);
    if (below == children.end()) continue;
    for (const std::size_t child : below->second) {
      if (member[child]) continue;
      member[child] = true;
      todo.push_back(child);
    }
  }
  return found;
}

bool has_environment(pid_t pid, std::string_view prefix, bool exact) {
  const std::string text =
      read_small("/proc/" + std::to_string(pid) + "/environ", kEnvironReadBytesMax);
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\0');
    const std::string_view entry = rest.substr(0, end);
    if (exact ? entry == prefix : entry.starts_with(prefix)) return true;
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  return false;
}

}  // namespace rq::worker
