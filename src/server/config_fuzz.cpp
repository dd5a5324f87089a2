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
  if (read) RQ_CHECK(config.wal_bytes > 0 && config.beanstalk_job_bytes_max > 0);
  return 0;
}
