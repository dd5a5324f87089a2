#include "doors/api/text.h"

#include <fmt/format.h>

#include <charconv>

#include <boost/json/value.hpp>

#include "core/json_fields.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;

constexpr std::size_t kParametersMax = 64;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

base::Result<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[at] == '%') {
      const int high = at + 2 < text.size() ? hex_value(text[at + 1]) : -1;
      const int low = at + 2 < text.size() ? hex_value(text[at + 2]) : -1;
      if (high < 0 || low < 0) {
        return fail(Code::bad_request, "a '%' in the address is not followed by two hex digits",
                    "write a '%' itself as %25");
      }
      out += static_cast<char>(high * 16 + low);
      at += 2;
    } else {
      out += text[at];
    }
  }
  if (!is_utf8(out)) {
    return fail(Code::bad_request, "the address is not UTF-8", "encode it as UTF-8, then as %XX");
  }
  return out;
}

base::Result<Query> Query::parse(std::string_view query) {
  Query out;
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view piece = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (piece.empty()) continue;
    const std::size_t equals = std::min(piece.find('='), piece.size());
    RQ_TRY_ASSIGN(name, percent_decode(piece.substr(0, equals), true));
    RQ_TRY_ASSIGN(value, percent_decode(piece.substr(std::min(equals + 1, piece.size())), true));
    for (const auto& [other, unused] : out.parameters_) {
      if (other == name) {
        return fail(Code::bad_value, fmt::format("parameter '{}' is there twice", name),
                    "give it once");
      }
    }
    out.parameters_.emplace_back(std::move(name), std::move(value));
    if (out.parameters_.size() > kParametersMax) {
      return fail(Code::too_many, "too many query parameters",
                  fmt::format("at most {} are allowed", kParametersMax));
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
  std::int64_t got = 0;
  const char* end = value->data() + value->size();
  const auto [stop, error] = std::from_chars(value->data(), end, got);
  if (error != std::errc{} || stop != end || got < min || got > max) {
    refuse(fail(Code::bad_value, fmt::format("{}: '{}' is not allowed", name, *value),
                fmt::format("give a whole number from {} to {}", min, max)));
    return false;
  }
  out = got;
  return true;
}

bool Query::text(std::string_view name, std::string& out, std::size_t bytes_max) {
  const std::string* value = find(name);
  if (value == nullptr) return false;
  if (auto good = core::check_text(name, *value, bytes_max); !good) {
    refuse(std::move(good).error());
    return false;
  }
  out = *value;
  return true;
}

bool Query::instant(std::string_view name, std::optional<base::Instant>& out) {
  const std::string* value = find(name);
  if (value == nullptr) return false;
  double seconds = 0;
  const char* end = value->data() + value->size();
  const auto [stop, error] = std::from_chars(value->data(), end, seconds);
  const boost::json::value json = error == std::errc{} && stop == end ? boost::json::value(seconds)
                                                                      : boost::json::value(*value);
  auto at = core::instant_of(name, json);
  if (!at) {
    refuse(std::move(at).error());
    return false;
  }
  out = *at;
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
                fmt::format("unknown query parameter '{}'", parameters_[i].first.substr(0, 64)),
                known_.empty() ? std::string{"this call takes none"}
                               : fmt::format("the parameters are: {}", known_));
  }
  return {};
}

}  // namespace rq::doors::api
