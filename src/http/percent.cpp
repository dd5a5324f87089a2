#include "http/percent.h"

#include "base/percent.h"
#include "base/utf8.h"

namespace rq::http {

using base::Code;
using base::fail;

base::Result<std::string> percent_decode(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '+' && plus == Plus::is_space) {
      out += ' ';
    } else if (text[at] == '%') {
      const auto byte = base::percent_byte(text.substr(at));
      if (!byte) {
        return fail(Code::bad_request, "a '%' in the address is not followed by two hex digits",
                    "write a '%' itself as %25");
      }
      out += *byte;
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
