#include "server/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <span>
#include <utility>
#include <variant>

#include "base/nearest.h"
#include "base/utf8.h"
#include "server/config_rights.h"
#include "server/toml.h"

namespace rq::server {
namespace {

using base::Code;
using base::fail;
using base::Result;

constexpr std::array<std::string_view, 5> kLevels{"trace", "debug", "info", "warn", "error"};
constexpr std::array<std::string_view, 2> kAuths{kAuthOptional, kAuthRequired};

struct Number {
  std::int64_t ServerConfig::*member;
  std::int64_t min, max;
};
using Text = std::string ServerConfig::*;
using TlsFile = std::string net::TlsFiles::*;
using Flag = bool ServerConfig::*;
struct Choice {
  std::string ServerConfig::*member;
  std::span<const std::string_view> allowed;
};
using RightList = core::Rights ServerConfig::*;
using MaybeRightList = std::optional<core::Rights> ServerConfig::*;
struct People {
  std::vector<access::Policy::Users> ServerConfig::*member;
  Who who;
};

struct Addresses {
  std::vector<net::ListenAddress> ServerConfig::*member;
  std::string_view scheme;
};
using Certificates = std::vector<access::Policy::Certificate> ServerConfig::*;
using Networks = std::vector<access::Network> ServerConfig::*;

// A setting of rq.toml: here and nowhere else.
struct Setting {
  std::string_view name;
  std::variant<Text, TlsFile, Flag, Number, Choice, RightList, MaybeRightList, People, Addresses,
               Certificates, Networks>
      kind;
  bool at_once = false;  // a change holds without a new start
};

constexpr std::array kSettings{
    Setting{"http", Addresses{&ServerConfig::http, kHttpScheme}},
    Setting{"tls_certificate", &net::TlsFiles::certificate, true},
    Setting{"tls_key", &net::TlsFiles::key, true},
    Setting{"tls_client_ca", &net::TlsFiles::client_ca, true},
    Setting{"auth", Choice{&ServerConfig::auth, kAuths}, true},
    Setting{"anonymous", &ServerConfig::anonymous, true},
    Setting{"users", People{&ServerConfig::users, Who::users}, true},
    Setting{"groups", People{&ServerConfig::groups, Who::groups}, true},
    Setting{"certificates", &ServerConfig::certificates, true},
    Setting{"trusted_proxies", &ServerConfig::trusted_proxies, true},
    Setting{"beanstalk", Addresses{&ServerConfig::beanstalk, kBeanstalkScheme}},
    Setting{"beanstalk_rights", &ServerConfig::beanstalk_rights},
    Setting{"beanstalk_job_bytes_max",
            Number{&ServerConfig::beanstalk_job_bytes_max, kJobBytesMin, kJobBytesMax}},
    Setting{"log_level", Choice{&ServerConfig::log_level, kLevels}, true},
    Setting{"worker", &ServerConfig::worker},
    Setting{"wal_bytes", Number{&ServerConfig::wal_bytes, kWalBytesMin, kWalBytesMax}},
    Setting{"cache_bytes", Number{&ServerConfig::cache_bytes, kCacheBytesMin, kCacheBytesMax}},
    Setting{"audit_days", Number{&ServerConfig::audit_days, 1, kAuditDaysMax}},
};

std::string names_of_settings() {
  std::string names;
  for (const Setting& setting : kSettings) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", setting.name);
  }
  return names;
}

std::string remedy_for_name(std::string_view name) {
  std::vector<std::string> names;
  for (const Setting& setting : kSettings) names.emplace_back(setting.name);
  const std::string meant = base::nearest(name, names);
  return fmt::format("{}the settings are {}",
                     meant.empty() ? "" : fmt::format("did you mean '{}'? ", meant),
                     names_of_settings());
}

// An empty text is no address.
Result<std::vector<net::ListenAddress>> parse_addresses(std::string_view setting,
                                                        std::string_view scheme,
                                                        const std::vector<std::string>& texts) {
  std::vector<net::ListenAddress> addresses;
  for (const std::string& text : texts) {
    if (text.empty()) continue;
    RQ_TRY_ASSIGN(address, net::parse_listen_address(setting, scheme, text));
    addresses.push_back(std::move(address));
  }
  return addresses;
}

// Reads a value of the file into its member of the configuration.
struct Take {
  const std::string& file;
  std::string_view name;
  const toml::node& value;
  ServerConfig& config;

