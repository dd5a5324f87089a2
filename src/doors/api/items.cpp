#include "doors/api/items.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "doors/api/limits.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;

constexpr std::string_view kSpace = " \t\r\n";

}  // namespace

ItemSplitter::Cut ItemSplitter::next(std::string_view& piece) {
  if (!form_) {
    const std::size_t start = piece.find_first_not_of(kSpace);
    piece.remove_prefix(std::min(start, piece.size()));
    if (piece.empty()) return {};
    form_ = piece.front() == '[' ? Form::list : Form::single;
  }
  switch (*form_) {
    case Form::lines:
      return next_line(piece);
    case Form::list:
      return next_element(piece);
    case Form::single:
      break;
  }
  return {.text = counted(std::exchange(piece, {}))};
}

ItemSplitter::Cut ItemSplitter::next_line(std::string_view& piece) {
  const std::size_t end = piece.find('\n');
  const bool ends = end != std::string_view::npos;
  const std::string_view text = counted(piece.substr(0, end));
  piece.remove_prefix(ends ? end + 1 : piece.size());
  const bool blank = blank_;
  if (ends) {
    blank_ = true;
    item_bytes_ = 0;
  }
  return {.text = text, .ends = ends && !blank};
}

ItemSplitter::Cut ItemSplitter::next_element(std::string_view& piece) {
  std::size_t from = 0;
  for (std::size_t at = 0; at < piece.size(); ++at) {
    const char c = piece[at];
    if (place_ != Place::in) {
      from = at + 1;
      if (kSpace.find(c) != std::string_view::npos) continue;
      if (place_ == Place::after || c != '[') {
        refuse(fail(Code::bad_request, "the body is not one JSON list", "send [item, …]"));
        return {};
      }
      place_ = Place::in;
      continue;
    }
    if (quotes_.next(c)) continue;
    if (c == '[' || c == '{') {
      ++depth_;
    } else if (depth_ > 0 && (c == ']' || c == '}')) {
      --depth_;
    } else if (depth_ == 0 && (c == ',' || c == ']')) {
      const std::string_view text = counted(piece.substr(from, at - from));
      piece.remove_prefix(at + 1);
      return {.text = text, .ends = end_element(c)};
    }
  }
  const std::string_view text = counted(piece.substr(std::min(from, piece.size())));
  piece = {};
  return {.text = text};
}

bool ItemSplitter::end_element(char closing) {
  const bool last = closing == ']';
  const bool empty = std::exchange(blank_, true);
  item_bytes_ = 0;
  if (last) place_ = Place::after;
  if (empty && !(last && first_)) {
    refuse(fail(Code::bad_request, "the list has an empty element", "take out the spare comma"));
    return false;
  }
  first_ = false;
  return !empty;
}

void ItemSplitter::refuse(base::Error error) {
  error_ = std::move(error);
  stopped_ = true;
}

std::string_view ItemSplitter::counted(std::string_view text) {
  if (blank_) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    blank_ = text.empty();
  }
  item_bytes_ += text.size();
  if (item_bytes_ > kJsonBodyBytesMax) {
    refuse(fail(Code::too_large, "one item of the body is too large",
                fmt::format("at most {} bytes are taken for one", kJsonBodyBytesMax)));
  }
  return text;
}

base::Result<void> ItemSplitter::finish_list() {
  if (place_ == Place::after) return {};
  return fail(Code::bad_request, "the body is not JSON: the list has no end", "close it with ]");
}

}  // namespace rq::doors::api
