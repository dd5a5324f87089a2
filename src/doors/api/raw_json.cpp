#include "doors/api/raw_json.h"

#include <algorithm>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "doors/api/json_reader.h"

namespace rq::doors::api {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

void skip_space(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
}

// Takes one value off the front.
std::string_view take_value(std::string_view& text) {
  std::size_t depth = 0;
  bool in_text = false;
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (in_text) {
      if (c == '\\') {
        ++at;
      } else if (c == '"') {
        in_text = false;
      }
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (depth == 0 && (c == ',' || c == ':' || c == ']' || c == '}')) {
      break;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  std::string_view value = text.substr(0, at);
  text.remove_prefix(std::min(at, text.size()));
  return value.substr(0, value.find_last_not_of(kSpace) + 1);
}

// Of a name as it stands there, with its quotes.
bool is_name(std::string_view raw, std::string_view name) {
  if (raw.find('\\') == std::string_view::npos) {
    return raw.size() == name.size() + 2 && raw.substr(1, name.size()) == name;
  }
  boost::system::error_code error;
  const auto value = boost::json::parse(boost::json::string_view{raw.data(), raw.size()}, error);
  return !error && value.is_string() &&
         std::string_view{value.get_string().data(), value.get_string().size()} == name;
}

// Calls each(value) for what stands between the first and the last byte of an object or a list.
template <typename Each>
void for_each_part(std::string_view text, const Each& each) {
  if (text.starts_with(base::kByteOrderMark)) text.remove_prefix(base::kByteOrderMark.size());
  skip_space(text);
  while (!text.empty()) {
    text.remove_prefix(1);  // the bracket, or what stands between two parts
    skip_space(text);
    const std::string_view part = take_value(text);
    if (!part.empty()) each(part, text.empty() ? '\0' : text.front());
    if (text.empty() || text.front() == ']' || text.front() == '}') return;
  }
}

}  // namespace

std::optional<std::string_view> raw_member(std::string_view object, std::string_view name) {
  std::optional<std::string_view> found;
  bool wanted = false;
  for_each_part(object, [&](std::string_view part, char next) {
    if (next == ':') {
      wanted = is_name(part, name);
    } else if (wanted) {
      found = part;
    }
  });
  return found;
}

std::vector<std::string_view> raw_elements(std::string_view list) {
  std::vector<std::string_view> out;
  for_each_part(list, [&](std::string_view part, char) { out.push_back(part); });
  return out;
}

}  // namespace rq::doors::api
