#include "doors/api/items.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;

constexpr std::string_view kSpace = " \t\r\n";

}  // namespace

std::optional<std::string_view> ItemSplitter::next(std::string_view& piece) {
  if (!form_) {
    const std::size_t start = piece.find_first_not_of(kSpace);
    piece.remove_prefix(std::min(start, piece.size()));
    if (piece.empty()) return std::nullopt;
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
  append(piece);
  piece = {};
  return std::nullopt;
}

std::optional<std::string_view> ItemSplitter::next_line(std::string_view& piece) {
  const std::size_t end = piece.find('\n');
  const bool ends = end != std::string_view::npos;
  if (!append(piece.substr(0, end))) return std::nullopt;
  piece.remove_prefix(ends ? end + 1 : piece.size());
  if (!ends) return std::nullopt;
  if (item_.find_first_not_of(kSpace) == std::string::npos) {
    item_.clear();
    return std::nullopt;
  }
  return item_;
}

std::optional<std::string_view> ItemSplitter::next_element(std::string_view& piece) {
  std::size_t from = 0;
  for (std::size_t at = 0; at < piece.size(); ++at) {
    const char c = piece[at];
    if (place_ != Place::in) {
      from = at + 1;
      if (kSpace.find(c) != std::string_view::npos) continue;
      if (place_ == Place::after || c != '[') {
        refuse(fail(Code::bad_request, "the body is not one JSON list", "send [item, …]"));
        return std::nullopt;
      }
      place_ = Place::in;
      continue;
    }
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
      }
      continue;
    }
    if (c == '"') {
      in_string_ = true;
    } else if (c == '[' || c == '{') {
      ++depth_;
    } else if (depth_ > 0 && (c == ']' || c == '}')) {
      --depth_;
    } else if (depth_ == 0 && (c == ',' || c == ']')) {
      if (!append(piece.substr(from, at - from))) return std::nullopt;
      piece.remove_prefix(at + 1);
      return end_element(c);
    }
  }
  append(piece.substr(std::min(from, piece.size())));
  piece = {};
  return std::nullopt;
}

std::optional<std::string_view> ItemSplitter::end_element(char closing) {
  const bool last = closing == ']';
  const bool empty = item_.find_first_not_of(kSpace) == std::string::npos;
  if (last) place_ = Place::after;
  if (empty && !(last && first_)) {
    refuse(fail(Code::bad_request, "the list has an empty element", "take out the spare comma"));
    return std::nullopt;
  }
  first_ = false;
  if (empty) {
    item_.clear();
    return std::nullopt;
  }
  return item_;
}

void ItemSplitter::refuse(base::Error error) {
  error_ = std::move(error);
  stopped_ = true;
}

bool ItemSplitter::append(std::string_view text) {
  if (item_.size() + text.size() > base::kHttpSingleBodyBytesMax) {
    refuse(fail(Code::too_large, "one item of the body is too large",
                fmt::format("at most {} bytes are taken for one", base::kHttpSingleBodyBytesMax)));
    return false;
  }
  item_ += text;
  return true;
}

base::Result<void> ItemSplitter::finish_list() {
  if (place_ == Place::after) return {};
  return fail(Code::bad_request, "the body is not JSON: the list has no end", "close it with ]");
}

}  // namespace rq::doors::api
