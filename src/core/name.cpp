#include "core/name.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>

#include "base/limits.h"
#include "base/percent.h"

namespace rq::core {
namespace {

using base::Code;
using base::fail;
using base::kNameBytesMax;

constexpr std::string_view kEscaped = "+/;$()";  // written %XX in a queue name

bool plain(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-' ||
         c == ':';
}

std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 2 * kNameBytesMax)) {
    if (std::isprint(static_cast<unsigned char>(c)) != 0) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

constexpr std::string_view kRemedy =
    "use 1 to 200 letters, digits, . _ - : and do not start with '.' or '-'";

base::Error bad(std::string_view kind, std::string_view name, std::string_view why) {
  return fail(Code::bad_name, fmt::format("{} '{}': {}", kind, shown(name), why),
              std::string{kRemedy});
}

// The character that "%XX" at `at` stands for, or 0 when it is no escape that we write.
char unescape(std::string_view name, std::size_t at) {
  const auto c = base::percent_byte(name.substr(at));
  if (!c) return 0;
  // Two names must not mean the same: what is allowed as it is has no escape, and hex has capitals.
  const bool needed = kEscaped.find(*c) != std::string_view::npos || (*c == '.' && at == 0);
  std::string written;
  base::append_percent(written, *c);
  return needed && name.substr(at, 3) == written ? *c : '\0';
}

base::Result<void> check(std::string_view kind, std::string_view name, std::string_view extra,
                         bool escapes) {
  if (name.empty()) return bad(kind, name, "a name must not be empty");
  std::size_t length = 0;
  for (std::size_t i = 0; i < name.size(); ++i, ++length) {
    const char c = name[i];
    if (plain(c) || extra.find(c) != std::string_view::npos) continue;
    if (escapes && c == '%' && unescape(name, i) != 0) {
      i += 2;
      continue;
    }
    return bad(kind, name, fmt::format("'{}' is not allowed in a name", shown({&c, 1})));
  }
  if (length > kNameBytesMax) {
    return bad(kind, name, fmt::format("{} bytes are too many for a name", length));
  }
  if (name.front() == '.' || name.front() == '-') {
    return bad(kind, name, fmt::format("a name must not start with '{}'", name.front()));
  }
  return {};
}

}  // namespace

base::Result<void> check_queue_name(std::string_view name) {
  return check("queue", name, {}, true);
}

base::Result<void> check_worker_name(std::string_view name) {
  return check("worker", name, "@/", false);
}

base::Result<std::string> escaped_queue_name(std::string_view text) {
  std::string name;
  name.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (kEscaped.find(c) != std::string_view::npos || (c == '.' && i == 0)) {
      base::append_percent(name, c);
    } else if (plain(c)) {
      name += c;
    } else {
      return bad("queue", text, fmt::format("'{}' is not allowed in a name", shown({&c, 1})));
    }
  }
  if (auto ok = check("queue", name, {}, true); !ok) return std::move(ok).error();
  return name;
}

std::string unescaped_queue_name(std::string_view queue) {
  std::string text;
  text.reserve(queue.size());
  for (std::size_t i = 0; i < queue.size(); ++i) {
    if (queue[i] == '%') {
      if (const char c = unescape(queue, i); c != 0) {
        text += c;
        i += 2;
        continue;
      }
    }
    text += queue[i];
  }
  return text;
}

}  // namespace rq::core
