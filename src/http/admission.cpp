#include "http/admission.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "http/percent.h"
#include "http/server.h"

namespace rq::http {
namespace {

using base::Code;
using base::fail;

// A longer path is looked for each time: what a connection remembers stays small.
constexpr std::size_t kSamePathBytesMax = 256;

Refusal refusal(base::Error error, std::string fields = {}) {
  const int status = base::row_of(error.code).http_status;
  return {.status = status, .error = std::move(error), .fields = std::move(fields)};
}

std::optional<base::Error> check_form(const Head& head) {
  if (head.target_too_long) {
    return fail(Code::too_large, "the address of the request is too long",
                fmt::format("at most {} bytes are allowed", kTargetBytesMax));
  }
  const std::size_t scheme =
      head.target.starts_with('/') ? std::string::npos : head.target.find("://");
  if (scheme != std::string::npos) {
    return fail(Code::bad_request,
                fmt::format("the scheme '{}' is not spoken here",
                            base::shown(head.target.substr(0, scheme))),
                "give http://HOST:PORT/PATH, or a path alone");
  }
  if (head.target_bad || !head.target.starts_with('/')) {
    return fail(Code::bad_request, "the address of the request is not a path",
                "give a path such as /a/b, with other bytes as %XX");
  }
  if (head.hosts > 1) {
    return fail(Code::bad_request, fmt::format("the request has {} Host fields", head.hosts),
                "send exactly one");
  }
  if (head.expect_unknown) {
    return fail(Code::bad_request, "the request expects something unknown",
                "expect nothing but 100-continue");
  }
  return std::nullopt;
}

std::optional<base::Error> check_body(const Head& head, std::uint64_t length, const Body& body) {
  if (head.encoded) {
    return fail(Code::unsupported, "the body has a Content-Encoding",
                "send it as it is, without one");
  }
  if (length == 0) return std::nullopt;
  if (body.kind != Body::Kind::none && length <= body.bytes_max) return std::nullopt;
  return body_refusal(body, body.bytes_max);
}

std::optional<Refusal> find_route(const Head& head, std::string_view path, const Router& router,
                                  Admitted& admitted) {
  admitted.path.clear();
  const Router::Match match = router.match(head.method, path);
  if (match.allow.empty()) {
    return refusal(fail(Code::not_found, fmt::format("there is no {}", base::shown(path)),
                        "look at the address"));
  }
  if (!match.route) {
    return refusal(fail(Code::method_not_allowed,
                        fmt::format("{} does not take that method", base::shown(path)),
                        fmt::format("use {}", match.allow)),
                   fmt::format("Allow: {}\r\n", match.allow));
  }
  admitted.route = *match.route;
  for (std::size_t i = 0; i < kPathParametersMax; ++i) {
    auto decoded = percent_decode(match.parameters[i], Plus::is_plus);
    if (!decoded) return refusal(std::move(decoded).error());
    admitted.parameters[i] = *std::move(decoded);
  }
  admitted.method = head.method;
  if (path.size() <= kSamePathBytesMax) admitted.path = path;
  return std::nullopt;
}

}  // namespace

base::Error body_refusal(const Body& body, std::uint64_t bytes_max) {
  if (body.kind == Body::Kind::none) {
    return fail(Code::bad_request, "this call takes no body", "send none");
  }
  return fail(Code::too_large, "the body of the request is too large",
              fmt::format("at most {} bytes are taken here", bytes_max));
}

std::optional<Refusal> judge(const Head& head, std::uint64_t length, Site& site,
                             const Router& router, const net::Caller& caller, Admitted& admitted) {
  if (auto error = check_form(head)) return refusal(*std::move(error));
  if (auto error = site.admit(head, caller)) return refusal(*std::move(error));
  const std::string_view path = head.path();
  if (admitted.method != head.method || admitted.path != path) {
    if (auto refused = find_route(head, path, router, admitted)) return refused;
  }
  if (auto error = site.permit(router.route(admitted.route), caller))
    return refusal(*std::move(error));
  if (auto error = check_body(head, length, router.route(admitted.route).body)) {
    return refusal(*std::move(error));
  }
  return std::nullopt;
}

}  // namespace rq::http
