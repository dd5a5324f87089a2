#include "http/percent.h"

#include "base/utf8.h"

namespace rq::http {
namespace {

using base::Code;
using base::fail;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

base::Result<std::string> percent_decode(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '+' && plus == Plus::is_space) {
      out += ' ';
    } else if (text[at] == '%') {
      const int high = at + 2 < text.size() ? hex_value(text[at + 1]) : -1;
      const int low = at + 2 < text.size() ? hex_value(text[at + 2]) : -1;
      if (high < 0 || low < 0) {
        return fail(Code::bad_request, "a '%' in the address is not followed by two hex digits",
                    "write a '%' itself as %25");
      }
      out += static_cast<char>(high * 16 + low);
      at += 2;
    } else {
      out += text[at];
    }
  }
  if (!base::is_utf8(out)) {
    return fail(Code::bad_request, "the address is not UTF-8", "encode it as UTF-8, then as %XX");
  }
  return out;
}

}  // namespace rq::http
