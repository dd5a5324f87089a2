// No bytes on fd 3 break the codec, and no chunking changes what is read.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "wire/script_pipe.h"

namespace {

std::vector<std::string> lines_of(std::string_view bytes, std::size_t chunk) {
  rq::wire::PipeReader reader;
  std::vector<std::string> lines;
  const auto line = [&lines](std::string_view text) { lines.emplace_back(text); };
  for (std::size_t at = 0; at < bytes.size(); at += chunk)
    reader.feed(bytes.substr(at, chunk), line);
  reader.finish(line);
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // The first byte chooses the chunking.
  const std::size_t chunk = std::size_t{data[0]} + 1;
  const std::string bytes(data + 1, data + size);
  const auto whole = lines_of(bytes, bytes.size() + 1);
  RQ_CHECK(whole == lines_of(bytes, chunk));
  rq::wire::PipeVerdict verdict;
  for (const std::string& text : whole) {
    RQ_CHECK(text.size() <= rq::wire::kPipeLineBytesMax);
    const rq::wire::PipeLine line = rq::wire::parse_pipe_line(text);
    RQ_CHECK(line.delay_s >= 0);
    const auto before = verdict.decisive;
    verdict.note(line);
    RQ_CHECK(!before || before == verdict.decisive);
    RQ_CHECK(rq::wire::pipe_fail(line.text).find('\n') == line.text.size() + 5);
  }
  return 0;
}
