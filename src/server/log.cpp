#include "server/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/fd.h"
#include "base/log.h"

namespace rq::server {
namespace {

constexpr int kFileMode = 0640;  // of a file that is made anew

std::string file_of_stderr() {
  struct stat info {};
  if (::fstat(STDERR_FILENO, &info) != 0 || !S_ISREG(info.st_mode)) return {};
  std::error_code error;
  const auto name = std::filesystem::read_symlink("/proc/self/fd/2", error);
  return error ? std::string{} : name.string();
}

}  // namespace

Log::Log(const std::string& level) : file_(file_of_stderr()) {
  base::log_to_stderr("server");
  set_level(level);
}

void Log::set_level(const std::string& level) { spdlog::set_level(spdlog::level::from_str(level)); }

base::Result<void> Log::reopen() const {
  if (file_.empty()) return {};
  const int fd =
      ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kFileMode);
  if (fd < 0) {
    return base::fail(
        base::Code::internal,
        fmt::format("cannot open the log '{}': {}", file_, base::text_of_errno(errno)),
        "see to the rights of its folder, and send SIGHUP again");
  }
  ::dup2(fd, STDERR_FILENO);
  ::close(fd);
  return {};
}

}  // namespace rq::server
