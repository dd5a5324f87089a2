#include "wire/script_pipe.h"

#include <algorithm>
#include <chrono>

#include "base/number.h"

namespace rq::wire {
namespace {

constexpr std::int64_t kDelayMaxSeconds =
    std::chrono::duration_cast<std::chrono::seconds>(kPipeDelayMax).count();

constexpr std::string_view kBehindSeconds = "- \t\r";

// The whole number of seconds that `text` starts with; a dash, a blank or the end stands behind it.
std::int64_t leading_seconds(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_of(kBehindSeconds), text.size());
  const auto seconds = base::whole_number<std::int64_t>(text.substr(0, digits));
  return seconds && *seconds >= 0 && *seconds <= kDelayMaxSeconds ? *seconds : kNoDelay;
}

// What stands behind them: REASON of N-REASON.
std::string behind_seconds(std::string_view text) {
  const std::size_t digits = text.find_first_of(kBehindSeconds);
  return std::string(digits == std::string_view::npos ? "" : text.substr(digits + 1));
}

PipeWord word_of(std::string_view word) {
  if (word == "run") return PipeWord::run;
  if (word == "done") return PipeWord::done;
  if (word == "relayed") return PipeWord::relayed;
  if (word == "resend") return PipeWord::resend;
  if (word == "err" || word == "fails") return PipeWord::err;
  if (word == "dup") return PipeWord::dup;
  return PipeWord::other;
}

// N-X-DEST: the field in the middle is ignored, DEST may hold dashes itself.
std::string dup_dest(std::string_view text) {
  const std::size_t first = text.find('-');
  if (first == std::string_view::npos) return {};
  const std::size_t second = text.find('-', first + 1);
  if (second == std::string_view::npos) return {};
  return std::string(text.substr(second + 1));
}

std::string reply(std::string_view word, std::string_view text) {
  std::string line;
  line.reserve(word.size() + text.size() + 2);
  line.append(word).append(" ").append(text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  line.push_back('\n');
  return line;
}

}  // namespace

PipeLine parse_pipe_line(std::string_view line) {
  const std::size_t blank = line.find(' ');
  PipeLine out;
  out.word = word_of(line.substr(0, blank));
  if (blank != std::string_view::npos) out.text = line.substr(blank + 1);
  if (out.word == PipeWord::other) {
    out.unknown = line.substr(0, std::min(blank, kPipeWordBytesMax));
  }
  if (out.word == PipeWord::resend) {
    out.delay_s = leading_seconds(out.text);
    if (out.delay_s != kNoDelay) out.text = behind_seconds(out.text);
  }
  if (out.word == PipeWord::dup) {
    out.delay_s = leading_seconds(out.text);
    if (out.delay_s != kNoDelay) out.dest = dup_dest(out.text);
    out.delay_s = std::max<std::int64_t>(out.delay_s, 0);
  }
  return out;
}

bool decides(PipeWord word) {
  return word == PipeWord::done || word == PipeWord::relayed || word == PipeWord::resend ||
         word == PipeWord::err;
}

std::string_view completion_name(std::optional<PipeWord> decisive) {
  if (decisive == PipeWord::done) return "done";
  if (decisive == PipeWord::relayed) return "relayed";
  if (decisive == PipeWord::resend) return "resend";
  return "";
}

void PipeVerdict::note(const PipeLine& line) {
  spoke = true;
  if (!line.unknown.empty()) unknown = line.unknown;
  if (decisive != PipeWord::resend || delay_s != kNoDelay) text = line.text;
  if (!decides(line.word) || decisive) return;
  decisive = line.word;
  delay_s = line.delay_s;
}

std::string pipe_ok(std::string_view id) { return reply("ok", id); }
std::string pipe_fail(std::string_view reason) { return reply("fail", reason); }

}  // namespace rq::wire
