#pragma once
// JSON as text, appended piece by piece to a string: no tree in between.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/number.h"
#include "base/time.h"

namespace rq::base {

// Appends "text" with quotes, escaped. What is not UTF-8 becomes U+FFFD, so that the result is
// always valid JSON, whatever a script printed.
void append_json_string(std::string& out, std::string_view text);

void append_instant(std::string& out, Instant at);     // quoted ISO 8601
void append_seconds(std::string& out, Millis length);  // 60, 0.25

// Appends one JSON object field by field, with the commas.
class JsonObject {
 public:
  explicit JsonObject(std::string& out) : out_(out) { out_ += '{'; }
  JsonObject(const JsonObject&) = delete;
  JsonObject& operator=(const JsonObject&) = delete;

  // Writes the name; the caller appends the value to the string that comes back. `name` needs no
  // escaping.
  std::string& key(std::string_view name);
  void text(std::string_view name, std::string_view value);
  void number(std::string_view name, std::int64_t value);
  void boolean(std::string_view name, bool value);
  void instant(std::string_view name, Instant value);
  void seconds(std::string_view name, Millis value);
  void null(std::string_view name);
  // Must be JSON.
  void raw(std::string_view name, std::string_view json);
  void close() { out_ += '}'; }

 private:
  std::string& out_;
  bool first_ = true;
};

}  // namespace rq::base
