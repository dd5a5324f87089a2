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

// Where an admitted request goes. Of a connection: the next one is mostly for the same path.
struct Admitted {
  Method method = Method::other;
  std::string path;  // empty: nothing of the last one is to be used
  std::size_t route = 0;
  std::array<std::string, kPathParametersMax> parameters;  // decoded
};

// What is wrong with a body that the route does not take, or that has more bytes than are taken.
[[nodiscard]] base::Error body_refusal(const Body& body, std::uint64_t bytes_max);

// Absent: it is taken, and `out`, which still says it of the last one, says where it goes. `length`
// is that of the body, as the head says it.
[[nodiscard]] std::optional<Refusal> judge(const Head& head, std::uint64_t length, Site& site,
                                           const Router& router, const net::Caller& caller,
                                           Admitted& out);

}  // namespace rq::http
