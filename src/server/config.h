#pragma once
// What the server is told: by flags, and by DIR/rq.toml where no flag says otherwise.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/callers.h"
#include "base/limits.h"
#include "base/result.h"
#include "core/rights.h"
#include "net/listener.h"
#include "net/tls.h"
#include "store/sqlite/open.h"

namespace rq::server {

// As the command line gives it; what is absent comes from the file, then from the defaults.
struct ServerOptions {
  std::string dir = "./var";
  // ADDR:PORT, or with TLS https:// or tls:// before it; "": none.
  std::optional<std::vector<std::string>> http;
  std::optional<std::vector<std::string>> beanstalk;
  std::optional<std::string> log_level;  // trace debug info warn error
  std::optional<bool> worker;            // start the local worker
  bool manual_clock = false;             // tests: time moves only by POST /v1/clock/advance
};

// The least and the most of the numbers.
inline constexpr std::int64_t kJobBytesMin = 1;
inline constexpr auto kJobBytesMax = static_cast<std::int64_t>(base::kPayloadBytesMax);
inline constexpr auto kWalBytesMin = static_cast<std::int64_t>(base::kMiB);
inline constexpr std::int64_t kWalBytesMax = 4096 * kWalBytesMin;
inline constexpr auto kCacheBytesMin = static_cast<std::int64_t>(base::kMiB);
inline constexpr std::int64_t kAuditDaysMax = 36'500;
inline constexpr std::int64_t kCacheBytesMax = 65536 * kCacheBytesMin;

// Of the setting `auth`.
inline constexpr std::string_view kAuthOptional = "optional";
inline constexpr std::string_view kAuthRequired = "required";
// 127.0.0.1:3333.
[[nodiscard]] net::ListenAddress usual_address();
// How addresses with TLS begin.
inline constexpr std::string_view kHttpScheme = "https";
inline constexpr std::string_view kBeanstalkScheme = "tls";
// enqueue, work and read: what beanstalkd lets anybody do, less what manages others' work.
[[nodiscard]] core::Rights usual_rights();

// Everything decided.
struct ServerConfig {
  std::filesystem::path dir;                              // absolute
  std::vector<net::ListenAddress> http{usual_address()};  // empty: unix socket only
  std::vector<net::ListenAddress> beanstalk;              // empty: off
  net::TlsFiles tls;                                      // of all addresses with TLS
  std::string auth = std::string(kAuthOptional);
  core::Rights anonymous = usual_rights();  // of whoever comes from this machine without a token
  std::vector<access::Policy::Users> users;
  std::vector<access::Policy::Users> groups;
  std::vector<access::Policy::Certificate> certificates;  // of clients
  std::vector<access::Network> trusted_proxies;
  // Of whoever reaches beanstalkd's port, which has no login; absent: not said.
  std::optional<core::Rights> beanstalk_rights;
  std::int64_t beanstalk_job_bytes_max = 65'535;  // beanstalkd's own default
  std::string log_level = "info";
  bool worker = true;
  bool manual_clock = false;
  std::int64_t wal_bytes = store::sqlite::kWalBytes;
  std::int64_t cache_bytes = store::sqlite::kCacheBytes;
  std::int64_t audit_days = 365;  // so long is it kept what callers have changed
};

// Who may what, as the configuration says it.
[[nodiscard]] access::Policy policy_of(const ServerConfig& config);
[[nodiscard]] core::Rights beanstalk_rights_of(const ServerConfig& config);

// Puts what the text of a configuration says into `config`; `file` names it in errors.
[[nodiscard]] base::Result<void> read_config(std::string_view text, const std::string& file,
                                             ServerConfig& config);
// The settings that differ and are only looked at when a server starts: all but those of
// the log, of rights and of TLS.
[[nodiscard]] std::vector<std::string_view> changed_for_the_next_start(const ServerConfig& now,
                                                                       const ServerConfig& then);
// Reads DIR/rq.toml, if it is there, and puts the flags on top. An unknown key, or a value of the
// wrong kind, is refused by name.
[[nodiscard]] base::Result<ServerConfig> load_config(const ServerOptions& options);

}  // namespace rq::server
