// Header fields that are looked at one by one, whatever they hold: conditions, ranges of a version,
// media types. No crash, and what is decided fits what was sent.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "http/parser.h"
#include "http/range.h"

namespace {

using rq::http::Condition;
using rq::http::Head;
using Kind = rq::http::RangeAsked::Kind;

constexpr std::string_view kTags[] = {R"("a")", R"(W/"a")", R"("a,b")"};

Head with(std::string_view field, std::string_view value) {
  Head head;
  head.method = rq::http::Method::get;
  head.fields.add(field, value);
  return head;
}

void try_conditions(std::string_view text, std::string_view etag) {
  // What does not even hold the tag does not name it.
  const bool named = text.find(etag) != std::string_view::npos ||
                     text.find(etag.substr(etag.find('"'))) != std::string_view::npos ||
                     text.find('*') != std::string_view::npos;
  const Condition none = rq::http::check_conditions(with("If-None-Match", text), etag);
  RQ_CHECK(none != Condition::failed && (none == Condition::go_on || named));
  const Condition match = rq::http::check_conditions(with("If-Match", text), etag);
  RQ_CHECK(match != Condition::not_modified);
  RQ_CHECK(match == Condition::failed || text.empty() || named);

  constexpr std::uint64_t kBytes = 1000;
  Head head = with("If-Range", text);
  head.fields.add("Range", "bytes=10-19");
  const auto part = rq::http::range_of(head, etag, kBytes);
  RQ_CHECK(part.kind == Kind::none || part.kind == Kind::part);
  // A weak tag never says that the bytes are the same.
  if (etag.starts_with("W/")) {
    RQ_CHECK(part.kind == Kind::none || text.find_first_not_of(" \t") == std::string_view::npos);
  }
  head = with("Range", text);
  const auto asked = rq::http::range_of(head, etag, kBytes);
  RQ_CHECK(asked.kind != Kind::unreadable);
  if (asked.kind == Kind::part) {
    RQ_CHECK(asked.range.first <= asked.range.last && asked.range.last < kBytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const std::string_view etag : kTags) try_conditions(text, etag);

  std::string type;
  rq::http::assign_media_type(type, text);
  RQ_CHECK(type.size() <= text.size() && type.find(';') == std::string::npos);
  RQ_CHECK(type.empty() || (type.back() != ' ' && type.back() != '\t'));
  RQ_CHECK(std::none_of(type.begin(), type.end(), [](char c) { return c >= 'A' && c <= 'Z'; }));
  std::string again;
  rq::http::assign_media_type(again, type);
  RQ_CHECK(again == type);
  return 0;
}
