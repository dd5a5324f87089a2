#include "core/json_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "base/iso8601.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "core/queue.h"

namespace rq::core {
namespace {

using base::Code;
using base::fail;
namespace json = boost::json;

std::string shown(const json::value& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  std::string out = plain_json(value);
  if (out.size() > base::kShownBytesMax) {
    out.resize(base::shown(out).size());
    out += "...";
  }
  return out;
}

double in_seconds(Millis length) { return static_cast<double>(length.count()) / 1000.0; }

// 9999-12-31T23:59:59.999Z: the last instant that has a four-digit year.
constexpr std::int64_t kInstantMaxMs = 253'402'300'799'999;

}  // namespace

json::value json_seconds(Millis length) {
  if (length.count() % 1000 == 0) return length.count() / 1000;
  return in_seconds(length);
}

std::string plain_json(const json::value& value) {
  if (value.is_double()) return fmt::format("{}", value.get_double());
  std::string out;
  if (const auto* list = value.if_array()) {
    for (const json::value& item : *list) {
      out += out.empty() ? '[' : ',';
      out += plain_json(item);
    }
    return list->empty() ? "[]" : out + ']';
  }
  if (const auto* object = value.if_object()) {
    for (const auto& [name, item] : *object) {
      out += out.empty() ? '{' : ',';
      out += json::serialize(json::value(name)) + ':' + plain_json(item);
    }
    return object->empty() ? "{}" : out + '}';
  }
  return json::serialize(value);
}

base::Error wrong_kind(std::string_view name, const json::value& value, std::string_view wanted) {
  return fail(Code::bad_value, fmt::format("{}: {} is not {}", name, shown(value), wanted),
              fmt::format("give {}", wanted));
}

base::Result<std::int64_t> integer_of(std::string_view name, const json::value& value,
                                      std::int64_t min, std::int64_t max) {
  std::int64_t got = 0;
  if (value.is_int64()) {
    got = value.get_int64();
  } else if (value.is_double() && std::nearbyint(value.get_double()) == value.get_double() &&
             std::abs(value.get_double()) < 9e15) {
    got = static_cast<std::int64_t>(value.get_double());  // 5.0 and 1e3 are whole numbers too
  } else if (!value.is_uint64()) {
    return wrong_kind(name, value, "a whole number");
  }
  if (value.is_uint64() || got < min || got > max) {
    return fail(Code::bad_value, fmt::format("{}: {} is out of range", name, shown(value)),
                fmt::format("give a number from {} to {}", min, max));
  }
  return got;
}

base::Result<Millis> seconds_of(std::string_view name, const json::value& value, Millis min,
                                Millis max) {
  if (!value.is_number()) return wrong_kind(name, value, "a number of seconds");
  const double got = value.to_number<double>();
  if (!(got >= in_seconds(min) && got <= in_seconds(max))) {
    return fail(Code::bad_value, fmt::format("{}: {} is out of range", name, shown(value)),
                fmt::format("give seconds from {} to {}", in_seconds(min), in_seconds(max)));
  }
  const Millis length{std::llround(got * 1000.0)};
  // 0 has meanings of its own, "no limit" among them.
  if (length == Millis{0} && got != 0) {
    return fail(Code::bad_value, fmt::format("{}: {} is too small", name, shown(value)),
                "give 0, or 0.001 and more: a millisecond is the smallest step");
  }
  return length;
}

base::Result<Instant> instant_of(std::string_view name, const json::value& value) {
  if (value.is_string()) {
    const auto& text = value.get_string();
    if (const auto at = base::parse_iso8601({text.data(), text.size()})) return *at;
  } else if (value.is_number()) {
    const double got = value.to_number<double>() * 1000.0;
    if (got >= 0 && got <= static_cast<double>(kInstantMaxMs)) {
      return base::from_ms(std::llround(got));
    }
  }
  return fail(Code::bad_value, fmt::format("{}: {} is not a time", name, shown(value)),
              "give \"2026-11-21T00:21:54.865Z\", or seconds since 1970");
}

base::Result<std::string_view> text_of(std::string_view name, const json::value& value,
                                       std::size_t bytes_max) {
  if (!value.is_string()) return wrong_kind(name, value, "a text");
  const auto& text = value.get_string();
  const std::string_view view{text.data(), text.size()};
  RQ_TRY(check_text(name, view, bytes_max));
  return view;
}

void Fields::refuse(base::Error error) {
  if (!error_) error_ = std::move(error);
}

const json::value* Fields::find_or_null(std::string_view name) {
  RQ_CHECK(asked_count_ < kAskedMax);
  asked_[asked_count_++] = name;
  return object_.if_contains(name);
}

const json::value* Fields::find(std::string_view name) {
  const json::value* value = find_or_null(name);
  return value == nullptr || value->is_null() || failed() ? nullptr : value;
}

bool Fields::text(std::string_view name, std::string& out, std::size_t bytes_max) {
  const json::value* value = find(name);
  if (value == nullptr) return false;
  auto got = text_of(name, *value, bytes_max);
  if (!got) {
    refuse(std::move(got).error());
    return false;
  }
  out.assign(*got);
  return true;
}

bool Fields::boolean(std::string_view name, bool& out) {
  const json::value* value = find(name);
  if (value == nullptr) return false;
  if (!value->is_bool()) {
    refuse(wrong_kind(name, *value, "true or false"));
    return false;
  }
  out = value->get_bool();
  return true;
}

bool Fields::wide_integer(std::string_view name, std::int64_t& out, std::int64_t min,
                          std::int64_t max) {
  const json::value* value = find(name);
  if (value == nullptr) return false;
  auto got = integer_of(name, *value, min, max);
  if (!got) {
    refuse(std::move(got).error());
    return false;
  }
  out = *got;
  return true;
}

bool Fields::seconds(std::string_view name, Millis& out, Millis min, Millis max) {
  const json::value* value = find(name);
  if (value == nullptr) return false;
  auto got = seconds_of(name, *value, min, max);
  if (!got) {
    refuse(std::move(got).error());
    return false;
  }
  out = *got;
  return true;
}

bool Fields::seconds(std::string_view name, std::optional<Millis>& out, Millis min, Millis max) {
  Millis got{0};
  if (!seconds(name, got, min, max)) return false;
  out = got;
  return true;
}

bool Fields::instant(std::string_view name, std::optional<Instant>& out) {
  const json::value* value = find(name);
  if (value == nullptr) return false;
  auto got = instant_of(name, *value);
  if (!got) {
    refuse(std::move(got).error());
    return false;
  }
  out = *got;
  return true;
}

bool Fields::texts(std::string_view name, std::vector<std::string>& out, std::size_t count_max,
                   std::size_t bytes_max) {
  const json::array* list = array(name);
  if (list == nullptr) return false;
  if (list->size() > count_max) {
    refuse(fail(Code::too_many, fmt::format("{} has {} entries", name, list->size()),
                fmt::format("at most {} are allowed", count_max)));
    return false;
  }
  out.clear();
  out.reserve(list->size());
  for (const json::value& item : *list) {
    auto got = text_of(name, item, bytes_max);
    if (!got) {
      refuse(std::move(got).error());
      return false;
    }
    out.emplace_back(*got);
  }
  return true;
}

bool Fields::pairs(std::string_view name, TextPairs& out, std::size_t count_max,
                   std::size_t name_bytes_max, std::size_t value_bytes_max) {
  const json::object* entries = object(name);
  if (entries == nullptr) return false;
  if (entries->size() > count_max) {
    refuse(fail(Code::too_many, fmt::format("{} has {} entries", name, entries->size()),
                fmt::format("at most {} are allowed", count_max)));
    return false;
  }
  out.clear();
  out.reserve(entries->size());
  for (const auto& entry : *entries) {
    const std::string_view key{entry.key().data(), entry.key().size()};
    auto key_ok = check_text(name, key, name_bytes_max);
    if (key.empty()) {
      key_ok = fail(Code::bad_value, fmt::format("{} has an empty name", name), "name it");
    }
    if (!key_ok) {
      refuse(std::move(key_ok).error());
      return false;
    }
    auto got = text_of(fmt::format("{}.{}", name, key), entry.value(), value_bytes_max);
    if (!got) {
      refuse(std::move(got).error());
      return false;
    }
    out.emplace_back(key, *got);
  }
  return true;
}

const json::object* Fields::object(std::string_view name) {
  const json::value* value = find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) refuse(wrong_kind(name, *value, "an object"));
  return value->if_object();
}

