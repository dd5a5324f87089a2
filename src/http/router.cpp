#include "http/router.h"

#include <algorithm>

#include "base/check.h"

namespace rq::http {
namespace {

// Takes the first segment off "/a/b": "a", leaving "/b".
std::string_view take_segment(std::string_view& rest) {
  const std::size_t end = std::min(rest.find('/', 1), rest.size());
  const std::string_view segment = rest.substr(1, end - 1);
  rest.remove_prefix(end);
  return segment;
}

}  // namespace

Router::Router(std::span<const Route> routes) : routes_(routes) {
  for (std::size_t number = 0; number < routes.size(); ++number) {
    const Route& route = routes[number];
    Node* node = &root_;
    std::string_view rest = route.pattern;
    while (!rest.empty()) {
      const std::string_view segment = take_segment(rest);
      if (segment.starts_with('{')) {
        if (!node->parameter) node->parameter = std::make_unique<Node>();
        node = node->parameter.get();
        continue;
      }
      auto& literals = node->literals;
      auto at = std::find_if(literals.begin(), literals.end(),
                             [&](const auto& entry) { return entry.first == segment; });
      if (at == literals.end()) {
        at = literals.insert(literals.end(), {segment, std::make_unique<Node>()});
      }
      node = at->second.get();
    }
    auto& place = node->routes.at(static_cast<std::size_t>(route.method));
    RQ_CHECK(!place.has_value());
    place = number;
    if (!node->allow.empty()) node->allow += ", ";
    node->allow += name_of(route.method);
    if (route.method == Method::get) node->allow += ", HEAD";
  }
}

void Router::find(const Node& node, Method method, std::string_view rest, std::size_t depth,
                  Match& match) {
  if (rest.empty()) {
    match.allow = node.allow;
    if (method != Method::other) match.route = node.routes[static_cast<std::size_t>(method)];
    return;
  }
  const std::string_view segment = take_segment(rest);
  for (const auto& [literal, child] : node.literals) {
    if (literal != segment) continue;
    find(*child, method, rest, depth, match);
    if (!match.allow.empty()) return;
  }
  if (!node.parameter || segment.empty() || depth >= kPathParametersMax) return;
  match.parameters[depth] = segment;
  find(*node.parameter, method, rest, depth + 1, match);
}

Router::Match Router::match(Method method, std::string_view path) const {
  Match match;
  if (path.starts_with('/')) find(root_, method, path, 0, match);
  return match;
}

}  // namespace rq::http
