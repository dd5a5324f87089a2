// What stands in an address or a Range field: no crash, and what is taken keeps its promises.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/utf8.h"
#include "http/percent.h"
#include "http/query.h"
#include "http/range.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto decoded = rq::http::percent_decode(text, rq::http::Plus::is_plus);
  if (decoded) RQ_CHECK(rq::base::is_utf8(*decoded) && decoded->size() <= text.size());
  if (auto query = rq::http::Query::parse(text)) {
    // A cursor and a limit, as a list has them.
    std::int64_t cursor = 0;
    if (query->integer("cursor", cursor, 1, INT64_MAX)) RQ_CHECK(cursor >= 1);
    bool flag = false;
    query->flag("force", flag);
    static_cast<void>(query->finish());
  }
  for (const std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}}) {
    const auto asked = rq::http::parse_range(text, bytes);
    if (asked.kind != rq::http::RangeAsked::Kind::part) continue;
    RQ_CHECK(asked.range.first <= asked.range.last && asked.range.last < bytes);
  }
  return 0;
}
