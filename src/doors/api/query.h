#pragma once
// The query parameters of a request, with the kinds of values that the API knows.
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/time.h"
#include "http/query.h"

namespace rq::doors::api {

class Query : public http::Query {
 public:
  [[nodiscard]] static base::Result<Query> parse(std::string_view query);

  bool text(std::string_view name, std::string& out, std::size_t bytes_max);
  bool instant(std::string_view name, std::optional<base::Instant>& out);

 private:
  explicit Query(http::Query&& query) : http::Query(std::move(query)) {}
};

}  // namespace rq::doors::api
