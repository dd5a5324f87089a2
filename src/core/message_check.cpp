#include "core/message_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/iso8601.h"
#include "base/limits.h"
#include "core/bounds.h"

namespace rq::core {
namespace {

using base::Code;
using base::fail;
using base::Result;

Result<void> at_most(std::string_view field, std::size_t n, std::size_t max) {
  if (n <= max) return {};
  return fail(Code::too_many, fmt::format("{} {} were given", n, field),
              fmt::format("at most {} are allowed", max));
}

Result<void> check_lists(const Details& d) {
  RQ_TRY(at_most("tags", d.tags.size(), base::kTagsMax));
  for (const std::string& tag : d.tags) {
    if (tag.empty()) return fail(Code::bad_value, "a tag is empty", "leave it out");
    RQ_TRY(check_text("a tag", tag, base::kTagBytesMax));
  }
  RQ_TRY(at_most("headers", d.headers.size(), base::kHeadersMax));
  for (const auto& [name, value] : d.headers) {
    if (name.empty()) return fail(Code::bad_value, "a header has no name", "leave it out");
    RQ_TRY(check_text("the name of a header", name, base::kHeaderNameBytesMax));
    RQ_TRY(check_text(fmt::format("header '{}'", name), value, base::kHeaderValueBytesMax));
  }
  // A promise that nobody keeps yet is not taken.
  if (!d.webhooks.empty()) {
    return fail(Code::unsupported, "rq sends no webhooks yet, so it takes no message with one",
                "leave them out; whoever wants to hear of the end can follow GET /v1/events, or "
                "the message: rq tail -f ID");
  }
  return {};
}

Result<void> check_details(const Details& d) {
  RQ_TRY(check_text("key", d.key, base::kClientKeyBytesMax));
  RQ_TRY(check_text("dest", d.dest, base::kTextBytesMax));
  RQ_TRY(check_text("src", d.src, base::kTextBytesMax));
  RQ_TRY(check_text("orig_id", d.orig_id, base::kTextBytesMax));
  RQ_TRY(check_text("param1", d.param1, base::kParamBytesMax));
  RQ_TRY(check_text("param2", d.param2, base::kParamBytesMax));
  RQ_TRY(check_text("param3", d.param3, base::kParamBytesMax));
  RQ_TRY(check_text("param4", d.param4, base::kParamBytesMax));
  RQ_TRY(check_text("content_type", d.content_type, base::kContentTypeBytesMax));
  if (std::any_of(d.content_type.begin(), d.content_type.end(),
                  [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    return fail(Code::bad_value, "content_type contains a control character",
                "give a media type such as text/plain");
  }
  RQ_TRY(check_lists(d));
  if (d.retries) RQ_TRY(in_range("retries", *d.retries, 0, base::kCountMax));
  if (d.backoff) RQ_TRY(check(*d.backoff));
  return d.timeout ? in_range("timeout_s", *d.timeout, Millis{0}, base::kLeaseMax) : Result<void>{};
}

}  // namespace

bool runs_commands(const QueueSettings& settings) {
  return settings.script.starts_with('@') || settings.exec_prefix.ends_with(" exec-payload");
}

Result<void> check_put(const Put& put, const Queue& queue, Instant now) {
  const std::size_t payload_max = queue.settings.payload_bytes_max > 0
                                      ? static_cast<std::size_t>(queue.settings.payload_bytes_max)
                                      : base::kPayloadBytesMax;
  if (put.message.payload.size() > payload_max) {
    return fail(Code::too_large,
                fmt::format("the payload has {} bytes", put.message.payload.size()),
                fmt::format("queue '{}' takes at most {} bytes", queue.name, payload_max));
  }
  if (runs_commands(queue.settings) && put.message.payload.find("\"argv\"") == std::string::npos) {
    return fail(
        Code::bad_value,
        fmt::format(R"(queue '{}' runs command lines, and the payload is none: it has no "argv")",
                    queue.name),
        fmt::format("give the command line to rq run: rq run --queue {} -- COMMAND", queue.name));
  }
  if (put.priority) {
    RQ_TRY(in_range("priority", *put.priority, base::kPriorityMin, base::kPriorityMax));
  }
  if (put.max_count) RQ_TRY(in_range("max_count", *put.max_count, 0, base::kCountMax));
  RQ_TRY(in_range("count", put.message.count, 0, base::kCountMax));
  if (put.delay) RQ_TRY(in_range("delay_s", *put.delay, Millis{0}, base::kDelayMax));
  if (put.due && (*put.due < Instant{} || *put.due > now + base::kDelayMax)) {
    return fail(Code::bad_value, fmt::format("due: {} is too far off", base::to_iso8601(*put.due)),
                "give a time between 1970 and a hundred years from now");
  }
  if (put.message.lease_length) {
    RQ_TRY(in_range("lease_s", *put.message.lease_length, base::kLeaseMin, base::kLeaseMax));
  }
  return put.message.details ? check_details(*put.message.details) : Result<void>{};
}

}  // namespace rq::core
