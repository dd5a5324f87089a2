#include "doors/api/permission.h"

#include <fmt/format.h>

#include <string>

#include "base/utf8.h"

namespace rq::doors::api {

bool may_use(const core::Rights& rights, const http::Route& route,
             const http::PathParameters& parameters) {
  const core::Right right = right_of(route);
  switch (scope_of(route)) {
    case Scope::queue:
      return rights.has(right, parameters[0]);
    case Scope::all:
      return rights.has_everywhere(right);
    case Scope::any:
      return rights.has_somewhere(right);
  }
  return false;
}

base::Error refused_to(const core::Caller& caller, const http::Route& route,
                       const http::PathParameters& parameters, const std::filesystem::path& dir) {
  const core::Right right = right_of(route);
  std::string what = fmt::format("{} has not the right '{}'", caller.name, core::name_of(right));
  if (scope_of(route) == Scope::queue) {
    what += fmt::format(" for queue '{}'", base::shown(parameters[0]));
  } else if (scope_of(route) == Scope::all && caller.rights.has_somewhere(right)) {
    what += " for all queues";
  }
  const std::string config = (dir / "rq.toml").string();
  if (caller.name != core::kAnonymous) {
    return base::fail(base::Code::forbidden, what,
                      fmt::format("whoever keeps the server may give it, in {}", config));
  }
  return base::fail(
      base::Code::forbidden, what,
      fmt::format("use the unix socket {} (rq does, where neither --server nor RQ_SERVER is "
                  "given); whoever keeps the server may give rights, in {}",
                  (dir / "run" / "rq.sock").string(), config));
}

}  // namespace rq::doors::api
