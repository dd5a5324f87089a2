// Heads and bodies of requests: no crash, and any chunking gives the same requests.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "http/parser.h"

namespace {

using rq::http::Head;
using rq::http::RequestParser;

// What was read, in order; the last entry says how it ended.
std::vector<std::string> parse(std::string_view text, std::size_t piece) {
  std::vector<std::string> out;
  std::string in;
  Head head;
  std::string body;
  auto parser = std::make_unique<RequestParser>(head, body);
  for (std::size_t at = 0; at < text.size(); at += piece) {
    in += text.substr(at, piece);
    std::string_view rest = in;
    while (!rest.empty()) {
      const RequestParser::Step step = parser->next(rest);
      rest.remove_prefix(step.used);
      if (step.state == RequestParser::State::need_more) break;
      if (step.state == RequestParser::State::head) {
        parser->body_at_most(1000);
        out.push_back(head.target + " " + head.host + " " + head.media_type);
      }
      if (parser->done()) {
        out.push_back(std::string(parser->body()));
        parser = std::make_unique<RequestParser>(head, body);
        continue;
      }
      if (step.state != RequestParser::State::head && step.state != RequestParser::State::body) {
        out.push_back("bad " + std::to_string(static_cast<int>(step.state)));
        return out;
      }
    }
    parser->keep_body();
    in.erase(0, in.size() - rest.size());
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 8192) return 0;  // below the bound of a head, which is met by pieces
  // A head that has begun also ends: what is wrong in half of one is found sooner or later.
  const std::string text = std::string(reinterpret_cast<const char*>(data), size) + "\r\n\r\n";
  const auto whole = parse(text, text.size());
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{100}}) {
    RQ_CHECK(parse(text, piece) == whole);
  }
  return 0;
}
