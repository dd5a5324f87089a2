#include "http/percent.h"

#include <algorithm>

#include "base/percent.h"
#include "base/utf8.h"

namespace rq::http {

using base::Code;
using base::fail;

base::Result<std::string> percent_decode(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  const auto is_coded = [plus](char c) { return c == '%' || (c == '+' && plus == Plus::is_space); };
  for (;;) {
    const auto plain =
        static_cast<std::size_t>(std::find_if(text.begin(), text.end(), is_coded) - text.begin());
    out.append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    if (text.front() == '+') {
      out += ' ';
      text.remove_prefix(1);
      continue;
    }
    const auto byte = base::percent_byte(text);
    if (!byte) {
      return fail(Code::bad_request, "a '%' in the address is not followed by two hex digits",
                  "write a '%' itself as %25");
    }
    out += *byte;
    text.remove_prefix(3);
  }
  if (!base::is_utf8(out)) {
    return fail(Code::bad_request, "the address is not UTF-8", "encode it as UTF-8, then as %XX");
  }
  return out;
}

}  // namespace rq::http
