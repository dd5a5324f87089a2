#include "http/range.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/number.h"
#include "base/text.h"

namespace rq::http {
namespace {

constexpr std::string_view kWeak = "W/";

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Whether `etag` is in a list such as `"a", W/"b"` or `*`.
bool lists(std::string_view list, std::string_view etag, bool weak_counts) {
  if (trim(list) == "*") return true;
  if (weak_counts && etag.starts_with(kWeak)) etag.remove_prefix(kWeak.size());
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(','), list.size());
    std::string_view one = trim(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
    if (one.starts_with(kWeak) && weak_counts) one.remove_prefix(kWeak.size());
    if (one == etag) return true;
  }
  return false;
}

}  // namespace

RangeAsked parse_range(std::string_view text, std::uint64_t size) {
  using enum RangeAsked::Kind;
  constexpr std::string_view kUnit = "bytes=";
  if (text.empty()) return {};
  if (!text.starts_with(kUnit)) return {};  // RFC 9110, 14.2: an unknown unit asks for nothing
  text.remove_prefix(kUnit.size());
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return {.kind = unreadable};
  const std::string_view from = text.substr(0, dash);
  const std::string_view to = text.substr(dash + 1);
  if ((!from.empty() && !base::all_digits(from)) || (!to.empty() && !base::all_digits(to)) ||
      (from.empty() && to.empty())) {
    return {.kind = unreadable};
  }
  // A number that is too large for us is larger than any size.
  const std::uint64_t last =
      to.empty() ? UINT64_MAX : base::whole_number<std::uint64_t>(to).value_or(UINT64_MAX);
  if (from.empty()) {
    if (last == 0 || size == 0) return {.kind = unsatisfiable};
    return {.kind = part, .range = {.first = size - std::min(size, last), .last = size - 1}};
  }
  const auto first = base::whole_number<std::uint64_t>(from);
  if (first && last < *first) return {.kind = unreadable};
  if (!first || *first >= size) return {.kind = unsatisfiable};
  return {.kind = part, .range = {.first = *first, .last = std::min(last, size - 1)}};
}

Condition check_conditions(const Head& head, std::string_view etag) {
  const std::string_view match = head.fields.find("If-Match");
  if (!match.empty() && !lists(match, etag, false)) return Condition::failed;
  const std::string_view none = head.fields.find("If-None-Match");
  if (!none.empty() && lists(none, etag, true)) {
    return head.method == Method::get ? Condition::not_modified : Condition::failed;
  }
  return Condition::go_on;
}

RangeAsked range_of(const Head& head, std::string_view etag, std::uint64_t size) {
  using enum RangeAsked::Kind;
  if (head.method != Method::get || head.head_only) return {};
  const std::string_view if_range = trim(head.fields.find("If-Range"));
  // Only a strong tag says that the bytes are the same.
  if (!if_range.empty() && (if_range != etag || etag.starts_with(kWeak))) return {};
  const RangeAsked asked = parse_range(head.fields.find("Range"), size);
  return asked.kind == unreadable ? RangeAsked{} : asked;
}

std::string content_range(const ByteRange& part, std::uint64_t size) {
  return fmt::format("Content-Range: bytes {}-{}/{}\r\n", part.first, part.last, size);
}

std::string content_range_of_none(std::uint64_t size) {
  return fmt::format("Content-Range: bytes */{}\r\n", size);
}

}  // namespace rq::http
