#include "doors/api/json_in.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/base64.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "core/json_fields.h"
#include "core/name.h"
#include "doors/api/raw_json.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Millis;
using base::Result;
using core::Fields;
namespace json = boost::json;

// --- Putting ---
// Puts are by far the most, so they do not ask for each field by name: they walk what is there.

enum class PutField : std::uint8_t {
  payload,
  payload_base64,
  payload_json,
  key,
  dest,
  src,
  orig_id,
  param1,
  param2,
  param3,
  param4,
  content_type,
  priority,
  delay_s,
  due,
  count,
  max_count,
  retries,
  backoff,
  timeout_s,
  lease_s,
  tags,
  headers,
  webhooks,
  force_remote,
  prep,
};
constexpr std::array<std::string_view, 26> kPutFields{
    "payload", "payload_base64", "payload_json", "key",      "dest",
    "src",     "orig_id",        "param1",       "param2",   "param3",
    "param4",  "content_type",   "priority",     "delay_s",  "due",
    "count",   "max_count",      "retries",      "backoff",  "timeout_s",
    "lease_s", "tags",           "headers",      "webhooks", "force_remote",
    "prep"};
static_assert(kPutFields.size() == static_cast<std::size_t>(PutField::prep) + 1);

base::Error unknown_put_field(std::string_view name) {
  std::string known;
  for (const std::string_view field : kPutFields) {
    if (!known.empty()) known += ' ';
    known += field;
  }
  return fail(Code::unknown_field,
              fmt::format("unknown field '{}' in the message", base::shown(name)),
              fmt::format("the fields are: {}", known));
}

Result<void> read_text(std::string_view name, const json::value& value, std::string& out,
                       std::size_t bytes_max) {
  RQ_TRY_ASSIGN(text, core::text_of(name, value, bytes_max));
  out.assign(text);
  return {};
}

template <typename Out>
Result<void> read_integer(std::string_view name, const json::value& value, Out& out,
                          std::int64_t min, std::int64_t max) {
  RQ_TRY_ASSIGN(number, core::integer_of(name, value, min, max));
  if constexpr (requires { typename Out::value_type; }) {
    out = static_cast<typename Out::value_type>(number);
  } else {
    out = static_cast<Out>(number);
  }
  return {};
}

Result<void> read_seconds(std::string_view name, const json::value& value,
                          std::optional<Millis>& out, Millis min, Millis max) {
  RQ_TRY_ASSIGN(length, core::seconds_of(name, value, min, max));
  out = length;
  return {};
}

Result<void> read_bool(std::string_view name, const json::value& value, bool& out) {
  if (!value.is_bool()) return core::wrong_kind(name, value, "true or false");
  out = value.get_bool();
  return {};
}

Result<void> one_payload(int& seen) {
  if (++seen == 1) return {};
  return two_payloads();
}

Result<void> read_payload(PutField field, const json::value& value, core::Message& message) {
  if (field == PutField::payload_json) {
    // put_from_json() takes it from the text.
    core::Details& details = message.detail();
    if (details.content_type.empty()) details.content_type = "application/json";
    return {};
  }
  if (!value.is_string()) {
    return core::wrong_kind(kPutFields[static_cast<std::size_t>(field)], value, "a text");
  }
  const json::string& text = value.get_string();
  if (field == PutField::payload) {
    message.payload.assign(text.data(), text.size());
    return {};
  }
  auto bytes = base::from_base64({text.data(), text.size()});
  if (!bytes) return bad_base64();
  message.payload = *std::move(bytes);
  return {};
}

// One field for the helpers that want an object.
json::object alone(std::string_view name, const json::value& value) { return {{name, value}}; }

Result<void> read_list_field(PutField field, std::string_view name, const json::value& value,
                             core::Details& details) {
  const json::object object = alone(name, value);
  Fields fields(object, "the message");
  if (field == PutField::tags) {
    fields.texts(name, details.tags, base::kTagsMax, base::kTagBytesMax);
    std::vector<std::string> once;
    for (std::string& tag : details.tags) {
      if (std::find(once.begin(), once.end(), tag) == once.end()) once.push_back(std::move(tag));
    }
    details.tags = std::move(once);
  } else if (field == PutField::webhooks) {
    fields.texts(name, details.webhooks, base::kWebhooksMax, base::kWebhookBytesMax);
  } else {
    fields.pairs(name, details.headers, base::kHeadersMax, base::kHeaderNameBytesMax,
                 base::kHeaderValueBytesMax);
  }
  return fields.finish();
}

