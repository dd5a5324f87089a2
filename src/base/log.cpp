#include "base/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <utility>

namespace rq::base {
namespace {

constexpr long kNanosPerMilli = 1'000'000;

// The place of log_time() in a pattern.
class TimeFlag : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& /*message*/, const std::tm& /*time*/,
              spdlog::memory_buf_t& out) override {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    const std::string text = log_time(now);
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<TimeFlag>();
  }
};

void append_to(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0) ::fcntl(fd, F_SETFL, flags | O_APPEND);
}

}  // namespace

std::string log_time(const timespec& t) {
  tm local{};
  ::localtime_r(&t.tv_sec, &local);
  const long minutes = std::labs(local.tm_gmtoff) / 60;
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}{}{:02}:{:02}",
                     local.tm_year + 1900L, local.tm_mon + 1, local.tm_mday, local.tm_hour,
                     local.tm_min, local.tm_sec, t.tv_nsec / kNanosPerMilli,
                     local.tm_gmtoff < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

void log_to_stderr(std::string_view program) {
  append_to(STDOUT_FILENO);
  append_to(STDERR_FILENO);
  auto log = spdlog::stderr_logger_mt("rq");
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<TimeFlag>('*').set_pattern(fmt::format("%* {} %l %v", program));
  log->set_formatter(std::move(formatter));
  spdlog::set_default_logger(std::move(log));
}

}  // namespace rq::base
