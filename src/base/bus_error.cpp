#include "base/bus_error.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <system_error>

namespace rq::base {
namespace {

// In a handler of a signal nothing may be called that allocates or locks.

constexpr std::size_t kLineMax = 8192;  // of /proc/self/maps: a path, and some numbers before it

const char* name_of_process = "rq";

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

// A line of /proc/self/maps: FROM-END and four words, then the path of the file.
std::string_view file_at(std::string_view line, std::uintptr_t address) {
  std::uintptr_t from = 0;
  std::uintptr_t end = 0;
  const char* const stop = line.data() + line.size();
  const auto first = std::from_chars(line.data(), stop, from, 16);
  if (first.ec != std::errc{} || first.ptr == stop) return {};
  const auto second = std::from_chars(first.ptr + 1, stop, end, 16);
  if (second.ec != std::errc{} || address < from || address >= end) return {};
  const std::size_t path = line.find('/');
  return path == std::string_view::npos ? std::string_view{} : line.substr(path);
}

// Calls each(line) for the lines of a file until it gives something.
template <typename Each>
std::string_view find_line(int file, std::array<char, kLineMax>& buffer, Each each) {
  std::size_t kept = 0;
  for (;;) {
    const ssize_t n = ::read(file, buffer.data() + kept, buffer.size() - kept);
    if (n <= 0) return {};
    kept += static_cast<std::size_t>(n);
    std::string_view rest{buffer.data(), kept};
    for (std::size_t end = 0; (end = rest.find('\n')) != std::string_view::npos;) {
      if (const std::string_view found = each(rest.substr(0, end)); !found.empty()) return found;
      rest.remove_prefix(end + 1);
    }
    if (rest.size() == buffer.size()) rest = {};
    std::memmove(buffer.data(), rest.data(), rest.size());
    kept = rest.size();
  }
}

void handle(int /*signal*/, siginfo_t* info, void* /*context*/) {
  if (info->si_code <= 0) {  // somebody has sent it
    ::raise(SIGBUS);
    return;
  }
  static std::array<char, kLineMax> buffer;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  const int maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  const std::string_view file =
      maps < 0 ? std::string_view{} : find_line(maps, buffer, [address](std::string_view line) {
        return file_at(line, address);
      });
  write_all(name_of_process);
  write_all(": it ends with a bus error: the file ");
  write_all(file.empty() ? "that it had in memory" : file);
  write_all(
      " was cut while it was in use, or its disk is full or cannot read it: see to the disk, and "
      "start it again\n");
  // It was reset to the default action: touching the page once more ends the process.
}

}  // namespace

void name_file_of_bus_error(const char* who) {
  name_of_process = who;
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND);
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace rq::base
