#pragma once
// The OpenAPI 3.1 document: openapi.json, embedded when the server is built.
#include <string_view>

namespace rq::doors::api {

[[nodiscard]] std::string_view openapi_document();

}  // namespace rq::doors::api
