#include "core/fingerprint.h"

#include <algorithm>
#include <cstddef>

namespace rq::core {
namespace {

constexpr std::size_t kFingerprintBytesMax = 200;
constexpr std::size_t kIdMin = 8;  // hexadecimal digits that are an id and not a word

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// A commit, an address, a part of a UUID.
bool is_id(std::string_view word) {
  if (word.starts_with("0x")) return true;
  return word.size() >= kIdMin && std::all_of(word.begin(), word.end(), is_hex) &&
         std::any_of(word.begin(), word.end(), is_digit);
}

void append_word(std::string& out, std::string_view word) {
  if (is_id(word)) {
    out += '#';
    return;
  }
  for (const char c : word) {
    if (!is_digit(c)) {
      out += c;
    } else if (!out.ends_with('#')) {
      out += '#';
    }
  }
}

// How much of `rest` is a quoted text or an absolute path; 0: it does not start with one.
std::size_t varying(std::string_view rest, bool at_start_of_word) {
  if (!at_start_of_word) return 0;
  if (rest[0] == '\'' || rest[0] == '"' || rest[0] == '`') {
    const std::size_t end = rest.find(rest[0] == '`' ? '\'' : rest[0], 1);
    return end == std::string_view::npos ? 0 : end + 1;
  }
  if (rest[0] != '/') return 0;
  return std::min(rest.find_first_of(" :,;'\")]"), rest.size());
}

}  // namespace

std::string fingerprint(std::string_view reason) {
  std::string out;
  std::size_t at = 0;
  if (reason.starts_with("exit ")) {
    at = std::min(reason.find_first_not_of("0123456789", 5), reason.size());
    out = reason.substr(0, at);
  }
  while (at < reason.size() && out.size() < kFingerprintBytesMax) {
    const std::string_view rest = reason.substr(at);
    if (const std::size_t size = varying(rest, at == 0 || !is_word(reason[at - 1])); size > 0) {
      out += rest[0] == '/' ? "/#" : "'#'";
      at += size;
    } else if (is_word(rest[0])) {
      const auto* const end = std::find_if_not(rest.begin(), rest.end(), is_word);
      const auto length = static_cast<std::size_t>(end - rest.begin());
      append_word(out, rest.substr(0, length));
      at += length;
    } else {
      out += rest[0];
      ++at;
    }
  }
  return out;
}

}  // namespace rq::core
