#pragma once
// Ranges and conditions: which part of a resource a request wants, and whether it wants it at all.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace rq::http {

struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // inclusive
  [[nodiscard]] std::uint64_t bytes() const { return last - first + 1; }
};

// What a Range field asks of a resource of `size` bytes: "bytes=0-99", "bytes=100-", "bytes=-50".
struct RangeAsked {
  enum class Kind : std::uint8_t {
    none,           // there is no such field
    unreadable,     // another unit, several ranges, or no range at all
    unsatisfiable,  // it asks for nothing that is there
    part,
  };
  Kind kind = Kind::none;
  ByteRange range;
};
[[nodiscard]] RangeAsked parse_range(std::string_view text, std::uint64_t size);

// What a request with conditions gets. `etag`: of the resource as it is now, with its quotes.
enum class Condition : std::uint8_t {
  go_on,
  not_modified,  // 304
  failed,        // 412
};
[[nodiscard]] Condition check_conditions(const Head& head, std::string_view etag);

// What to send of a resource: all of it, a part (206), or nothing (416). As RFC 9110 says it: a
// field that cannot be read is as if it were not there, and so is a range of another version
// (If-Range). REQUIRES: check_conditions() said go_on.
[[nodiscard]] RangeAsked range_of(const Head& head, std::string_view etag, std::uint64_t size);

// Lines of a reply's head: "Content-Range: bytes 0-9/100" of a part (206), "bytes */100" of none
// (416).
[[nodiscard]] std::string content_range(const ByteRange& part, std::uint64_t size);
[[nodiscard]] std::string content_range_of_none(std::uint64_t size);

}  // namespace rq::http
