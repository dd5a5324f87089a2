// Where the body of a route goes that takes one JSON object.
#include <fmt/format.h>

#include <memory>

#include "base/utf8.h"
#include "doors/api/handlers.h"
#include "doors/api/json_sink.h"
#include "doors/api/limits.h"

namespace rq::doors::api {

base::Result<http::Intake> open_json(Exchange& x, const Request& request) {
  const std::string& type = request.head.media_type;
  // An empty body is none, whatever it is called: curl -d '' says that it is a form.
  const bool empty = request.length && *request.length == 0;
  if (!empty && !type.empty() && type != "application/json") {
    return base::fail(base::Code::unsupported,
                      fmt::format("content type '{}' is not taken here", base::shown(type)),
                      "send JSON, and say so: -H 'content-type: application/json'");
  }
  http::Intake intake;
  if (!request.length || *request.length > kJsonAtOnceBytes) {
    intake.sink = std::make_unique<JsonSink>(x);
  }
  return intake;
}

}  // namespace rq::doors::api