Result<void> read_backoff(const json::value& value, core::Details& details) {
  if (!value.is_object()) return core::wrong_kind("backoff", value, "an object");
  core::Backoff backoff;
  RQ_TRY(core::merge_backoff(value.get_object(), backoff));
  details.backoff = backoff;
  return {};
}

Result<void> read_put_field(PutField field, const json::value& value, core::Put& put,
                            int& payloads) {
  using enum PutField;
  core::Message& m = put.message;
  const std::string_view name = kPutFields[static_cast<std::size_t>(field)];
  switch (field) {
    case payload:
    case payload_base64:
    case payload_json:
      RQ_TRY(one_payload(payloads));
      return read_payload(field, value, m);
    case key:
      return read_text(name, value, m.detail().key, base::kClientKeyBytesMax);
    case dest:
      return read_text(name, value, m.detail().dest, base::kTextBytesMax);
    case src:
      return read_text(name, value, m.detail().src, base::kTextBytesMax);
    case orig_id:
      return read_text(name, value, m.detail().orig_id, base::kTextBytesMax);
    case param1:
      return read_text(name, value, m.detail().param1, base::kParamBytesMax);
    case param2:
      return read_text(name, value, m.detail().param2, base::kParamBytesMax);
    case param3:
      return read_text(name, value, m.detail().param3, base::kParamBytesMax);
    case param4:
      return read_text(name, value, m.detail().param4, base::kParamBytesMax);
    case content_type:
      return read_text(name, value, m.detail().content_type, base::kContentTypeBytesMax);
    case priority:
      return read_integer(name, value, put.priority, base::kPriorityMin, base::kPriorityMax);
    case delay_s:
      return read_seconds(name, value, put.delay, Millis{0}, base::kDelayMax);
    case due: {
      RQ_TRY_ASSIGN(at, core::instant_of(name, value));
      put.due = at;
      return {};
    }
    case count:
      return read_integer(name, value, m.count, 0, base::kCountMax);
    case max_count:
      return read_integer(name, value, put.max_count, 0, base::kCountMax);
    case retries:
      return read_integer(name, value, m.detail().retries, 0, base::kCountMax);
    case backoff:
      return read_backoff(value, m.detail());
    case timeout_s:
      return read_seconds(name, value, m.detail().timeout, Millis{0}, base::kLeaseMax);
    case lease_s:
      return read_seconds(name, value, m.lease_length, base::kLeaseMin, base::kLeaseMax);
    case tags:
    case headers:
    case webhooks:
      return read_list_field(field, name, value, m.detail());
    case force_remote:
      return read_bool(name, value, m.detail().force_remote);
    case prep:
      return read_bool(name, value, put.prep);
  }
  return {};
}

// --- Working ---

bool read_token(Fields& fields, core::Token& out) {
  std::string text;
  if (!fields.text("token", text, base::kTextBytesMax)) {
    fields.refuse(
        fail(Code::bad_value, "there is no token", "give the one that came with the lease"));
    return false;
  }
  auto token = core::parse_token(text);
  if (!token) {
    fields.refuse(std::move(token).error());
    return false;
  }
  out = *token;
  return true;
}

// Longer than anything has run: some 300 years.
constexpr double kMeasuredSecondsMax = 1e10;
constexpr std::int64_t kSignalMax = 64;
constexpr std::size_t kSignalNameBytesMax = 32;

// A signal comes as its name or its number.
bool is_signal(const json::value& value) {
  if (value.is_string()) {
    const std::size_t bytes = value.get_string().size();
    return bytes > 0 && bytes <= kSignalNameBytesMax;
  }
  return value.is_int64() && value.get_int64() > 0 && value.get_int64() <= kSignalMax;
}

bool is_measured(const json::value& seconds) {
  if (!seconds.is_number()) return false;
  const double s = seconds.to_number<double>();
  return s >= 0 && s <= kMeasuredSecondsMax;
}

