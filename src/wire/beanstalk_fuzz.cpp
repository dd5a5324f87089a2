// Any bytes, in any chunking, give the same requests; what was read and written again reads the
// same; no step runs past its bytes or stands still.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "wire/beanstalk.h"

namespace {

using namespace rq::wire::beanstalk;
constexpr std::size_t kBodyBytesMax = 64;

std::vector<std::string> parse(std::string_view bytes, std::size_t chunk) {
  Parser parser(kBodyBytesMax);
  std::vector<std::string> said;
  std::string buffer;
  while (true) {
    const Parser::Step step = parser.next(buffer);
    RQ_CHECK(step.consumed <= buffer.size());
    if (step.kind == Parser::Step::Kind::request) {
      RQ_CHECK(step.consumed > 0);
      std::string text;
      append_request(text, step.request);
      said.push_back(text);
    } else if (step.kind == Parser::Step::Kind::complaint) {
      RQ_CHECK(step.consumed > 0);
      said.emplace_back(line_of(step.complaint));
    }
    buffer.erase(0, step.consumed);
    if (step.kind != Parser::Step::Kind::more) continue;
    RQ_CHECK(step.wanted > buffer.size());
    if (bytes.empty()) return said;
    const std::size_t size = std::min(chunk, bytes.size());
    buffer.append(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string all(data, data + size);
  // The first byte says how the rest is cut.
  const std::string_view bytes = std::string_view(all).substr(1);
  const std::size_t chunk = std::size_t{1} + static_cast<unsigned char>(all.front());
  const auto whole = parse(bytes, bytes.size() + 1);
  RQ_CHECK(parse(bytes, chunk) == whole);
  RQ_CHECK(parse(bytes, 1) == whole);
  for (const std::string& text : whole) {
    if (text.empty()) continue;  // another protocol
    if (text == line_of(Complaint::bad_format) || text == line_of(Complaint::unknown_command) ||
        text == line_of(Complaint::expected_crlf) || text == line_of(Complaint::job_too_big)) {
      continue;
    }
    const auto again = parse(text, text.size());
    RQ_CHECK(again.size() == 1 && again.front() == text);
  }
  return 0;
}
