#include "doors/api/query.h"

#include <charconv>
#include <utility>

#include <boost/json/value.hpp>

#include "core/json_fields.h"

namespace rq::doors::api {

base::Result<Query> Query::parse(std::string_view query) {
  RQ_TRY_ASSIGN(parsed, http::Query::parse(query));
  return Query(std::move(parsed));
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

}  // namespace rq::doors::api