void read_post_mortem(Fields& fields, std::string& out) {
  const json::object* object = fields.object("post_mortem");
  if (object == nullptr) return;
  Fields inner(*object, "the post_mortem");
  std::int64_t number = 0;
  bool yes = false;
  std::string text;
  constexpr std::int64_t kMax = INT64_MAX;
  inner.integer("pid", number, 0, INT32_MAX);
  inner.integer("exit_code", number, INT32_MIN, INT32_MAX);
  if (const json::value* signal = inner.find("signal"); signal != nullptr && !is_signal(*signal)) {
    inner.refuse(core::wrong_kind("signal", *signal,
                                  fmt::format("a name, or a number from 1 to {}", kSignalMax)));
  }
  // What was measured is finer than a millisecond, and may be longer than any setting.
  for (const std::string_view name : {"wall_s", "user_s", "system_s"}) {
    if (const json::value* seconds = inner.find(name);
        seconds != nullptr && !is_measured(*seconds)) {
      inner.refuse(core::wrong_kind(
          name, *seconds, fmt::format("a number of seconds from 0 to {:g}", kMeasuredSecondsMax)));
    }
  }
  inner.integer("rss_bytes", number, 0, kMax);
  inner.text("last_output", text, 8 * base::kLastOutputBytesMax);
  inner.text("script", text, base::kTextBytesMax);
  inner.text("script_sha256", text, base::kTextBytesMax);
  for (const std::string_view name : {"out_of_memory", "killed_after_grace", "timed_out"}) {
    inner.boolean(name, yes);
  }
  if (auto good = inner.finish(); !good) {
    fields.refuse(std::move(good).error());
    return;
  }
  out = json::serialize(*object);
}

void read_result(Fields& fields, std::optional<std::string>& out) {
  const json::value* value = fields.find("result");
  if (value == nullptr) return;
  std::string text = value->is_string()
                         ? std::string{value->get_string().data(), value->get_string().size()}
                         : json::serialize(*value);
  if (auto good = core::check_text("result", text, base::kResultBytesMax); !good) {
    fields.refuse(std::move(good).error());
    return;
  }
  out = std::move(text);
}

void read_delay(Fields& fields, Millis& out) {
  fields.seconds("delay_s", out, Millis{0}, base::kDelayMax);
}

void read_priority(Fields& fields, std::optional<std::int64_t>& out) {
  fields.integer("priority", out, base::kPriorityMin, base::kPriorityMax);
}

// What all ends of a lease have.
void read_end(Fields& fields, core::Finish::Item& item) {
  read_token(fields, item.token);
  if (std::string reason; fields.text("reason", reason, base::kTextBytesMax)) {
    item.reason = std::move(reason);
  }
  read_post_mortem(fields, item.post_mortem);
}

Result<core::Finish::Item> finished(Fields& fields, core::Finish::Item&& item) {
  RQ_TRY(fields.finish());
  return std::move(item);
}

Result<core::Finish::Item> success(const json::object& object, core::Outcome outcome) {
  Fields fields(object, "the item");
  core::Finish::Item item;
  item.outcome = outcome;
  read_end(fields, item);
  read_result(fields, item.result);
  return finished(fields, std::move(item));
}

Result<core::ReserveQueue> reserve_queue(const json::value& value) {
  core::ReserveQueue out;
  if (value.is_string()) {
    out.queue.assign(value.get_string().data(), value.get_string().size());
  } else if (value.is_object()) {
    Fields fields(value.get_object(), "the queue of the reserve");
    fields.text("queue", out.queue, base::kTextBytesMax);
    fields.integer("limit", out.limit, 0, static_cast<std::int64_t>(base::kReserveMessagesMax));
    RQ_TRY(fields.finish());
  } else {
    return core::wrong_kind("queues", value, "a list of names, or of {\"queue\",\"limit\"}");
  }
  RQ_TRY(core::check_queue_name(out.queue));
  return out;
}

}  // namespace

Result<void> carry_result(core::Finish::Item& item, std::string_view text) {
  if (!item.result) return {};
  const auto raw = raw_member(text, "result");
  if (!raw || raw->starts_with('"')) return {};
  RQ_TRY(core::check_text("result", *raw, base::kResultBytesMax));
  item.result = *raw;
  return {};
}