  Result<void> operator()(Text member) const { return take(config.*member, "a text in quotes"); }
  Result<void> operator()(TlsFile member) const {
    return take(config.tls.*member, "a text in quotes");
  }
  Result<void> operator()(const Addresses& addresses) const {
    RQ_TRY_ASSIGN(texts, read_texts(where(), value));
    RQ_TRY_ASSIGN(parsed, parse_addresses(name, addresses.scheme, texts));
    config.*addresses.member = std::move(parsed);
    return {};
  }
  Result<void> operator()(Certificates member) const {
    RQ_TRY_ASSIGN(rows, read_certificates(where(), value));
    config.*member = std::move(rows);
    return {};
  }
  Result<void> operator()(Networks member) const {
    RQ_TRY_ASSIGN(texts, read_texts(where(), value));
    std::vector<access::Network> networks;
    for (const std::string& text : texts) {
      RQ_TRY_ASSIGN(network, access::Network::parse(text));
      networks.push_back(std::move(network));
    }
    config.*member = std::move(networks);
    return {};
  }
  Result<void> operator()(Flag member) const { return take(config.*member, "true or false"); }
  Result<void> operator()(const Choice& choice) const { return (*this)(choice.member); }
  Result<void> operator()(RightList member) const {
    RQ_TRY_ASSIGN(rights, read_rights(where(), value));
    config.*member = std::move(rights);
    return {};
  }
  Result<void> operator()(MaybeRightList member) const {
    RQ_TRY_ASSIGN(rights, read_rights(where(), value));
    config.*member = std::move(rights);
    return {};
  }
  Result<void> operator()(const People& people) const {
    RQ_TRY_ASSIGN(rows, read_people(where(), value, people.who));
    config.*people.member = std::move(rows);
    return {};
  }
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
  [[nodiscard]] std::string where() const { return fmt::format("{}: '{}'", file, name); }
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
                remedy_for_name(key));
  }
  return std::visit(Take{file, setting->name, value, config}, setting->kind);
}

