#pragma once
// Whether a request is taken, by its head alone.
#include <array>
#include <optional>
#include <string>

#include "base/result.h"
#include "http/router.h"
#include "net/channel.h"

namespace rq::http {

class Site;

struct Refusal {
  int status = 400;
  base::Error error;
  std::string fields;  // of the reply's head
};

// Where an admitted request goes. A connection keeps that of its last one, and route and parameters
// are looked for anew only when `method` or `path` differs.
struct Admitted {
  Method method = Method::other;
  std::string path;  // empty: it differs from any
  std::size_t route = 0;
  std::array<std::string, kPathParametersMax> parameters;  // decoded
};

// What is wrong with a body that the route does not take, or that has more bytes than are taken.
[[nodiscard]] base::Error body_refusal(const Body& body, std::uint64_t bytes_max);

// Absent: it is taken, and `admitted` says where it goes; before the call it is that of the last
// request of the connection. `length` is that of the body, as the head says it.
[[nodiscard]] std::optional<Refusal> judge(const Head& head, std::uint64_t length, Site& site,
                                           const Router& router, const net::Caller& caller,
                                           Admitted& admitted);

}  // namespace rq::http