bool has_payload(const json::object& object) {
  return std::any_of(object.begin(), object.end(), [](const auto& field) {
    const std::string_view name{field.key().data(), field.key().size()};
    if (name == kPutFields[static_cast<std::size_t>(PutField::payload_json)]) return true;
    return (name == kPutFields[static_cast<std::size_t>(PutField::payload)] ||
            name == kPutFields[static_cast<std::size_t>(PutField::payload_base64)]) &&
           !field.value().is_null();
  });
}

base::Error two_payloads() {
  return fail(Code::bad_value, "the message has more than one payload",
              "give one of payload, payload_base64, payload_json");
}

base::Error bad_base64() {
  return fail(Code::bad_value, "payload_base64 is not base64",
              "use the letters A-Z a-z 0-9 + / with = at the end, and no line breaks");
}

Result<core::Put> put_from_json(const json::object& object, std::string_view queue,
                                std::string_view text) {
  core::Put put;
  put.queue.assign(queue);
  int payloads = 0;
  for (const auto& field : object) {
    const std::string_view name{field.key().data(), field.key().size()};
    const auto* at = std::find(kPutFields.begin(), kPutFields.end(), name);
    if (at == kPutFields.end()) return unknown_put_field(name);
    const auto which = static_cast<PutField>(at - kPutFields.begin());
    // null counts as absent, except in payload_json, where it is a value.
    if (field.value().is_null() && which != PutField::payload_json) continue;
    RQ_TRY(read_put_field(which, field.value(), put, payloads));
    if (which == PutField::payload_json) {
      put.message.payload = raw_member(text, name).value_or("null");
    }
  }
  if (put.delay && put.due) {
    return fail(Code::bad_value, "the message has both delay_s and due", "give one of them");
  }
  return put;
}

Result<core::Put> put_from_query(const http::Query& query, std::string_view queue,
                                 std::string_view media_type, std::string_view bytes) {
  using enum PutField;
  json::object object;
  for (const auto& [name, text] : query.all()) {
    const auto* at = std::find(kPutFields.begin(), kPutFields.end(), name);
    const auto which = static_cast<PutField>(at - kPutFields.begin());
    if (at == kPutFields.end() || which <= payload_json) return unknown_put_field(name);
    switch (which) {
      case priority:
      case delay_s:
      case count:
      case max_count:
      case retries:
      case timeout_s:
      case lease_s:
      case due:
      case backoff:
      case headers:
      case force_remote:
      case prep: {
        boost::system::error_code error;
        json::value value = json::parse(text, error);
        // A due time may be text as well; anything else that is no JSON is refused by its reader.
        object[name] = error ? json::value(text) : std::move(value);
        if ((which == force_remote || which == prep) && (text == "1" || text == "0")) {
          object[name] = text == "1";
        }
        break;
      }
      case tags:
      case webhooks: {
        json::array list;
        std::string_view rest = text;
        while (!rest.empty()) {
          const std::size_t end = std::min(rest.find(','), rest.size());
          list.emplace_back(rest.substr(0, end));
          rest.remove_prefix(std::min(end + 1, rest.size()));
        }
        object[name] = std::move(list);
        break;
      }
      default:
        object[name] = text;
        break;
    }
  }
  RQ_TRY_ASSIGN(put, put_from_json(object, queue, {}));
  put.message.payload.assign(bytes);
  if (!media_type.empty() && put.message.detail_or_default().content_type.empty()) {
    RQ_TRY(core::check_text("content_type", media_type, base::kContentTypeBytesMax));
    put.message.detail().content_type.assign(media_type);
  }
  return put;
}

Result<core::Reserve> reserve_from_json(const json::object& object, base::Instant now) {
  core::Reserve reserve;
  Fields fields(object, "the reserve");
  auto queues = std::make_shared<std::vector<core::ReserveQueue>>();
  const json::array* list = fields.array("queues");
  if (list == nullptr || list->empty()) {
    fields.refuse(
        fail(Code::bad_value, "the reserve names no queues", "give \"queues\":[\"name\", …]"));
  } else if (list->size() > base::kReserveQueuesMax) {
    fields.refuse(fail(Code::too_many, fmt::format("queues has {} entries", list->size()),
                       fmt::format("at most {} are allowed", base::kReserveQueuesMax)));
  } else {
    for (const json::value& value : *list) {
      auto queue = reserve_queue(value);
      if (!queue) {
        fields.refuse(std::move(queue).error());
        break;
      }
      queues->push_back(*std::move(queue));
    }
  }
  reserve.queues = std::move(queues);
  fields.integer("limit", reserve.limit, 1, static_cast<std::int64_t>(base::kReserveMessagesMax));
  Millis wait{0};
  if (fields.seconds("wait_s", wait, Millis{0}, base::kReserveWaitMax) && wait > Millis{0}) {
    reserve.wait_until = now + wait;
  }
  if (fields.text("worker", reserve.worker, base::kTextBytesMax)) {
    if (auto good = core::check_worker_name(reserve.worker); !good) {
      fields.refuse(std::move(good).error());
    }
  }
  fields.seconds("lease_s", reserve.lease, base::kLeaseMin, base::kLeaseMax);
  fields.boolean("folder", reserve.folder);
  RQ_TRY(fields.finish());
  return reserve;
}