bool same(const Setting& setting, const ServerConfig& a, const ServerConfig& b) {
  return std::visit(
      [&](const auto& kind) {
        if constexpr (requires { kind.member; }) {
          return a.*kind.member == b.*kind.member;
        } else if constexpr (requires { a.tls.*kind; }) {
          return a.tls.*kind == b.tls.*kind;
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
  std::string operator()(TlsFile /*member*/) const { return (*this)(Text{}); }
  std::string operator()(const Addresses& /*addresses*/) const { return (*this)(Text{}); }
  std::string operator()(Certificates /*member*/) const {
    return fmt::format("give a table: [{}] and below it lines as \"DNS:NAME\" = [\"read\"]", name);
  }
  std::string operator()(Networks /*member*/) const {
    return fmt::format("give a list of texts: {} = [\"10.0.0.0/8\"]", name);
  }
  std::string operator()(Flag /*member*/) const { return "give true or false"; }
  std::string operator()(const Choice& choice) const { return (*this)(choice.member); }
  std::string operator()(RightList /*member*/) const { return list_of_texts(); }
  std::string operator()(MaybeRightList /*member*/) const { return list_of_texts(); }
  std::string operator()(const People& /*people*/) const {
    return fmt::format("give a table: [{}] and below it lines as NAME = [\"read\"]", name);
  }
  std::string operator()(const Number& number) const {
    return fmt::format("give a number from {} to {}, in digits alone", number.min, number.max);
  }

 private:
  [[nodiscard]] std::string list_of_texts() const {
    return fmt::format("give a list of texts: {} = [\"enqueue:mail-*\", \"read\"]", name);
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
    return remedy_for_name(name);
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

net::ListenAddress usual_address() {
  return {.at = {.host = "127.0.0.1", .port = 3333}, .loopback = true};
}

core::Rights usual_rights() {
  core::Rights rights;
  for (const core::Right right : {core::Right::enqueue, core::Right::work, core::Right::read}) {
    rights.add({.right = right});
  }
  return rights;
}

access::Policy policy_of(const ServerConfig& config) {
  access::Policy policy{.required = config.auth == kAuthRequired,
                        .anonymous = config.anonymous,
                        .users = config.users,
                        .certificates = config.certificates,
                        .trusted_proxies = config.trusted_proxies,
                        .owner = ::geteuid()};
  policy.users.insert(policy.users.end(), config.groups.begin(), config.groups.end());
  return policy;
}

core::Rights beanstalk_rights_of(const ServerConfig& config) {
  if (config.beanstalk_rights) return *config.beanstalk_rights;
  core::Rights rights = usual_rights();
  rights.add({.right = core::Right::manage});  // kick and pause-tube
  return rights;
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
  std::vector<base::HostPort> taken;
  for (const auto* addresses : {&config.http, &config.beanstalk}) {
    for (const net::ListenAddress& address : *addresses) {
      if (address.at.port != 0 && std::ranges::find(taken, address.at) != taken.end()) {
        return fail(Code::bad_value,
                    fmt::format("two ports are to have the same address: {}", address.at.text()),
                    "http and beanstalk need one each: give one of them another port");
      }
      taken.push_back(address.at);
    }
  }
  return {};
}

// What other machines can reach is encrypted, and asks who calls.
Result<void> check_reach(const ServerConfig& config, std::string_view setting,
                         std::string_view scheme,
                         const std::vector<net::ListenAddress>& addresses) {
  for (const net::ListenAddress& address : addresses) {
    if (address.tls && (config.tls.certificate.empty() || config.tls.key.empty())) {
      return fail(Code::bad_value,
                  fmt::format("{} address '{}' wants a certificate", setting, address.text(scheme)),
                  "name its files: tls_certificate = \"FILE\" and tls_key = \"FILE\"; rq tls "
                  "self-signed makes them for a first try");
    }
    if (address.loopback) continue;
    if (!address.tls) {
      return fail(Code::forbidden,
                  fmt::format("{} address '{}' can be reached from other machines, and is not "
                              "encrypted",
                              setting, address.at.text()),
                  fmt::format("use {}://{} with tls_certificate and tls_key, or 127.0.0.1:{} and a "
                              "tunnel (ssh -L) from elsewhere",
                              scheme, address.at.text(), address.at.port));
    }
    if (config.auth != kAuthRequired) {
      return fail(Code::forbidden,
                  fmt::format("{} address '{}' can be reached from other machines, and auth is "
                              "\"{}\"",
                              setting, address.text(scheme), config.auth),
                  "set auth = \"required\": then nobody may anything without a token (rq token "
                  "create)");
    }
  }
  return {};
}

Result<void> check_client_ca(const ServerConfig& config) {
  if (config.certificates.empty() || !config.tls.client_ca.empty()) return {};
  return fail(Code::bad_value, "certificates: clients are not asked for one",
              "say who signs them: tls_client_ca = \"FILE\"");
}

Result<void> check_choices(const ServerConfig& config) {
  for (const Setting& setting : kSettings) {
    const auto* const choice = std::get_if<Choice>(&setting.kind);
    if (choice == nullptr) continue;
    const std::string& given = config.*choice->member;
    if (std::ranges::find(choice->allowed, given) != choice->allowed.end()) continue;
    return fail(Code::bad_value,
                fmt::format("{}: '{}' is not allowed", setting.name, base::shown(given)),
                fmt::format("give {}", fmt::join(choice->allowed, " or ")));
  }
  return {};
}

// What nobody in particular may never do, and what a port without a login would let anybody do.
Result<void> check_rights(const ServerConfig& config) {
  if (config.anonymous.has_somewhere(core::Right::admin)) {
    return fail(Code::bad_value, "anonymous: 'admin' is not allowed: it makes tokens for anything",
                "give it to users or groups, who come over the unix socket");
  }
  for (const core::Grant& grant : beanstalk_rights_of(config).grants()) {
    if (grant.queues.is_all()) continue;
    return fail(Code::bad_value,
                fmt::format("beanstalk_rights: '{}' is for some queues only", grant.text()),
                fmt::format("give '{}', which holds for all", core::name_of(grant.right)));
  }
  const bool open = !config.beanstalk.empty() && !config.beanstalk_rights;
  if (config.auth == kAuthRequired && open) {
    return fail(
        Code::bad_value,
        "auth is \"required\", and beanstalkd's port has no login: whoever reaches it would "
        "be let in",
        "take beanstalk out, or say what everybody may do there: beanstalk_rights = "
        "[\"enqueue\", \"work\", \"read\"]");
  }
  return {};
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
  if (options.http) {
    RQ_TRY_ASSIGN(addresses, parse_addresses("http", kHttpScheme, *options.http));
    config.http = std::move(addresses);
  }
  if (options.beanstalk) {
    RQ_TRY_ASSIGN(addresses, parse_addresses("beanstalk", kBeanstalkScheme, *options.beanstalk));
    config.beanstalk = std::move(addresses);
  }
  if (options.log_level) config.log_level = *options.log_level;
  if (options.worker) config.worker = *options.worker;
  config.manual_clock = options.manual_clock;
  RQ_TRY(check_choices(config));
  RQ_TRY(check_rights(config));
  RQ_TRY(check_ports(config));
  RQ_TRY(check_reach(config, "http", kHttpScheme, config.http));
  RQ_TRY(check_reach(config, "beanstalk", kBeanstalkScheme, config.beanstalk));
  RQ_TRY(check_client_ca(config));
  return config;
}

}  // namespace rq::server
