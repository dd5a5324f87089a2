#include "worker/verdict.h"

#include <fmt/format.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/limits.h"
#include "base/utf8.h"

namespace rq::worker {
namespace {

using wire::PipeWord;

bool exited_well(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }

constexpr std::size_t kShownLineBytesMax = 512;  // of a script's output, in a reason

// Where the escape sequence that `text` starts with ends.
std::size_t escape_length(std::string_view text) {
  if (text.size() < 2) return text.size();
  if (text[1] != '[') return 2;
  for (std::size_t at = 2; at < text.size(); ++at) {
    if (text[at] >= 0x40 && text[at] <= 0x7e) return at + 1;
  }
  return text.size();
}

// Without what a terminal would do with it.
std::string plain(std::string_view line) {
  std::string out;
  while (!line.empty()) {
    if (line[0] == '\x1b') {
      line.remove_prefix(escape_length(line));
      continue;
    }
    const auto c = static_cast<unsigned char>(line[0]);
    if (c == '\t') {
      out += ' ';
    } else if (c >= 0x20 && c != 0x7f) {
      out += line[0];
    }
    line.remove_prefix(1);
  }
  const std::size_t start = std::min(out.find_first_not_of(' '), out.size());
  const std::size_t end = out.find_last_not_of(' ');
  return end == std::string::npos ? std::string() : out.substr(start, end + 1 - start);
}

// The last line that shows something; empty: there is none.
std::string last_line(std::string_view output) {
  while (!output.empty()) {
    const std::size_t newline = output.find_last_of("\n\r");
    const std::size_t start = newline == std::string_view::npos ? 0 : newline + 1;
    std::string line = plain(output.substr(start));
    if (!line.empty()) return clean_text(line, kShownLineBytesMax, Keep::start);
    output = output.substr(0, start == 0 ? 0 : start - 1);
  }
  return {};
}

std::string unknown_word(const Ended& ended) {
  return clean_text(plain(ended.verdict.unknown), kShownLineBytesMax, Keep::start);
}

// What says most of why: the last line of its output, else its last text. A text that may have lost
// its first word says which; RQ's scripts mean nothing more by `fail`.
std::string last_words(const Ended& ended) {
  if (std::string line = last_line(ended.last_output); !line.empty()) return line;
  const std::string word = unknown_word(ended);
  if (word.empty() || word == "fail" || ended.verdict.decisive) return ended.verdict.text;
  return fmt::format("{}{}('{}' is no word on fd 3)", ended.verdict.text,
                     ended.verdict.text.empty() ? "" : " ", word);
}

// The kernel ends a process by its ticks, and accounts for it by its clock: on a busy machine the
// two are a part of the time apart.
constexpr std::chrono::milliseconds kCpuSlack{200};
constexpr int kCpuSlackPart = 10;

// The kernel kills who has used up its CPU time, and says no more than that.
bool is_out_of_cpu_time(const Ended& ended) {
  const std::chrono::milliseconds bound = std::chrono::seconds{ended.cpu_seconds_max};
  return ended.cpu_seconds_max > 0 && WIFSIGNALED(ended.status) &&
         (WTERMSIG(ended.status) == SIGKILL || WTERMSIG(ended.status) == SIGXCPU) &&
         ended.user + ended.system + kCpuSlack + bound / kCpuSlackPart >= bound;
}

// "exit 3: LAST LINE"
std::string bad_exit(const Ended& ended) {
  std::string reason;
  if (WIFEXITED(ended.status)) {
    reason = fmt::format("exit {}", WEXITSTATUS(ended.status));
  } else {
    const char* const name = ::sigabbrev_np(WTERMSIG(ended.status));
    reason = fmt::format("killed by SIG{}", name != nullptr ? name : "?");
    if (is_out_of_cpu_time(ended)) {
      reason = fmt::format("out of CPU time: {}, at the queue's limit of {} s (cpu_s)", reason,
                           ended.cpu_seconds_max);
    }
  }
  if (ended.verdict.decisive) {
    reason += fmt::format(" after '{}'", wire::completion_name(ended.verdict.decisive));
  }
  const std::string words = last_words(ended);
  return words.empty() ? reason : reason + ": " + words;
}

// It has exited with 0, and has not said on fd 3 how it ended.
Verdict without_word(const Ended& ended, core::Success success) {
  const auto& said = ended.verdict;
  if (success == core::Success::exit || (success == core::Success::by_use && !said.spoke)) {
    return {"done", said.text, 0};
  }
  const std::string word = unknown_word(ended);
  const std::string remedy = fmt::format(
      R"(exit 0 without a final word on fd 3{}: write "done TEXT" there when the work is done)",
      word.empty() ? "" : fmt::format(" ('{}' is none; done, err, resend and relayed are)", word));
  if (!said.text.empty()) return {"failed", fmt::format("{} - {}", said.text, remedy), 0};
  return {"failed", fmt::format("{}, or set 'success' of the queue to exit", remedy), 0};
}

std::string err_text(const Ended& ended) {
  if (!ended.verdict.text.empty()) return ended.verdict.text;
  const std::string line = last_line(ended.last_output);
  return line.empty() ? "the script said err, without a reason" : "err: " + line;
}

// What it has said, or else what it has printed last: why it is to run again.
std::string resend_text(const Ended& ended) {
  return ended.verdict.text.empty() ? last_line(ended.last_output) : ended.verdict.text;
}

std::string bad_resend(std::string_view text) {
  return fmt::format(
      "resend: '{}' does not begin with a whole number of seconds, from 0 to {}; write "
      "resend 60-REASON",
      clean_text(text, kShownLineBytesMax, Keep::start),
      std::chrono::duration_cast<std::chrono::seconds>(wire::kPipeDelayMax).count());
}

std::string with_text(std::string reason, const std::string& text) {
  if (!text.empty()) reason.append(" - ").append(text);
  return reason;
}

constexpr const char* kNobodySaw =
    "nobody saw its exit code, for its worker died, and it said no final word on fd 3";

// By the words and the exit status alone.
Verdict by_words(const Ended& ended, core::Success success) {
  const auto& said = ended.verdict;
  if (said.decisive == PipeWord::err) return {"err", err_text(ended), 0};
  if (!ended.was_seen && !said.decisive) return {"lost", kNobodySaw, 0};
  // Where nobody saw the exit, the word says it.
  if (ended.was_seen && !exited_well(ended.status)) return {"failed", bad_exit(ended), 0};
  if (said.decisive == PipeWord::done) return {"done", said.text, 0};
  if (said.decisive == PipeWord::relayed) return {"relayed", said.text, 0};
  if (said.decisive == PipeWord::resend && said.delay_s == wire::kNoDelay) {
    return {"failed", bad_resend(said.text), 0};
  }
  if (said.decisive == PipeWord::resend) return {"resend", resend_text(ended), said.delay_s};
  return without_word(ended, success);
}

Verdict judge(const Ended& ended, core::Success success) {
  Verdict verdict = by_words(ended, success);
  const bool got_there = verdict.outcome == "done" || verdict.outcome == "relayed";
  const bool said_so = got_there && ended.verdict.decisive.has_value();
  // Without the time that it had to end by itself.
  const auto length = ended.told_to_end.count() > 0 ? ended.told_to_end : ended.wall;
  const double seconds = static_cast<double>(length.count()) / 1e6;
  const auto stopped = [&]() -> Verdict {
    return {"stopped",
            with_text(fmt::format("stopped after {:.1f} s", seconds), ended.verdict.text), 0};
  };
  switch (ended.cause) {
    case StopCause::none:
      break;
    case StopCause::out_of_memory:
      return {"failed",
              with_text(fmt::format("out of memory: killed at {} MiB, above the queue's limit",
                                    ended.rss_bytes / 1024 / 1024),
                        last_words(ended)),
              0};
    case StopCause::too_many_processes:
      return {"failed",
              with_text(fmt::format("too many processes: killed with {}, above the queue's limit",
                                    ended.processes),
                        last_words(ended)),
              0};
    // A script that heard TERM and got its work done all the same, has: it says so, for many end
    // with 0 when they hear it.
    case StopCause::timed_out:
      if (said_so) break;
      return {"timed_out",
              with_text(fmt::format("timed out after {:.1f} s", seconds), last_words(ended)), 0};
    case StopCause::asked:
      if (said_so) break;
      return stopped();
    case StopCause::abandoned:
      if (got_there) break;
      return stopped();
  }
  return verdict;
}

}  // namespace

Verdict verdict_of(const Ended& ended, core::Success success) {
  Verdict verdict = judge(ended, success);
  verdict.reason = clean_text(verdict.reason, base::kTextBytesMax, Keep::start);
  return verdict;
}

bool may_run_again(std::string_view outcome) { return outcome != "done" && outcome != "relayed"; }

std::string post_mortem_of(const Ended& ended, const ScriptVersion& script) {
  const auto seconds = [](std::chrono::microseconds t) {
    return static_cast<double>(t.count()) / 1e6;
  };
  boost::json::object out;
  out.reserve(16);
  out["pid"] = ended.pid;
  out["wall_s"] = seconds(ended.wall);
  if (ended.was_seen) {
    out[WIFEXITED(ended.status) ? "exit_code" : "signal"] =
        WIFEXITED(ended.status) ? WEXITSTATUS(ended.status) : WTERMSIG(ended.status);
    out["user_s"] = seconds(ended.user);
    out["system_s"] = seconds(ended.system);
    out["rss_bytes"] = ended.rss_bytes;
  }
  if (!ended.last_output.empty()) {
    out["last_output"] = clean_text(ended.last_output, base::kLastOutputBytesMax, Keep::end);
  }
  out["script"] = clean_text(script.path, base::kTextBytesMax, Keep::start);
  if (!script.sha256.empty()) out["script_sha256"] = script.sha256;
  if (ended.cause == StopCause::out_of_memory) out["out_of_memory"] = true;
  if (ended.killed_after_grace) out["killed_after_grace"] = true;
  if (ended.cause == StopCause::timed_out) out["timed_out"] = true;
  return boost::json::serialize(out);
}

std::string clean_text(std::string_view text, std::size_t bytes_max, Keep keep) {
  std::string clean;
  clean.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = base::utf8_sequence(text, at);
    // NUL is UTF-8, but not text that a store or a terminal takes well.
    if (length == 0 || text[at] == '\0') {
      clean.append(base::kReplacementCharacter);
      ++at;
    } else {
      clean.append(text.substr(at, length));
      at += length;
    }
  }
  if (clean.size() <= bytes_max) return clean;
  const auto continues = [&clean](std::size_t i) {
    return (static_cast<unsigned char>(clean[i]) & 0xC0) == 0x80;
  };
  if (keep == Keep::start) {
    std::size_t end = bytes_max;
    while (end > 0 && continues(end)) --end;
    clean.resize(end);
    return clean;
  }
  std::size_t start = clean.size() - bytes_max;
  while (start < clean.size() && continues(start)) ++start;
  return clean.substr(start);
}

}  // namespace rq::worker
