#pragma once
// Strict reading of one JSON object: every field has a kind and bounds, and a field that nobody
// asked for is refused by name.
//
//   Fields fields(object, "the queue settings");
//   fields.integer("nice", settings.nice, -20, 19);
//   RQ_TRY(fields.finish());
//
// The first error is kept and given by finish(); a reader does nothing once there is one. Each
// reader says whether the field was there (null counts as absent). Names must be literals.
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "base/result.h"
#include "core/bounds.h"
#include "core/message.h"

namespace rq::core {

class Fields {
 public:
  // `where` completes "unknown field 'x' in ...".
  Fields(const boost::json::object& object, std::string_view where)
      : object_(object), where_(where) {}

  // Null when absent or null. The field counts as asked for.
  [[nodiscard]] const boost::json::value* find(std::string_view name);
  // The same, but a null is told apart from an absent field.
  [[nodiscard]] const boost::json::value* find_or_null(std::string_view name);

  // Text without NUL bytes (it may go into an environment).
  bool text(std::string_view name, std::string& out, std::size_t bytes_max);
  bool boolean(std::string_view name, bool& out);
  template <typename Int>
  bool integer(std::string_view name, Int& out, std::int64_t min, std::int64_t max) {
    std::int64_t wide = 0;
    if (!wide_integer(name, wide, min, max)) return false;
    out = static_cast<Int>(wide);
    return true;
  }
  template <typename Int>
  bool integer(std::string_view name, std::optional<Int>& out, std::int64_t min, std::int64_t max) {
    std::int64_t wide = 0;
    if (!wide_integer(name, wide, min, max)) return false;
    out = static_cast<Int>(wide);
    return true;
  }
  // A number of seconds, fractions allowed, kept in milliseconds.
  bool seconds(std::string_view name, Millis& out, Millis min, Millis max);
  bool seconds(std::string_view name, std::optional<Millis>& out, Millis min, Millis max);
  // ISO 8601 text, or a number of seconds since the epoch.
  bool instant(std::string_view name, std::optional<Instant>& out);
  bool texts(std::string_view name, std::vector<std::string>& out, std::size_t count_max,
             std::size_t bytes_max);
  // An object of texts, in the order given.
  bool pairs(std::string_view name, TextPairs& out, std::size_t count_max,
             std::size_t name_bytes_max, std::size_t value_bytes_max);
  [[nodiscard]] const boost::json::object* object(std::string_view name);
  [[nodiscard]] const boost::json::array* array(std::string_view name);

  // Keeps `error` when it is the first.
  void refuse(base::Error error);
  [[nodiscard]] bool failed() const { return error_.has_value(); }
  // The first error; or unknown_field when the object has a field that nobody asked for.
  [[nodiscard]] base::Result<void> finish();

 private:
  bool wide_integer(std::string_view name, std::int64_t& out, std::int64_t min, std::int64_t max);

  const boost::json::object& object_;
  const std::string_view where_;
  std::optional<base::Error> error_;
  // An object of the API has fewer fields than this.
  static constexpr std::size_t kAskedMax = 40;
  std::array<std::string_view, kAskedMax> asked_;
  std::size_t asked_count_ = 0;
};

// Field by field, for readers that walk the object themselves. All refusals name field and value.
[[nodiscard]] base::Error wrong_kind(std::string_view name, const boost::json::value& value,
                                     std::string_view wanted);
[[nodiscard]] base::Result<std::int64_t> integer_of(std::string_view name,
                                                    const boost::json::value& value,
                                                    std::int64_t min, std::int64_t max);
[[nodiscard]] base::Result<Millis> seconds_of(std::string_view name,
                                              const boost::json::value& value, Millis min,
                                              Millis max);
[[nodiscard]] base::Result<Instant> instant_of(std::string_view name,
                                               const boost::json::value& value);
[[nodiscard]] base::Result<std::string_view> text_of(std::string_view name,
                                                     const boost::json::value& value,
                                                     std::size_t bytes_max);

// A whole number when it is one: 60, 0.25.
[[nodiscard]] boost::json::value json_seconds(Millis length);
// As text, with numbers as people write them: 0.05, not 5E-2.
[[nodiscard]] std::string plain_json(const boost::json::value& value);

// {"kind":"exponential","base_s":15,"max_s":3600,"jitter_percent":20}; absent fields keep `out`.
[[nodiscard]] base::Result<void> merge_backoff(const boost::json::object& object, Backoff& out);
[[nodiscard]] boost::json::object to_json(const Backoff& backoff);

}  // namespace rq::core
