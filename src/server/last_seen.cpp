#include "server/last_seen.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "base/machine.h"

namespace rq::server {
namespace {

using base::Code;
using base::fail;
using base::Result;
using std::chrono::nanoseconds;

// One line: the run of the machine, its clock, the server's time; nanoseconds. Always as long, so
// that it is written over whole.
constexpr std::size_t kLineBytes = 80;

struct Seen {
  std::string run;
  pipeline::Clock::Mark mark;
};

std::optional<Seen> read_seen(int fd) {
  std::array<char, kLineBytes> line{};
  if (::pread(fd, line.data(), line.size(), 0) != static_cast<ssize_t>(line.size())) return {};
  std::istringstream in(std::string(line.data(), line.size()));
  Seen seen;
  std::int64_t since_boot = 0;
  std::int64_t time = 0;
  if (!(in >> seen.run >> since_boot >> time) || since_boot < 0 || time < 0) return {};
  seen.mark = {.since_boot = nanoseconds{since_boot}, .time = nanoseconds{time}};
  return seen;
}

}  // namespace

Result<LastSeen> LastSeen::open(const std::filesystem::path& file, pipeline::Clock& clock) {
  base::Fd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  struct stat info {};
  if (!fd.is_open() || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return fail(Code::internal,
                fmt::format("cannot write {}: {}", file.string(),
                            fd.is_open() ? "it is not a file" : base::text_of_errno(errno)),
                "remove it, or see to its rights and to the disk; until then leases end by the "
                "wall clock while no server runs");
  }
  std::string run = base::run_of_machine();
  if (const auto seen = read_seen(fd.get())) {
    clock.go_on_from(seen->mark, !run.empty() && seen->run == run);
  }
  return LastSeen(std::move(fd), std::move(run));
}

void LastSeen::note(const pipeline::Clock& clock) const {
  const pipeline::Clock::Mark mark = clock.mark();
  std::string line = fmt::format("{} {} {}", run_.empty() ? "?" : run_, mark.since_boot.count(),
                                 mark.time.count());
  line.resize(kLineBytes - 1, ' ');
  line += '\n';
  // What cannot be written now may be written in a second; nothing depends on it.
  if (::pwrite(fd_.get(), line.data(), line.size(), 0) < 0) return;
}

}  // namespace rq::server
