#pragma once
// Text on its way in and out: UTF-8, JSON strings, percent-encoding, query parameters.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "core/message.h"

namespace rq::doors::api {

[[nodiscard]] bool is_utf8(std::string_view text);
// How many bytes at the end of `text` are the start of a UTF-8 sequence that is not whole yet.
[[nodiscard]] std::size_t unfinished_utf8(std::string_view text);

// Appends "text" with quotes, escaped. What is not UTF-8 becomes U+FFFD, so that a reply is always
// valid JSON, whatever a script printed.
void append_json_string(std::string& out, std::string_view text);

void append_number(std::string& out, std::int64_t number);
void append_instant(std::string& out, base::Instant at);     // quoted ISO 8601
void append_seconds(std::string& out, base::Millis length);  // 60, 0.25

// bad_request when an escape is broken.
[[nodiscard]] base::Result<std::string> percent_decode(std::string_view text, bool plus_is_space);

// The parameters of a query string; each must be asked for by name, what is left is refused.
class Query {
 public:
  [[nodiscard]] static base::Result<Query> parse(std::string_view query);

  // Null when it is not there.
  [[nodiscard]] const std::string* find(std::string_view name);
  // Present, and not "0" or "false". An empty value counts as given: ?force
  bool flag(std::string_view name, bool& out);
  bool integer(std::string_view name, std::int64_t& out, std::int64_t min, std::int64_t max);
  bool text(std::string_view name, std::string& out, std::size_t bytes_max);
  bool instant(std::string_view name, std::optional<base::Instant>& out);
  void refuse(base::Error error);
  [[nodiscard]] base::Result<void> finish() const;

  using Parameter = std::pair<std::string, std::string>;
  [[nodiscard]] const std::vector<Parameter>& all() const { return parameters_; }

 private:
  std::vector<Parameter> parameters_;
  std::vector<bool> asked_;
  std::string known_;
  std::optional<base::Error> error_;
};

}  // namespace rq::doors::api
