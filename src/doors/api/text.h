#pragma once
// Text on its way in and out: percent-encoding, query parameters.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json_writer.h"
#include "base/result.h"
#include "base/time.h"
#include "base/utf8.h"
#include "core/message.h"

namespace rq::doors::api {

using base::append_instant;
using base::append_json_string;
using base::append_number;
using base::append_seconds;
using base::is_utf8;
using base::unfinished_utf8;

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
