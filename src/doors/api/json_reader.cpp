#include "doors/api/json_reader.h"

#include <fmt/format.h>

#include <utility>

#include <boost/json/error.hpp>
#include <boost/json/parse_options.hpp>

#include "base/limits.h"
#include "core/json_fields.h"
#include "doors/api/limits.h"

namespace rq::doors::api {

using base::Code;
using base::fail;
namespace json = boost::json;

json::parse_options json_options() {
  json::parse_options out;
  out.max_depth = base::kJsonDepthMax;
  return out;
}

base::Error json_error(const boost::system::error_code& error, std::size_t at) {
  if (error == json::error::too_deep) {
    return fail(Code::bad_request, "the JSON is nested too deeply",
                fmt::format("at most {} levels are allowed", base::kJsonDepthMax));
  }
  return fail(Code::bad_request,
              fmt::format("the body is not JSON: {} at byte {}", error.message(), at),
              "send JSON in UTF-8");
}

JsonReader::JsonReader() : parser_({.data = temp_memory_.data(), .bytes = temp_memory_.size()}) {}

base::Result<const json::value*> JsonReader::parse(std::string_view text) {
  if (text.starts_with(base::kByteOrderMark)) text.remove_prefix(base::kByteOrderMark.size());
  value_.reset();
  resource_.emplace(value_memory_.data(), value_memory_.size());
  parser_.reset(&*resource_);
  boost::system::error_code error;
  const std::size_t used = parser_.write(false, text, error);
  if (error) return json_error(error, used);
  RQ_TRY_ASSIGN(value, parser_.release(text));
  value_.emplace(std::move(value));
  return &*value_;
}

base::Result<const json::object*> JsonReader::parse_object(std::string_view text) {
  if (text.empty()) return &empty_;
  RQ_TRY_ASSIGN(value, parse(text));
  if (!value->is_object()) return core::wrong_kind("the body", *value, "a JSON object");
  return &value->get_object();
}

}  // namespace rq::doors::api
