#include "base/utf8.h"

#include <algorithm>

#include "base/eight.h"

namespace rq::base {

std::size_t utf8_sequence(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const unsigned lead = byte(at);
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  if (lead < 0x80U) return 1;
  if (lead < 0xC2U) return 0;
  if (lead < 0xE0U) return tail(at + 1) ? 2 : 0;
  if (lead < 0xF0U) {
    if (lead == 0xE0U && byte(at + 1) < 0xA0U) return 0;   // overlong
    if (lead == 0xEDU && byte(at + 1) >= 0xA0U) return 0;  // surrogates
    return tail(at + 1) && tail(at + 2) ? 3 : 0;
  }
  if (lead > 0xF4U) return 0;
  if (lead == 0xF0U && byte(at + 1) < 0x90U) return 0;
  if (lead == 0xF4U && byte(at + 1) >= 0x90U) return 0;
  return tail(at + 1) && tail(at + 2) && tail(at + 3) ? 4 : 0;
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (at + 8 <= text.size() && all_ascii(eight_at(text, at))) {
      at += 8;
      continue;
    }
    const std::size_t length = utf8_sequence(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::size_t unfinished_utf8(std::string_view text) {
  const std::size_t look = std::min<std::size_t>(text.size(), 3);
  for (std::size_t back = 1; back <= look; ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0U) == 0x80U) continue;
    const std::size_t needs = byte >= 0xF0U ? 4 : byte >= 0xE0U ? 3 : byte >= 0xC0U ? 2 : 1;
    return needs > back ? back : 0;
  }
  return 0;
}

std::string_view cut_utf8(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  text = text.substr(0, bytes_max);
  text.remove_suffix(unfinished_utf8(text));
  return text;
}

}  // namespace rq::base