const json::array* Fields::array(std::string_view name) {
  const json::value* value = find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) refuse(wrong_kind(name, *value, "a list"));
  return value->if_array();
}

base::Result<void> Fields::finish() {
  if (error_) return std::move(*error_);
  const auto asked_end = asked_.begin() + static_cast<std::ptrdiff_t>(asked_count_);
  for (const auto& field : object_) {
    const std::string_view key{field.key().data(), field.key().size()};
    if (std::find(asked_.begin(), asked_end, key) != asked_end) continue;
    std::string known;
    for (auto it = asked_.begin(); it != asked_end; ++it) {
      if (!known.empty()) known += ' ';
      known += *it;
    }
    return fail(
        Code::unknown_field, fmt::format("unknown field '{}' in {}", base::shown(key), where_),
        known.empty() ? std::string{"send no fields"} : fmt::format("the fields are: {}", known));
  }
  return {};
}

json::object to_json(const Backoff& backoff) {
  return {{"kind", backoff.kind == BackoffKind::fixed ? "fixed" : "exponential"},
          {"base_s", json_seconds(backoff.base)},
          {"max_s", json_seconds(backoff.max)},
          {"jitter_percent", backoff.jitter_percent}};
}

base::Result<void> merge_backoff(const json::object& object, Backoff& out) {
  Fields fields(object, "backoff");
  std::string kind;
  if (fields.text("kind", kind, base::kNameBytesMax)) {
    if (kind == "fixed") {
      out.kind = BackoffKind::fixed;
    } else if (kind == "exponential") {
      out.kind = BackoffKind::exponential;
    } else {
      fields.refuse(fail(Code::bad_value, fmt::format("backoff.kind: '{}' is not allowed", kind),
                         "give fixed or exponential"));
    }
  }
  fields.seconds("base_s", out.base, Millis{0}, base::kDelayMax);
  fields.seconds("max_s", out.max, Millis{0}, base::kDelayMax);
  fields.integer("jitter_percent", out.jitter_percent, 0, 100);
  return fields.finish();
}

}  // namespace rq::core
