#include "worker/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/bytes.h"
#include "base/whole_file.h"
#include "worker/spawn.h"

namespace rq::worker {
namespace {

// Of the environment of a process, to find a mark in it.
constexpr std::size_t kEnvironReadBytesMax = 4 * base::kMiB;
constexpr std::size_t kStatBytesMax = 4 * base::kKiB;  // of a page that the kernel writes

std::string read_small(const std::string& path, std::size_t bytes_max) {
  const base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return base::read_whole(file.get(), bytes_max);
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

std::string link_text(const std::string& path) {
  std::array<char, PATH_MAX> text{};
  const ssize_t n = ::readlink(path.c_str(), text.data(), text.size());
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0))};
}

// Calls each(NAME, LINK) for the open files of a process, until it says that it has seen enough.
template <typename Each>
bool any_file(pid_t pid, const Each& each) {
  const std::string path = fmt::format("/proc/{}/fd", pid);
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
  if (!folder) return false;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string_view name(entry->d_name);
    if (name[0] != '.' && each(name, link_text(fmt::format("{}/{}", path, name)))) return true;
  }
  return false;
}

bool holds(pid_t pid, std::span<const std::string> files) {
  return any_file(pid, [files](std::string_view /*name*/, const std::string& link) {
    return std::find(files.begin(), files.end(), link) != files.end();
  });
}

// Of whichever attempt.
bool holds_any_attempt(pid_t pid) {
  return any_file(pid, [](std::string_view name, const std::string& link) {
    const bool piped = (name == "3" || name == "4") && link.starts_with("pipe:");
    return piped || link.find("/job/stdio.log") != std::string::npos;
  });
}

}  // namespace

std::optional<Process> read_process(pid_t pid) {
  return parse_stat(pid, read_small(fmt::format("/proc/{}/stat", pid), kStatBytesMax));
}

ProcessTable ProcessTable::read() {
  ProcessTable table;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc"), ::closedir);
  if (!folder) return table;
  while (const dirent* entry = ::readdir(folder.get())) {
    const char* const name = entry->d_name;
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name, name + std::strlen(name), pid);
    if (error != std::errc{} || *end != '\0') continue;
    if (const auto process = read_process(pid)) table.processes_.push_back(*process);
  }
  std::sort(table.processes_.begin(), table.processes_.end(),
            [](const Process& a, const Process& b) { return a.pid < b.pid; });
  return table;
}

std::vector<Process> ProcessTable::members(const TreeMarks& marks, const Stays& stays) const {
  const pid_t worker = ::getpid();
  const pid_t holder = ::getppid();  // has those that a worker before this one has left
  const Process* const top = marks.orphaned ? find(holder) : nullptr;
  const pid_t above = top != nullptr ? top->parent : holder;
  const pid_t own_session = ::getsid(0);
  const bool number_reused =
      marks.reaped && std::any_of(processes_.begin(), processes_.end(),
                                  [&marks](const Process& p) { return p.pid == marks.leader; });
  std::vector<bool> member(processes_.size());
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    const Process& p = processes_[i];
    if (p.pid == marks.leader || p.group == marks.leader || p.session == marks.leader) {
      member[i] = !number_reused;
    } else if ((p.parent == worker || p.parent == holder || p.parent == above) &&
               p.session != own_session) {
      // An orphan of some attempt: worker and holder are its subreapers.
      member[i] = has_environment(p.pid, marks.cookie, true) || holds(p.pid, marks.files);
    }
    member[i] = member[i] && !stays(p);
  }
  return closure(std::move(member), stays);
}

std::vector<Process> ProcessTable::tree_of(const TreeMarks& marks) const {
  return members(marks, [](const Process&) { return false; });
}

std::vector<Process> ProcessTable::left_of(const TreeMarks& marks) const {
  return members(marks, [&marks](const Process& p) {
    const bool has_left =
        p.pid != marks.leader && p.group != marks.leader && p.session != marks.leader;
    return has_left && !holds(p.pid, marks.files);
  });
}

std::vector<Process> ProcessTable::with_environment(std::string_view prefix) const {
  const Stays stays = [](const Process& p) { return !holds_any_attempt(p.pid); };
  std::vector<bool> member(processes_.size());
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    const Process& p = processes_[i];
    member[i] = p.pid != ::getpid() && has_environment(p.pid, prefix, false) && !stays(p);
  }
  return closure(std::move(member), stays);
}

const Process* ProcessTable::find(pid_t pid) const {
  const auto found =
      std::lower_bound(processes_.begin(), processes_.end(), pid,
                       [](const Process& p, pid_t sought) { return p.pid < sought; });
  return found != processes_.end() && found->pid == pid ? &*found : nullptr;
}

std::optional<bool> ProcessTable::is_below(pid_t pid, pid_t ancestor) const {
  // A number that was used again while the table was read may lead in a circle.
  for (std::size_t steps = 0; pid > 1 && steps <= processes_.size(); ++steps) {
    const Process* const process = find(pid);
    if (process == nullptr) return std::nullopt;
    pid = process->parent;
    if (pid == ancestor) return true;
  }
  return false;
}

std::vector<Process> ProcessTable::closure(std::vector<bool> member, const Stays& stays) const {
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
      if (member[child] || stays(processes_[child])) continue;
      member[child] = true;
      todo.push_back(child);
    }
  }
  return found;
}

// That of a pipe (ours have no name in a folder) is made of its number, which costs less than the
// walk through /proc.
std::string name_of_file(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISFIFO(info.st_mode)) {
    return fmt::format("pipe:[{}]", info.st_ino);
  }
  return link_text(fmt::format("/proc/self/fd/{}", fd));
}

std::array<std::string, 3> names_of_files(const std::array<int, 3>& fds) {
  std::array<std::string, 3> names;
  for (std::size_t i = 0; i < fds.size(); ++i) {
    names.at(i) = fds.at(i) >= 0 ? name_of_file(fds.at(i)) : std::string("closed");
  }
  return names;
}

std::optional<std::int64_t> proportional_bytes(pid_t pid) {
  constexpr std::string_view kField = "\nPss:";
  const std::string text = read_small(fmt::format("/proc/{}/smaps_rollup", pid), kStatBytesMax);
  if (text.empty() && (errno == ESRCH || (::kill(pid, 0) != 0 && errno == ESRCH))) return 0;
  const std::size_t at = text.find(kField);
  if (at == std::string::npos) return std::nullopt;
  const std::size_t digits = text.find_first_not_of(' ', at + kField.size());
  std::int64_t kib = 0;
  if (digits == std::string::npos ||
      std::from_chars(text.data() + digits, text.data() + text.size(), kib).ec != std::errc{}) {
    return std::nullopt;
  }
  return kib * 1024;
}

base::Fd open_own_children() {
  return base::Fd(::open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC));
}

std::optional<std::size_t> count_children(const base::Fd& file) {
  if (!file.is_open()) return std::nullopt;
  std::array<char, 4096> part{};
  std::size_t count = 0;
  off_t at = 0;
  while (true) {
    const ssize_t n = ::pread(file.get(), part.data(), part.size(), at);
    if (n <= 0) return count;
    count += static_cast<std::size_t>(std::count(part.begin(), part.begin() + n, ' '));
    at += n;
  }
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
