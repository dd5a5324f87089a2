#pragma once
// What the server is told: by flags, and by DIR/rq.toml where no flag says otherwise.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/result.h"
#include "store/sqlite/open.h"

namespace rq::server {

// As the command line gives it; what is absent comes from the file, then from the defaults.
struct ServerOptions {
  std::string dir = "./var";
  std::optional<std::string> http;       // ADDR:PORT; empty: unix socket only
  std::optional<std::string> beanstalk;  // ADDR:PORT; empty: off
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
inline constexpr std::int64_t kCacheBytesMax = 65536 * kCacheBytesMin;

// Everything decided.
struct ServerConfig {
  std::filesystem::path dir;  // absolute
  std::string http = "127.0.0.1:3333";
  std::string beanstalk;
  bool define_over_tcp = false;
  std::int64_t beanstalk_job_bytes_max = 65'535;  // beanstalkd's own default
  std::string log_level = "info";
  bool worker = true;
  bool manual_clock = false;
  std::int64_t wal_bytes = store::sqlite::kWalBytes;
  std::int64_t cache_bytes = store::sqlite::kCacheBytes;
};

// Puts what the text of a configuration says into `config`; `file` names it in errors.
[[nodiscard]] base::Result<void> read_config(std::string_view text, const std::string& file,
                                             ServerConfig& config);
// The settings that differ and are only looked at when a server starts: all but log_level.
[[nodiscard]] std::vector<std::string_view> changed_for_the_next_start(const ServerConfig& now,
                                                                       const ServerConfig& then);
// Reads DIR/rq.toml, if it is there, and puts the flags on top. An unknown key, or a value of the
// wrong kind, is refused by name.
[[nodiscard]] base::Result<ServerConfig> load_config(const ServerOptions& options);

}  // namespace rq::server
