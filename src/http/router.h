#pragma once
// Which route answers which path and method. A route says what it needs and what its body may be;
// what it does is known to the site that brings the table.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/limits.h"
#include "http/message.h"

namespace rq::http {

struct Body {
  enum class Kind : std::uint8_t {
    none,  // refused when there is one
    some,  // goes where the site says: into a sink, or it is kept whole
  };
  Kind kind = Kind::none;
  std::uint64_t bytes_max = 0;
  std::size_t rate_min = kBodyRateMin;  // bytes a second; a slower sender is cut off
};

struct Route {
  Method method = Method::get;
  std::string_view pattern;  // "/shelves/{shelf}/books"
  std::uint8_t right = 0;    // that the caller must have; the site knows what it means
  Body body;
  // Its replies are small, whatever is asked: requests behind it are read while it is served. Else
  // the connection serves it alone.
  bool pipelined = false;
};

class Router {
 public:
  // The number of a route is its place in the table.
  explicit Router(std::span<const Route> routes);

  struct Match {
    std::optional<std::size_t> route;  // absent: no such path, or not with this method
    std::string_view allow;            // "GET, HEAD, PUT": set when the path exists
    std::array<std::string_view, kPathParametersMax> parameters;  // still percent-encoded
  };
  [[nodiscard]] Match match(Method method, std::string_view path) const;
  [[nodiscard]] const Route& route(std::size_t number) const { return routes_[number]; }

 private:
  // One segment of a path: literal children first, then the one parameter.
  struct Node {
    std::vector<std::pair<std::string_view, std::unique_ptr<Node>>> literals;
    std::unique_ptr<Node> parameter;
    std::array<std::optional<std::size_t>, static_cast<std::size_t>(Method::other)> routes{};
    std::string allow;
  };
  static void find(const Node& node, Method method, std::string_view rest, std::size_t depth,
                   Match& match);

  std::span<const Route> routes_;
  Node root_;
};

}  // namespace rq::http
