#include "doors/api/routes.h"

#include <gtest/gtest.h>

#include <set>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "doors/api/openapi.h"

namespace rq::doors::api {
namespace {

using http::Method;

http::Router::Match find(Method method, std::string_view path) {
  static const http::Router router(http_routes());
  return router.match(method, path);
}

std::string_view pattern_of(const http::Router::Match& match) {
  return match.route ? http_routes()[*match.route].pattern : std::string_view{};
}

TEST(Router, FindsEveryRouteOfTheTable) {
  for (const http::Route& route : http_routes()) {
    std::string path{route.pattern};
    for (std::size_t at; (at = path.find('{')) != std::string::npos;) {
      path.replace(at, path.find('}') - at + 1, "some-name");
    }
    const auto match = find(route.method, path);
    EXPECT_EQ(pattern_of(match), route.pattern) << path;
  }
}

// Whoever may define a queue may run programs; whoever only looks changes nothing.
TEST(Routes, NameTheRightThatTheyNeed) {
  const auto right_of = [](Method method, std::string_view path) {
    return static_cast<Right>(http_routes()[*find(method, path).route].right);
  };
  for (const http::Route& route : http_routes()) {
    const auto right = static_cast<Right>(route.right);
    EXPECT_LE(right, Right::admin) << route.pattern;
    EXPECT_EQ(right == Right::read, route.method == Method::get) << route.pattern;
  }
  for (const Method method : {Method::put, Method::patch, Method::del}) {
    EXPECT_EQ(right_of(method, "/v1/queues/a"), Right::define);
  }
  EXPECT_EQ(right_of(Method::post, "/v1/queues/a/pause"), Right::manage);
  EXPECT_EQ(right_of(Method::post, "/v1/queues/a/messages"), Right::enqueue);
  EXPECT_EQ(right_of(Method::post, "/v1/messages/bulk"), Right::manage);
  EXPECT_EQ(right_of(Method::del, "/v1/messages/1"), Right::manage);
  for (const char* path : {"/v1/reserve", "/v1/heartbeat", "/v1/done", "/v1/duplicate"}) {
    EXPECT_EQ(right_of(Method::post, path), Right::work) << path;
  }
  EXPECT_EQ(right_of(Method::post, "/v1/clock/advance"), Right::admin);
}

TEST(Routes, OnlySmallRepliesArePipelined) {  // faults.md D9
  for (const char* path : {"/v1/messages", "/v1/messages/1", "/v1/messages/1/payload",
                           "/v1/messages/1/log", "/v1/queues", "/v1/messages/1/attempts"}) {
    EXPECT_FALSE(http_routes()[*find(Method::get, path).route].pipelined) << path;
  }
  EXPECT_FALSE(http_routes()[*find(Method::post, "/v1/reserve").route].pipelined);
  EXPECT_TRUE(http_routes()[*find(Method::post, "/v1/queues/a/messages").route].pipelined);
}

TEST(Router, GivesTheParameters) {
  const auto match = find(Method::post, "/v1/messages/key:a%2Fb/retry");
  ASSERT_TRUE(match.route);
  EXPECT_EQ(match.parameters[0], "key:a%2Fb");
}

TEST(Router, ALiteralGoesBeforeAParameter) {
  EXPECT_EQ(pattern_of(find(Method::post, "/v1/messages/bulk")), "/v1/messages/bulk");
  EXPECT_FALSE(find(Method::get, "/v1/messages/bulk").route);
}

TEST(Router, AnotherMethodIsNotAnotherPath) {
  const auto match = find(Method::patch, "/v1/messages/1");
  EXPECT_FALSE(match.route);
  EXPECT_EQ(match.allow, "GET, HEAD, DELETE");
}

TEST(Router, WhatIsNotThereIsNotFound) {
  for (const char* path : {"", "/", "v1/queues", "/v1", "/v1/", "/v1/queues/", "/v1//queues",
                           "/v1/queues/a/", "/v1/queues/a/b/c", "/v1/messages//why", "//"}) {
    const auto match = find(Method::get, path);
    EXPECT_FALSE(match.route) << path;
    EXPECT_TRUE(match.allow.empty()) << path;
  }
}

TEST(OpenApi, HoldsTheRouteTableAndNoMore) {
  const auto document = boost::json::parse(openapi_document());
  EXPECT_EQ(document.at("openapi").as_string(), "3.1.0");
  std::set<std::string> documented;
  for (const auto& path : document.at("paths").as_object()) {
    for (const auto& operation : path.value().as_object()) {
      std::string method{operation.key()};
      for (char& c : method) c = static_cast<char>(c - 'a' + 'A');
      documented.insert(method + " " + std::string{path.key()});
    }
  }
  std::set<std::string> routed;
  for (const http::Route& route : http_routes()) {
    routed.insert(std::string{name_of(route.method)} + " " + std::string{route.pattern});
  }
  EXPECT_EQ(documented, routed);
}

TEST(OpenApi, EveryOperationSaysWhatItTakesAndGives) {
  const auto document = boost::json::parse(openapi_document());
  std::set<std::string> names;
  for (const http::Route& route : http_routes()) {
    std::string method{name_of(route.method)};
    for (char& c : method) c = static_cast<char>(c - 'A' + 'a');
    const auto& operation = document.at("paths").at(route.pattern).at(method).as_object();
    EXPECT_TRUE(names.insert(std::string{operation.at("operationId").as_string()}).second)
        << route.pattern;
    EXPECT_FALSE(operation.at("summary").as_string().empty());
    EXPECT_GE(operation.at("responses").as_object().size(), 2U) << route.pattern;
    EXPECT_EQ(operation.contains("requestBody"), route.body.kind != http::Body::Kind::none)
        << route.pattern;
  }
}

// Every "$ref" of the document, wherever it is.
void collect_references(const boost::json::value& value, std::set<std::string>& out) {
  if (const auto* object = value.if_object()) {
    for (const auto& field : *object) {
      if (field.key() == "$ref") {
        out.insert(std::string{field.value().as_string()});
      } else {
        collect_references(field.value(), out);
      }
    }
  } else if (const auto* array = value.if_array()) {
    for (const auto& item : *array) collect_references(item, out);
  }
}

TEST(OpenApi, EveryReferenceHasItsTarget) {
  const auto document = boost::json::parse(openapi_document());
  std::set<std::string> references;
  collect_references(document, references);
  EXPECT_GT(references.size(), 30U);
  for (const std::string& reference : references) {
    boost::system::error_code error;
    EXPECT_NE(document.find_pointer(reference.substr(1), error), nullptr) << reference;
  }
}

}  // namespace
}  // namespace rq::doors::api
