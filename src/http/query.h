#pragma once
// The parameters of a query string; each must be asked for by name, what is left is refused.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace rq::http {

class Query {
 public:
  [[nodiscard]] static base::Result<Query> parse(std::string_view query);

  // Null when it is not there.
  [[nodiscard]] const std::string* find(std::string_view name);
  // Present, and not "0" or "false". An empty value counts as given: ?force
  bool flag(std::string_view name, bool& out);
  bool integer(std::string_view name, std::int64_t& out, std::int64_t min, std::int64_t max);
  // The first refusal is kept and given by finish().
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

}  // namespace rq::http
