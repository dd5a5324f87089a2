#include "base/json_writer.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <utility>

#include "base/eight.h"
#include "base/iso8601.h"
#include "base/utf8.h"

namespace rq::base {
namespace {

bool plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20U && byte < 0x80U && c != '"' && c != '\\' && byte != 0x7FU;
}

// The first byte from `at` on that may have to be escaped.
std::size_t skip_plain(std::string_view text, std::size_t at) {
  for (; at + 8 <= text.size(); at += 8) {
    const std::uint64_t bytes = eight_at(text, at);
    if (!all_ascii(bytes) || any_below(bytes, 0x20) || any_is(bytes, '"') || any_is(bytes, '\\') ||
        any_is(bytes, 0x7F)) {
      break;
    }
  }
  while (at < text.size() && plain(text[at])) ++at;
  return at;
}

void append_escape(std::string& out, char c) {
  constexpr std::string_view kHex = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  const auto byte = static_cast<unsigned char>(c);
  out += "\\u00";
  out += kHex[byte >> 4U];
  out += kHex[byte & 15U];
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t from = 0;
  for (std::size_t at = skip_plain(text, 0); at < text.size(); at = skip_plain(text, at)) {
    if (const auto byte = static_cast<unsigned char>(text[at]); byte >= 0x80U) {
      if (const std::size_t length = utf8_sequence(text, at); length > 0) {
        at += length;
        continue;
      }
      out.append(text, from, at - from);
      out += kReplacementCharacter;
    } else {
      out.append(text, from, at - from);
      append_escape(out, text[at]);
    }
    from = ++at;
  }
  out.append(text, from);
  out += '"';
}

void append_instant(std::string& out, Instant at) {
  out += '"';
  out += to_iso8601(at);
  out += '"';
}

void append_seconds(std::string& out, Millis length) {
  if (length.count() % 1000 == 0) {
    append_number(out, length.count() / 1000);
  } else {
    fmt::format_to(std::back_inserter(out), "{}", static_cast<double>(length.count()) / 1000.0);
  }
}

std::string& JsonObject::key(std::string_view name) {
  out_ += std::exchange(first_, false) ? "\"" : ",\"";
  out_ += name;
  out_ += "\":";
  return out_;
}
void JsonObject::text(std::string_view name, std::string_view value) {
  append_json_string(key(name), value);
}
void JsonObject::number(std::string_view name, std::int64_t value) {
  append_number(key(name), value);
}
void JsonObject::boolean(std::string_view name, bool value) {
  key(name) += value ? "true" : "false";
}
void JsonObject::instant(std::string_view name, Instant value) { append_instant(key(name), value); }
void JsonObject::seconds(std::string_view name, Millis value) { append_seconds(key(name), value); }
void JsonObject::null(std::string_view name) { key(name) += "null"; }
void JsonObject::raw(std::string_view name, std::string_view json) { key(name) += json; }

}  // namespace rq::base
