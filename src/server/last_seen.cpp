#include "server/last_seen.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "base/crc32c.h"
#include "base/machine.h"

namespace rq::server {
namespace {

using base::Code;
using base::fail;
using base::Result;
using std::chrono::nanoseconds;

// One line: the run of the machine, its clock, the server's time, the steps of the wall clock that
// were followed lately, how long ago (all in nanoseconds), and the checksum of what stands before
// it. Always as long, so that it is written over whole. rq 0.1 at first wrote a shorter one,
// without the steps: that one is read as well.
constexpr std::size_t kLineBytes = 160;
constexpr std::size_t kShortLineBytes = 96;

struct Seen {
  std::string run;
  pipeline::Clock::Mark mark;
};

std::string line_of(const Seen& seen, std::size_t bytes = kLineBytes) {
  std::string line = fmt::format("{} {} {} ", seen.run.empty() ? "?" : seen.run,
                                 seen.mark.since_boot.count(), seen.mark.time.count());
  if (bytes == kLineBytes) {
    line += fmt::format("{} {} ", seen.mark.followed.count(), seen.mark.followed_ago.count());
  }
  line += fmt::to_string(base::crc32c(0, line));
  line.resize(bytes - 1, ' ');
  return line + '\n';
}

std::optional<Seen> read_seen(int fd) {
  std::array<char, kLineBytes> line{};
  const ssize_t bytes = ::pread(fd, line.data(), line.size(), 0);
  const bool is_short = bytes == static_cast<ssize_t>(kShortLineBytes);
  if (!is_short && bytes != static_cast<ssize_t>(kLineBytes)) return {};
  const std::string text(line.data(), static_cast<std::size_t>(bytes));
  std::istringstream in(text);
  Seen seen;
  std::int64_t since_boot = 0;
  std::int64_t time = 0;
  std::int64_t followed = 0;
  std::int64_t ago = 0;
  if (!(in >> seen.run >> since_boot >> time)) return {};
  if (!is_short && !(in >> followed >> ago)) return {};
  seen.mark = {.since_boot = nanoseconds{since_boot},
               .time = nanoseconds{time},
               .followed = nanoseconds{followed},
               .followed_ago = nanoseconds{ago}};
  if (line_of(seen, text.size()) != text) return {};
  return seen;
}

base::Fd open_seen(const std::filesystem::path& file) {
  return base::open_plain_file(file.string(), O_RDWR | O_CREAT);
}

}  // namespace

Result<LastSeen> LastSeen::open(const std::filesystem::path& file, pipeline::Clock& clock) {
  base::Fd fd = open_seen(file);
  if (!fd.is_open()) {
    return fail(Code::internal,
                fmt::format("cannot write {}: {}", file.string(), base::text_of_errno(errno)),
                "remove it, or see to its rights and to the disk; until then leases end by the "
                "wall clock while no server runs");
  }
  std::string run = base::run_of_machine();
  if (const auto seen = read_seen(fd.get())) {
    clock.go_on_from(seen->mark, !run.empty() && seen->run == run);
  }
  return LastSeen(file, std::move(fd), std::move(run));
}

void LastSeen::note(const pipeline::Clock& clock) {
  if (!base::is_file_of(file_.string(), fd_.get())) {
    if (base::Fd anew = open_seen(file_); anew.is_open()) fd_ = std::move(anew);
  }
  const std::string line = line_of({.run = run_, .mark = clock.mark()});
  const bool written =
      ::pwrite(fd_.get(), line.data(), line.size(), 0) == static_cast<ssize_t>(line.size());
  if (!written && !std::exchange(fails_, true)) {
    spdlog::warn(
        "run/server.seen cannot be written: leases end by the wall clock while no server "
        "runs");
  }
}

}  // namespace rq::server
