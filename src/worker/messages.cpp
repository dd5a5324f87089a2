#include "worker/messages.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

#include <boost/json.hpp>

#include "base/base64.h"
#include "base/iso8601.h"
#include "core/settings_json.h"

namespace rq::worker {
namespace {

namespace json = boost::json;
using base::Code;
using base::fail;
using base::Result;

std::string text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::int64_t integer_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_number()) return 0;
  return value->is_double() ? std::llround(value->get_double()) : value->to_number<std::int64_t>();
}

std::optional<base::Millis> seconds_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return base::Millis{std::llround(value->to_number<double>() * 1000)};
}

// `given` without what `known` does not have, one level of objects deep.
json::object only_known(const json::object& given, const json::object& known) {
  json::object out;
  for (const auto& [key, value] : given) {
    const json::value* pattern = known.if_contains(key);
    if (pattern == nullptr) continue;
    const bool free_keys = key == "env_vars";
    if (value.is_object() && pattern->is_object() && !free_keys) {
      out[key] = only_known(value.get_object(), pattern->get_object());
    } else {
      out[key] = value;
    }
  }
  return out;
}

Result<LeasedMessage> parse_message(const json::value& value) {
  const auto wrong = [](std::string_view what) {
    return fail(Code::bad_value, fmt::format("a reserved message has no {}", what),
                "do the server and the worker have the same version?");
  };
  if (!value.is_object()) return wrong("fields");
  const json::object& object = value.get_object();
  LeasedMessage message;
  message.id = text_of(object, "id");
  message.seq = integer_of(object, "seq");
  message.queue = text_of(object, "queue");
  const json::value* lease = object.if_contains("lease");
  if (lease == nullptr || !lease->is_object()) return wrong("lease");
  message.token = text_of(lease->get_object(), "token");
  message.attempt = integer_of(lease->get_object(), "attempt");
  if (message.id.empty() || message.queue.empty() || message.token.empty()) {
    return wrong("id, queue or token");
  }
  const auto since = base::parse_iso8601(text_of(lease->get_object(), "since"));
  const auto until = base::parse_iso8601(text_of(lease->get_object(), "until"));
  if (since && until && *until > *since) message.lease = *until - *since;
  message.count = integer_of(object, "count");
  message.priority = integer_of(object, "priority");
  message.dest = text_of(object, "dest");
  message.orig_id = text_of(object, "orig_id");
  message.param1 = text_of(object, "param1");
  message.param2 = text_of(object, "param2");
  message.param3 = text_of(object, "param3");
  message.param4 = text_of(object, "param4");
  message.content_type = text_of(object, "content_type");
  message.key = text_of(object, "key");
  message.folder = text_of(object, "folder");
  if (const json::value* tags = object.if_contains("tags"); tags != nullptr && tags->is_array()) {
    for (const json::value& tag : tags->get_array()) {
      if (tag.is_string()) message.tags.emplace_back(tag.get_string());
    }
  }
  const json::value* force = object.if_contains("force_remote");
  message.force_remote = force != nullptr && force->is_bool() && force->get_bool();
  if (const auto timeout = seconds_of(object, "timeout_s")) message.timeout = *timeout;
  if (const json::value* bytes = object.if_contains("payload_base64");
      bytes != nullptr && bytes->is_string()) {
    std::optional<std::string> decoded = base::from_base64(bytes->get_string());
    if (!decoded) return fail(Code::bad_value, "a payload_base64 is not base64");
    message.payload = *std::move(decoded);
  } else {
    message.payload = text_of(object, "payload");
  }
  return message;
}

}  // namespace

Result<json::value> parse_json(std::string_view text) {
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  if (error) {
    return fail(Code::bad_request, fmt::format("a reply is not JSON: {}", error.message()));
  }
  return value;
}

Result<QueueView> parse_queue(const json::value& queue) {
  if (!queue.is_object()) return fail(Code::bad_value, "a queue in a reply is no object");
  QueueView view;
  view.name = text_of(queue.get_object(), "name");
  view.script_error = text_of(queue.get_object(), "script_error");
  if (view.name.empty()) return fail(Code::bad_value, "a queue in a reply has no name");
  const json::value* settings = queue.get_object().if_contains("settings");
  if (settings != nullptr && settings->is_object()) {
    const core::QueueSettings defaults;
    RQ_TRY_ASSIGN(merged, core::merge_settings(defaults, only_known(settings->get_object(),
                                                                    core::to_json(defaults))));
    view.settings = std::move(merged);
  }
  return view;
}

Result<std::vector<LeasedMessage>> parse_reserved(std::string_view text) {
  json::monotonic_resource memory;
  boost::system::error_code error;
  const json::value reply = json::parse(text, error, &memory);
  const json::value* list =
      !error && reply.is_object() ? reply.get_object().if_contains("messages") : nullptr;
  if (list == nullptr || !list->is_array()) {
    return fail(Code::bad_value, "the reply to a reserve has no 'messages'");
  }
  std::vector<LeasedMessage> messages;
  for (const json::value& value : list->get_array()) {
    RQ_TRY_ASSIGN(message, parse_message(value));
    messages.push_back(std::move(message));
  }
  return messages;
}

}  // namespace rq::worker
