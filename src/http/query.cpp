#include "http/query.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/number.h"
#include "base/utf8.h"
#include "http/limits.h"
#include "http/percent.h"

namespace rq::http {

using base::Code;
using base::fail;

base::Result<Query> Query::parse(std::string_view query) {
  Query out;
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view piece = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (piece.empty()) continue;
    const std::size_t equals = std::min(piece.find('='), piece.size());
    RQ_TRY_ASSIGN(name, percent_decode(piece.substr(0, equals), Plus::is_space));
    RQ_TRY_ASSIGN(value,
                  percent_decode(piece.substr(std::min(equals + 1, piece.size())), Plus::is_space));
    for (const auto& [other, unused] : out.parameters_) {
      if (other == name) {
        return fail(Code::bad_value, fmt::format("parameter '{}' is there twice", name),
                    "give it once");
      }
    }
    out.parameters_.emplace_back(std::move(name), std::move(value));
    if (out.parameters_.size() > kQueryParametersMax) {
      return fail(Code::too_many, "too many query parameters",
                  fmt::format("at most {} are allowed", kQueryParametersMax));
    }
  }
  out.asked_.resize(out.parameters_.size());
  return out;
}

const std::string* Query::find(std::string_view name) {
  if (!known_.empty()) known_ += ' ';
  known_ += name;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i].first != name) continue;
    asked_[i] = true;
    return &parameters_[i].second;
  }
  return nullptr;
}

bool Query::flag(std::string_view name, bool& out) {
  const std::string* value = find(name);
  if (value == nullptr) return false;
  if (value->empty() || *value == "1" || *value == "true") {
    out = true;
  } else if (*value == "0" || *value == "false") {
    out = false;
  } else {
    refuse(fail(Code::bad_value, fmt::format("{}: '{}' is neither yes nor no", name, *value),
                "give 1 or 0"));
    return false;
  }
  return true;
}

bool Query::integer(std::string_view name, std::int64_t& out, std::int64_t min, std::int64_t max) {
  const std::string* value = find(name);
  if (value == nullptr) return false;
  const auto got = base::whole_number<std::int64_t>(*value);
  if (!got || *got < min || *got > max) {
    refuse(fail(Code::bad_value, fmt::format("{}: '{}' is not allowed", name, *value),
                fmt::format("give a whole number from {} to {}", min, max)));
    return false;
  }
  out = *got;
  return true;
}

void Query::refuse(base::Error error) {
  if (!error_) error_ = std::move(error);
}

base::Result<void> Query::finish() const {
  if (error_) return *error_;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (asked_[i]) continue;
    return fail(Code::unknown_field,
                fmt::format("unknown query parameter '{}'", base::shown(parameters_[i].first)),
                known_.empty() ? std::string{"this call takes none"}
                               : fmt::format("the parameters are: {}", known_));
  }
  return {};
}

}  // namespace rq::http
