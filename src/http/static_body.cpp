#include "http/static_body.h"

#include <fmt/format.h>

#include "http/range.h"

namespace rq::http {
namespace {

// FNV-1a: tells one release of a file from another, and need not resist anybody.
std::uint64_t hash_of(std::string_view bytes) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : bytes) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  }
  return hash;
}

}  // namespace

StaticBody::StaticBody(std::string_view content_type, std::string_view bytes)
    : content_type_(content_type),
      bytes_(bytes),
      etag_(fmt::format("\"{:016x}-{}\"", hash_of(bytes), bytes.size())) {}

void StaticBody::reply(Exchange& exchange, const Head& head) const {
  const std::string fields = fmt::format("ETag: {}\r\nAccept-Ranges: bytes\r\n", etag_);
  switch (check_conditions(head, etag_)) {
    case Condition::not_modified:
      return exchange.reply_empty(304, fields);
    case Condition::failed:
      return exchange.refuse_with(
          412,
          base::fail(base::Code::wrong_state, "it is another version by now",
                     "leave If-Match out, or give the tag that it has"),
          fields);
    case Condition::go_on:
      break;
  }
  const RangeAsked asked = range_of(head, etag_, bytes_.size());
  if (asked.kind == RangeAsked::Kind::part) {
    const ByteRange& range = asked.range;
    return exchange.reply(206, content_type_, bytes_.substr(range.first, range.bytes()),
                          fields + content_range(range, bytes_.size()));
  }
  if (asked.kind == RangeAsked::Kind::unsatisfiable) {
    return exchange.refuse_with(
        416,
        base::fail(base::Code::bad_value, "the range is outside of what there is",
                   fmt::format("it has {} bytes", bytes_.size())),
        content_range_of_none(bytes_.size()));
  }
  exchange.reply(200, content_type_, bytes_, fields);
}

}  // namespace rq::http
