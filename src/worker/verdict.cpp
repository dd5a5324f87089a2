#include "worker/verdict.h"

#include <fmt/format.h>
#include <string.h>
#include <sys/wait.h>

#include <boost/json.hpp>

#include "base/limits.h"
#include "base/utf8.h"

namespace rq::worker {
namespace {

using wire::PipeWord;

bool exited_well(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }

// As Ruby prints a process status, which RQ's users know and grep for.
std::string status_text(const Ended& ended) {
  if (WIFEXITED(ended.status)) {
    return fmt::format("pid {} exit {}", ended.pid, WEXITSTATUS(ended.status));
  }
  const int signal = WTERMSIG(ended.status);
  const char* const name = ::sigabbrev_np(signal);
  return fmt::format("pid {} SIG{} (signal {})", ended.pid, name != nullptr ? name : "?", signal);
}

std::string improper(const Ended& ended) {
  return fmt::format(
      "PROCESS EXITED IMPROPERLY - MOVING TO ERR - Completion was {} but exit status was {}",
      wire::completion_name(ended.verdict.decisive), status_text(ended));
}

std::string with_text(std::string reason, const std::string& text) {
  if (!text.empty()) reason.append(" - ").append(text);
  return reason;
}

// By the words and the exit status alone: RQ's table.
Verdict by_words(const Ended& ended) {
  const auto& said = ended.verdict;
  if (said.decisive == PipeWord::err) return {"err", said.text, 0};
  if (!exited_well(ended.status)) return {"failed", improper(ended), 0};
  if (said.decisive == PipeWord::done) return {"done", said.text, 0};
  if (said.decisive == PipeWord::relayed) return {"relayed", said.text, 0};
  if (said.decisive == PipeWord::resend) return {"resend", said.text, said.delay_s};
  if (!said.text.empty()) return {"failed", said.text, 0};
  return {"failed",
          "the script exited 0 without a completion word on fd 3 (done, err, relayed or resend)",
          0};
}

Verdict judge(const Ended& ended) {
  Verdict verdict = by_words(ended);
  const bool got_there = verdict.outcome == "done" || verdict.outcome == "relayed";
  const double seconds = static_cast<double>(ended.wall.count()) / 1e6;
  switch (ended.cause) {
    case StopCause::none:
      break;
    case StopCause::out_of_memory:
      return {"failed",
              with_text(fmt::format("out of memory: killed at {} MiB, above the queue's limit",
                                    ended.rss_bytes / 1024 / 1024),
                        ended.verdict.text),
              0};
    // A script that heard TERM and got its work done all the same, has.
    case StopCause::timed_out:
      if (got_there) break;
      return {"timed_out",
              with_text(fmt::format("timed out after {:.1f} s", seconds), ended.verdict.text), 0};
    case StopCause::asked:
    case StopCause::abandoned:
      if (got_there) break;
      return {"stopped",
              with_text(fmt::format("stopped after {:.1f} s", seconds), ended.verdict.text), 0};
  }
  return verdict;
}

}  // namespace

Verdict verdict_of(const Ended& ended) {
  Verdict verdict = judge(ended);
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
  if (WIFEXITED(ended.status)) {
    out["exit_code"] = WEXITSTATUS(ended.status);
  } else {
    out["signal"] = WTERMSIG(ended.status);
  }
  out["wall_s"] = seconds(ended.wall);
  out["user_s"] = seconds(ended.user);
  out["system_s"] = seconds(ended.system);
  out["rss_bytes"] = ended.rss_bytes;
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
