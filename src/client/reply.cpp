#include "client/reply.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/limits.h"
#include "base/utf8.h"

namespace rq::client {
namespace {

namespace json = boost::json;
using base::Code;
using base::Error;
using base::fail;

// For an answer whose body is not ours (a proxy, another program on that port).
Code code_of_status(unsigned status) {
  for (const base::CodeRow& row : base::code_table()) {
    if (row.http_status == static_cast<int>(status)) return row.code;
  }
  return status >= 500 ? Code::internal : Code::bad_request;
}

}  // namespace

Error foreign(std::string_view what, std::string_view body) {
  return fail(Code::internal, fmt::format("{}: '{}'", what, base::shown(body)),
              "is it really an rq server that listens there?");
}

Error error_in(const json::object& holder) {
  const json::value* inner = holder.if_contains("error");
  if (inner == nullptr || !inner->is_object()) return fail(Code::internal, "");
  const auto field = [inner](std::string_view name) {
    const json::value* found = inner->get_object().if_contains(name);
    return found != nullptr && found->is_string() ? std::string(found->get_string())
                                                  : std::string();
  };
  return fail(base::code_of(field("code")).value_or(Code::internal), field("message"),
              field("remedy"));
}

Error error_of(const Reply& reply) {
  boost::system::error_code failed;
  const json::value value = json::parse(reply.body, failed);
  if (!failed && value.is_object()) {
    Error error = error_in(value.get_object());
    if (!error.message.empty()) return error;
  }
  return fail(code_of_status(reply.status),
              fmt::format("the server answered {} without saying why", reply.status),
              "is it really an rq server that listens there?");
}

base::Result<json::value> json_of(const Reply& reply) {
  if (!reply.is_success()) return error_of(reply);
  if (reply.body.empty()) return json::value(json::object{});
  boost::system::error_code error;
  json::parse_options options;
  options.max_depth = base::kJsonDepthMax * 2;  // a payload or result inside an answer
  json::value value = json::parse(reply.body, error, {}, options);
  if (error) {
    return foreign(fmt::format("the answer is not JSON ({})", error.message()), reply.body);
  }
  return value;
}

}  // namespace rq::client
