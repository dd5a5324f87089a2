// The text of rq.toml: no crash, and what is taken is within its bounds.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "server/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rq::server::ServerConfig config;
  const auto read =
      rq::server::read_config({reinterpret_cast<const char*>(data), size}, "rq.toml", config);
  if (!read) return 0;
  const auto within = [](std::int64_t value, std::int64_t min, std::int64_t max) {
    return value >= min && value <= max;
  };
  using namespace rq::server;  // NOLINT(google-build-using-namespace): what is tried here
  RQ_CHECK(within(config.beanstalk_job_bytes_max, kJobBytesMin, kJobBytesMax));
  RQ_CHECK(within(config.wal_bytes, kWalBytesMin, kWalBytesMax));
  RQ_CHECK(within(config.cache_bytes, kCacheBytesMin, kCacheBytesMax));
  return 0;
}
