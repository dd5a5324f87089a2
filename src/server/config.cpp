#include "server/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <type_traits>
#include <variant>

#include "base/address.h"
#include "server/toml.h"

namespace rq::server {
namespace {

using base::Code;
using base::fail;
using base::Result;

constexpr std::array<std::string_view, 5> kLevels{"trace", "debug", "info", "warn", "error"};

struct Number {
  std::int64_t ServerConfig::*member;
  std::int64_t min, max;
};
using Text = std::string ServerConfig::*;
using Flag = bool ServerConfig::*;

// A setting of rq.toml: here and nowhere else.
struct Setting {
  std::string_view name;
  std::variant<Text, Flag, Number> kind;
  bool at_once = false;  // a change holds without a new start
};

constexpr std::array kSettings{
    Setting{"http", &ServerConfig::http},
    Setting{"define_over_tcp", &ServerConfig::define_over_tcp},
    Setting{"beanstalk", &ServerConfig::beanstalk},
    Setting{"beanstalk_job_bytes_max",
            Number{&ServerConfig::beanstalk_job_bytes_max, kJobBytesMin, kJobBytesMax}},
    Setting{"log_level", &ServerConfig::log_level, true},
    Setting{"worker", &ServerConfig::worker},
    Setting{"wal_bytes", Number{&ServerConfig::wal_bytes, kWalBytesMin, kWalBytesMax}},
    Setting{"cache_bytes", Number{&ServerConfig::cache_bytes, kCacheBytesMin, kCacheBytesMax}},
};

std::string names_of_settings() {
  std::string names;
  for (const Setting& setting : kSettings) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", setting.name);
  }
  return names;
}

// Reads a value of the file into its member of the configuration.
struct Take {
  const std::string& file;
  std::string_view name;
  const toml::node& value;
  ServerConfig& config;

  Result<void> operator()(Text member) const { return take(config.*member, "a text in quotes"); }
  Result<void> operator()(Flag member) const { return take(config.*member, "true or false"); }
  Result<void> operator()(const Number& number) const {
    const std::string wanted = fmt::format("a number from {} to {}", number.min, number.max);
    std::int64_t given = 0;
    RQ_TRY(take(given, wanted));
    if (given < number.min || given > number.max) {
      return fail(Code::bad_value, fmt::format("{}: {} = {} is out of range", file, name, given),
                  fmt::format("give {}", wanted));
    }
    config.*number.member = given;
    return {};
  }

 private:
  template <typename T>
  Result<void> take(T& out, std::string_view wanted) const {
    const auto given = value.value_exact<T>();
    if (!given) {
      return fail(Code::bad_value,
                  fmt::format("{}: '{}' has a value of the wrong kind", file, name),
                  fmt::format("give {}", wanted));
    }
    out = *given;
    return {};
  }
};

Result<void> apply(const std::string& file, std::string_view key, const toml::node& value,
                   ServerConfig& config) {
  const auto* const setting = std::ranges::find(kSettings, key, &Setting::name);
  if (setting == kSettings.end()) {
    return fail(Code::unknown_field, fmt::format("{}: there is no setting '{}'", file, key),
                fmt::format("the settings are {}", names_of_settings()));
  }
  return std::visit(Take{file, setting->name, value, config}, setting->kind);
}

bool same(const Setting& setting, const ServerConfig& a, const ServerConfig& b) {
  return std::visit(
      [&](const auto& kind) {
        if constexpr (std::is_same_v<std::decay_t<decltype(kind)>, Number>) {
          return a.*kind.member == b.*kind.member;
        } else {
          return a.*kind == b.*kind;
        }
      },
      setting.kind);
}

Result<void> read_file(const std::filesystem::path& path, ServerConfig& config) {
  std::error_code missing;
  // A link that leads nowhere is there: its settings were meant.
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, missing))) return {};
  if (!std::filesystem::is_regular_file(path, missing)) {
    return fail(Code::bad_value, fmt::format("{} is not a file", path.string()),
                "move it away to use the defaults");
  }
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in.good() && !in.eof()) {
    return fail(Code::internal, fmt::format("cannot read {}", path.string()),
                "see to its rights, or move it away to use the defaults");
  }
  return read_config(text, path.string(), config);
}

