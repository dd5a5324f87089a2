#pragma once
// What a route needs of its caller, and the one place that looks whether they have it.
#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/result.h"
#include "core/caller.h"
#include "core/rights.h"
#include "http/exchange.h"
#include "http/router.h"

namespace rq::doors::api {

// For which queues the right must hold.
enum class Scope : std::uint8_t {
  queue,  // the one that the path names
  all,    // every queue: what the call is about may be in any
  // One at least: nothing is told of a queue, or whether they may is looked at where it is found
  // which queue it is about (engine/rights, find_message, may_list).
  any,
};

[[nodiscard]] constexpr http::Need need(core::Right right, Scope scope) {
  return {static_cast<std::uint8_t>(right), static_cast<std::uint8_t>(scope)};
}
[[nodiscard]] constexpr core::Right right_of(const http::Route& route) {
  return static_cast<core::Right>(route.need.right);
}
[[nodiscard]] constexpr Scope scope_of(const http::Route& route) {
  return static_cast<Scope>(route.need.scope);
}

[[nodiscard]] bool may_use(const core::Rights& rights, const http::Route& route,
                           const http::PathParameters& parameters);
// Why not, and what helps: the socket in `dir`, its rq.toml, a token.
[[nodiscard]] base::Error refused_to(const core::Caller& caller, const http::Route& route,
                                     const http::PathParameters& parameters,
                                     const std::filesystem::path& dir);

}  // namespace rq::doors::api