Result<core::Heartbeat::Item> heartbeat_from_json(const json::object& object) {
  core::Heartbeat::Item item;
  Fields fields(object, "the item");
  read_token(fields, item.token);
  std::string text;
  if (fields.text("progress", text, base::kTextBytesMax)) item.progress = std::move(text);
  fields.seconds("lease_s", item.lease, base::kLeaseMin, base::kLeaseMax);
  RQ_TRY(fields.finish());
  return item;
}

Result<core::Heartbeat::Item> progress_from_json(const json::object& object) {
  core::Heartbeat::Item item;
  item.extend = false;
  Fields fields(object, "the item");
  read_token(fields, item.token);
  std::string text;
  if (fields.text("progress", text, base::kTextBytesMax)) {
    item.progress = std::move(text);
  } else {
    fields.refuse(fail(Code::bad_value, "there is no progress", "give \"progress\":\"text\""));
  }
  RQ_TRY(fields.finish());
  return item;
}

Result<core::Finish::Item> done_from_json(const json::object& object) {
  return success(object, core::Outcome::done);
}

Result<core::Finish::Item> relayed_from_json(const json::object& object) {
  return success(object, core::Outcome::relayed);
}

Result<core::Finish::Item> err_from_json(const json::object& object) {
  Fields fields(object, "the item");
  core::Finish::Item item;
  read_end(fields, item);
  bool retry = true;
  fields.boolean("retry", retry);
  item.outcome = retry ? core::Outcome::failed : core::Outcome::err;
  return finished(fields, std::move(item));
}

Result<core::Finish::Item> resend_from_json(const json::object& object) {
  Fields fields(object, "the item");
  core::Finish::Item item;
  item.outcome = core::Outcome::resend;
  read_end(fields, item);
  read_delay(fields, item.delay);
  return finished(fields, std::move(item));
}

Result<core::Finish::Item> release_from_json(const json::object& object) {
  Fields fields(object, "the item");
  core::Finish::Item item;
  item.outcome = core::Outcome::release;
  read_token(fields, item.token);
  read_delay(fields, item.delay);
  read_priority(fields, item.priority);
  return finished(fields, std::move(item));
}

Result<core::Finish::Item> finish_from_json(const json::object& object) {
  Fields fields(object, "the item");
  core::Finish::Item item;
  read_end(fields, item);
  read_result(fields, item.result);
  read_delay(fields, item.delay);
  read_priority(fields, item.priority);
  std::string outcome;
  fields.text("outcome", outcome, base::kNameBytesMax);
  if (const auto known = core::outcome_of(outcome)) {
    item.outcome = *known;
  } else {
    fields.refuse(fail(Code::bad_value, fmt::format("outcome: '{}' is not allowed", outcome),
                       "give done, relayed, err, failed, timed_out, resend, release, hold, "
                       "stopped or lost"));
  }
  return finished(fields, std::move(item));
}

Result<core::Duplicate> duplicate_from_json(const json::object& object) {
  core::Duplicate out;
  Fields fields(object, "the item");
  read_token(fields, out.token);
  if (!fields.text("queue", out.queue, base::kTextBytesMax)) {
    fields.refuse(fail(Code::bad_value, "there is no queue", "give \"queue\":\"name\""));
  } else if (auto good = core::check_queue_name(out.queue); !good) {
    fields.refuse(std::move(good).error());
  }
  read_delay(fields, out.delay);
  fields.text("key", out.key, base::kTextBytesMax);
  RQ_TRY(fields.finish());
  return out;
}

}  // namespace rq::doors::api
