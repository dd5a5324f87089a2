#pragma once
// What the worker reads from the API: queues and leased messages.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include "base/result.h"
#include "base/time.h"
#include "core/queue.h"

namespace rq::worker {

// A queue as the worker needs it.
struct QueueView {
  std::string name;
  core::QueueSettings settings;
  std::string script_error;  // what the server believes of the script; empty: it is fine
};
// `queue` as in docs/API.md. A setting that this worker does not know is left aside: the server may
// be newer.
[[nodiscard]] base::Result<QueueView> parse_queue(const boost::json::value& queue);

// A message with its lease, as a reserve gives it. Absent texts are empty.
struct LeasedMessage {
  std::string id;
  std::int64_t seq = 0;
  std::string queue;
  std::string token;
  std::int64_t attempt = 0;
  base::Millis lease{60'000};  // its length
  std::int64_t count = 0;
  std::int64_t priority = 0;
  std::string dest, orig_id, param1, param2, param3, param4, content_type, key, folder;
  std::vector<std::string> tags;
  bool force_remote = false;
  base::Millis timeout{-1};  // -1: the queue's
  std::string payload;       // bytes
};
// The first of "messages" in the reply that cannot be read makes it an error.
[[nodiscard]] base::Result<std::vector<LeasedMessage>> parse_reserved(std::string_view json);

[[nodiscard]] base::Result<boost::json::value> parse_json(std::string_view json);

}  // namespace rq::worker
