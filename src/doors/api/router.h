#pragma once
// Which handler answers which path and method. One table (routes.cpp) is read by the router, by the
// 405 answers and by the test that holds the OpenAPI document against it.
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rq::doors::api {

class Exchange;
struct Request;

enum class Method : std::uint8_t { get, post, put, patch, del, other };
[[nodiscard]] std::string_view name_of(Method method);

using Handler = void (*)(Exchange&, const Request&);

enum class Body : std::uint8_t {
  none,   // refused when there is one
  json,   // one JSON object; may be left out where the handler says so
  items,  // a put: JSON, many in a list or line by line, or raw bytes
};

struct Route {
  Method method = Method::get;
  std::string_view pattern;  // "/v1/queues/{queue}/messages"
  Body body = Body::none;
  Handler handler = nullptr;
};

// All routes, in the order of docs/API.md.
[[nodiscard]] std::span<const Route> route_table();

inline constexpr std::size_t kPathParametersMax = 2;

class Router {
 public:
  explicit Router(std::span<const Route> routes);

  struct Match {
    const Route* route = nullptr;  // null: no such path, or not with this method
    std::string_view allow;        // "GET, HEAD, PUT": set when the path exists
    std::array<std::string_view, kPathParametersMax> parameters;  // still percent-encoded
  };
  [[nodiscard]] Match match(Method method, std::string_view path) const;

 private:
  // One segment of a path: literal children first, then the one parameter.
  struct Node {
    std::vector<std::pair<std::string_view, std::unique_ptr<Node>>> literals;
    std::unique_ptr<Node> parameter;
    std::array<const Route*, static_cast<std::size_t>(Method::other)> routes{};
    std::string allow;
  };
  static void find(const Node& node, Method method, std::string_view rest, std::size_t depth,
                   Match& match);

  Node root_;
};

}  // namespace rq::doors::api
