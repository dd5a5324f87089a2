// No bytes on fd 3 break the codec, no chunking changes what is read, and each word means the same
// whatever stands behind it.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "wire/script_pipe.h"

namespace {

using rq::wire::PipeLine;
using rq::wire::PipeWord;

constexpr std::size_t kChunkSizes = 3;
constexpr std::array<std::pair<std::string_view, PipeWord>, 9> kWords{{
    {"run", PipeWord::run},
    {"done", PipeWord::done},
    {"relayed", PipeWord::relayed},
    {"resend", PipeWord::resend},
    {"err", PipeWord::err},
    {"fails", PipeWord::err},
    {"dup", PipeWord::dup},
    {"fail", PipeWord::other},
    {"", PipeWord::other},
}};

// The lines of `bytes`, which come in pieces of these sizes, in turns.
std::vector<std::string> lines_of(std::string_view bytes,
                                  std::basic_string_view<std::uint8_t> sizes) {
  rq::wire::PipeReader reader;
  std::vector<std::string> lines;
  const auto line = [&lines](std::string_view text) { lines.emplace_back(text); };
  for (std::size_t turn = 0; !bytes.empty(); ++turn) {
    const std::size_t chunk = std::size_t{sizes[turn % sizes.size()]} + 1;
    reader.feed(bytes.substr(0, chunk), line);
    bytes.remove_prefix(std::min(chunk, bytes.size()));
  }
  reader.finish(line);
  return lines;
}

void check(const PipeLine& line) {
  const bool mistaken = line.word == PipeWord::resend && line.delay_s == rq::wire::kNoDelay;
  RQ_CHECK(line.delay_s >= 0 || mistaken);
  RQ_CHECK(std::chrono::seconds{line.delay_s} <= rq::wire::kPipeDelayMax);
  const bool delays = line.word == PipeWord::resend || line.word == PipeWord::dup;
  RQ_CHECK(delays || line.delay_s == 0);
  RQ_CHECK(line.word == PipeWord::dup || line.dest.empty());
}

// The text behind any of the words is the text of the line, but for the seconds of a resend.
void check_words(const std::string& text) {
  for (const auto& [name, word] : kWords) {
    const PipeLine line = rq::wire::parse_pipe_line(std::string(name) + " " + text);
    RQ_CHECK(line.word == word);
    const bool seconds = word == PipeWord::resend && line.delay_s != rq::wire::kNoDelay;
    RQ_CHECK(seconds ? text.ends_with(line.text) : line.text == text);
    check(line);
    const PipeLine bare = rq::wire::parse_pipe_line(name);
    RQ_CHECK(bare.word == word);
    RQ_CHECK(bare.text.empty());
  }
  RQ_CHECK(rq::wire::parse_pipe_line("resend 7-" + text).text == text);
  const PipeLine dup = rq::wire::parse_pipe_line("dup 7-x-" + text);
  RQ_CHECK(dup.delay_s == 7);
  RQ_CHECK(dup.dest == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kChunkSizes) return 0;
  const std::string bytes(data + kChunkSizes, data + size);
  const std::uint8_t large = 255;
  const auto lines = lines_of(bytes, {data, kChunkSizes});
  RQ_CHECK(lines == lines_of(bytes, {&large, 1}));
  rq::wire::PipeVerdict verdict;
  for (const std::string& text : lines) {
    RQ_CHECK(text.size() <= rq::wire::kPipeLineBytesMax);
    RQ_CHECK(text.find('\n') == std::string::npos);
    check_words(text);
    const PipeLine line = rq::wire::parse_pipe_line(text);
    check(line);
    const rq::wire::PipeVerdict before = verdict;
    verdict.note(line);
    RQ_CHECK(!before.decisive || before.decisive == verdict.decisive);
    const bool mistaken =
        before.decisive == PipeWord::resend && before.delay_s == rq::wire::kNoDelay;
    RQ_CHECK(verdict.text == (mistaken ? before.text : line.text));
    RQ_CHECK(rq::wire::pipe_fail(line.text).find('\n') == line.text.size() + 5);
    RQ_CHECK(rq::wire::pipe_ok(line.text).find('\n') == line.text.size() + 3);
  }
  return 0;
}
