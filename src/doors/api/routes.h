#pragma once
// The routes of the API. One table is read by the server, by the 405 answers and by the test that
// holds the OpenAPI document against it.
#include <span>

#include "doors/api/exchange.h"
#include "doors/rights.h"
#include "http/router.h"
#include "http/server.h"

namespace rq::doors::api {

using Handler = void (*)(Exchange&, const Request&);
// Says where the body goes, before any of it has come.
using Opener = base::Result<http::Intake> (*)(Exchange&, const Request&);

struct Route {
  http::Route http;
  Handler handler = nullptr;
  Opener open = nullptr;  // null: there is no body
};

// All routes, in the order of docs/API.md.
[[nodiscard]] std::span<const Route> route_table();
// The same, as the server knows them.
[[nodiscard]] std::span<const http::Route> http_routes();

}  // namespace rq::doors::api