// What a value of this kind looks like.
struct Wanted {
  std::string_view name;
  std::string_view given;

  std::string operator()(Text /*member*/) const {
    // Quotes that a word processor has made are none here.
    constexpr std::array<std::string_view, 2> kCurly{"\u201c", "\u201d"};
    std::string text(given);
    for (const std::string_view quote : kCurly) {
      for (std::size_t at = text.find(quote); at != std::string::npos; at = text.find(quote)) {
        text.erase(at, quote.size());
      }
    }
    return fmt::format("a text stands in quotes: {} = \"{}\"", name, text);
  }
  std::string operator()(Flag /*member*/) const { return "give true or false"; }
  std::string operator()(const Number& number) const {
    return fmt::format("give a number from {} to {}, in digits alone", number.min, number.max);
  }
};

// The remedy for a line that is not TOML: most often it is as in other formats.
std::string remedy_for(std::string_view text, std::size_t number) {
  for (; number > 1 && text.find('\n') != std::string_view::npos; --number) {
    text.remove_prefix(text.find('\n') + 1);
  }
  const std::string_view line = text.substr(0, text.find_first_of("#\r\n"));
  const std::size_t equals = line.find('=');
  const bool quoted = line.find_first_of("\"'[{") != std::string_view::npos;
  if (equals == std::string_view::npos || quoted) {
    return "mend the file, or move it away to use the defaults";
  }
  const auto trimmed = [](std::string_view part) {
    const std::size_t from = std::min(part.find_first_not_of(" \t"), part.size());
    return part.substr(from, part.find_last_not_of(" \t") + 1 - from);
  };
  const std::string_view name = trimmed(line.substr(0, equals));
  const auto* const setting = std::ranges::find(kSettings, name, &Setting::name);
  if (setting == kSettings.end()) {
    return fmt::format("the settings are {}", names_of_settings());
  }
  return std::visit(Wanted{name, trimmed(line.substr(equals + 1))}, setting->kind);
}

}  // namespace

Result<void> read_config(std::string_view text, const std::string& file, ServerConfig& config) {
  try {
    const toml::table table = toml::parse(text, file);
    for (const auto& [key, value] : table) RQ_TRY(apply(file, key.str(), value, config));
  } catch (const toml::parse_error& error) {
    const auto line = error.source().begin.line;
    return fail(Code::bad_request, fmt::format("{}, line {}: {}", file, line, error.description()),
                remedy_for(text, line));
  } catch (const std::invalid_argument& error) {
    return fail(Code::bad_request, fmt::format("{}: {}", file, error.what()),
                "mend the file, or move it away to use the defaults");
  }
  return {};
}

std::vector<std::string_view> changed_for_the_next_start(const ServerConfig& now,
                                                         const ServerConfig& then) {
  std::vector<std::string_view> changed;
  for (const Setting& setting : kSettings) {
    if (!setting.at_once && !same(setting, now, then)) changed.push_back(setting.name);
  }
  return changed;
}

namespace {

// Both on one port: each of them alone could have it.
Result<void> check_ports(const ServerConfig& config) {
  const auto host = [](const base::HostPort& at) {
    return at.host == "localhost" ? std::string{"127.0.0.1"} : at.host;
  };
  const auto http = base::parse_host_port(config.http);
  const auto beanstalk = base::parse_host_port(config.beanstalk);
  if (!http || !beanstalk || http->port == 0 || http->port != beanstalk->port ||
      host(*http) != host(*beanstalk)) {
    return {};
  }
  return fail(Code::bad_value,
              fmt::format("http and beanstalk have the same address: {}", config.http),
              "give one of them another port");
}

}  // namespace

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
  RQ_TRY(check_ports(config));
  return config;
}

}  // namespace rq::server
