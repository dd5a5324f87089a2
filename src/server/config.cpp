#include "server/config.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>

namespace rq::server {
namespace {

using base::Code;
using base::fail;
using base::Result;

constexpr std::array<std::string_view, 5> kLevels{"trace", "debug", "info", "warn", "error"};

base::Error wrong(const std::string& file, std::string_view key, std::string_view wanted) {
  return fail(Code::bad_value, fmt::format("{}: '{}' has a value of the wrong kind", file, key),
              fmt::format("give {}", wanted));
}

Result<void> apply(const std::string& file, std::string_view key, const toml::node& value,
                   ServerConfig& config) {
  const auto text = [&](std::string& out) -> Result<void> {
    const auto given = value.value_exact<std::string>();
    if (!given) return wrong(file, key, "a text in quotes");
    out = *given;
    return {};
  };
  const auto flag = [&](bool& out) -> Result<void> {
    const auto given = value.value_exact<bool>();
    if (!given) return wrong(file, key, "true or false");
    out = *given;
    return {};
  };
  const auto number = [&](std::int64_t& out, std::int64_t min, std::int64_t max) -> Result<void> {
    const auto given = value.value_exact<std::int64_t>();
    const std::string wanted = fmt::format("a number from {} to {}", min, max);
    if (!given) return wrong(file, key, wanted);
    if (*given < min || *given > max) {
      return fail(Code::bad_value, fmt::format("{}: {} = {} is out of range", file, key, *given),
                  fmt::format("give {}", wanted));
    }
    out = *given;
    return {};
  };
  if (key == "http") return text(config.http);
  if (key == "beanstalk") return text(config.beanstalk);
  if (key == "log_level") return text(config.log_level);
  if (key == "beanstalk_job_bytes_max") {
    return number(config.beanstalk_job_bytes_max, kJobBytesMin, kJobBytesMax);
  }
  if (key == "wal_bytes") return number(config.wal_bytes, kWalBytesMin, kWalBytesMax);
  if (key == "cache_bytes") return number(config.cache_bytes, kCacheBytesMin, kCacheBytesMax);
  if (key == "define_over_tcp") return flag(config.define_over_tcp);
  if (key == "worker") return flag(config.worker);
  return fail(Code::unknown_field, fmt::format("{}: there is no setting '{}'", file, key),
              "the settings are http, define_over_tcp, beanstalk, beanstalk_job_bytes_max, "
              "log_level, worker, wal_bytes, cache_bytes");
}

Result<void> read_file(const std::filesystem::path& path, ServerConfig& config) {
  std::error_code missing;
  if (!std::filesystem::exists(path, missing)) return {};
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in.good() && !in.eof()) {
    return fail(Code::internal, fmt::format("cannot read {}", path.string()),
                "see to its rights, or move it away to use the defaults");
  }
  return read_config(text, path.string(), config);
}

}  // namespace

Result<void> read_config(std::string_view text, const std::string& file, ServerConfig& config) {
  try {
    const toml::table table = toml::parse(text, file);
    for (const auto& [key, value] : table) RQ_TRY(apply(file, key.str(), value, config));
  } catch (const toml::parse_error& error) {
    return fail(
        Code::bad_request,
        fmt::format("{}, line {}: {}", file, error.source().begin.line, error.description()),
        "mend the file, or move it away to use the defaults");
  }
  return {};
}

std::vector<std::string_view> changed_for_the_next_start(const ServerConfig& now,
                                                         const ServerConfig& then) {
  std::vector<std::string_view> changed;
  const auto compare = [&changed](std::string_view name, const auto& a, const auto& b) {
    if (a != b) changed.push_back(name);
  };
  compare("http", now.http, then.http);
  compare("define_over_tcp", now.define_over_tcp, then.define_over_tcp);
  compare("beanstalk", now.beanstalk, then.beanstalk);
  compare("beanstalk_job_bytes_max", now.beanstalk_job_bytes_max, then.beanstalk_job_bytes_max);
  compare("worker", now.worker, then.worker);
  compare("wal_bytes", now.wal_bytes, then.wal_bytes);
  compare("cache_bytes", now.cache_bytes, then.cache_bytes);
  return changed;
}

Result<ServerConfig> load_config(const ServerOptions& options) {
  ServerConfig config;
  std::error_code error;
  config.dir = std::filesystem::absolute(options.dir, error).lexically_normal();
  if (error) {
    return fail(Code::bad_value, fmt::format("directory '{}': {}", options.dir, error.message()),
                "name another with --dir");
  }
  RQ_TRY(read_file(config.dir / "rq.toml", config));
  if (options.http) config.http = *options.http;
  if (options.beanstalk) config.beanstalk = *options.beanstalk;
  if (options.log_level) config.log_level = *options.log_level;
  if (options.worker) config.worker = *options.worker;
  config.manual_clock = options.manual_clock;
  if (std::find(kLevels.begin(), kLevels.end(), config.log_level) == kLevels.end()) {
    return fail(Code::bad_value, fmt::format("log_level: '{}' is not allowed", config.log_level),
                "give trace, debug, info, warn or error");
  }
  return config;
}

}  // namespace rq::server
