#pragma once
// What a queue script says on file descriptor 3 and hears on 4: RQ's pipe words, line by line.
// A pure codec: bytes in, commands out. Nothing here can fail: whatever a script writes is at
// least status text, as it is in RQ.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace rq::wire {

inline constexpr std::size_t kPipeLineBytesMax = 64 * base::kKiB;   // one line on fd 3
inline constexpr std::size_t kPipeWordBytesMax = 32;                // of an unknown word
inline constexpr std::chrono::hours kPipeDelayMax{24 * 366 * 100};  // what the API takes as a delay

enum class PipeWord : std::uint8_t {
  run,      // status text
  done,     // completion
  relayed,  // completion; the text is the new full id
  resend,   // completion: run again after delay_s
  err,      // completion; also written `fails`
  dup,      // make a copy now; the only word that is answered
  other,    // status text (`fail` among them: all scripts of RQ send it, and it decides nothing)
};

struct PipeLine {
  PipeWord word = PipeWord::other;
  // What follows the first blank, of a resend its REASON alone; replaces the status text.
  std::string text;
  // resend, dup: at most kPipeDelayMax. kNoDelay: a resend that does not begin with such a number.
  std::int64_t delay_s = 0;
  std::string dest;     // dup; empty when the line has no N-X-DEST form
  std::string unknown;  // other: the word, at most kPipeWordBytesMax of it
};
inline constexpr std::int64_t kNoDelay = -1;
[[nodiscard]] PipeLine parse_pipe_line(std::string_view line);

// Is it a completion?
[[nodiscard]] bool decides(PipeWord word);

// "done" for PipeWord::done; for err and other "" as RQ's "Completion was" text has it.
[[nodiscard]] std::string_view completion_name(std::optional<PipeWord> decisive);

// Puts lines together from bytes in any chunking. A line longer than kPipeLineBytesMax is cut: its
// first bytes count, the rest up to the newline is dropped.
class PipeReader {
 public:
  // Calls line(std::string_view) for each line that ends in `bytes`.
  template <typename OnLine>
  void feed(std::string_view bytes, OnLine&& line) {
    while (!bytes.empty()) {
      const std::size_t end = bytes.find('\n');
      const std::string_view part = bytes.substr(0, end);
      if (end == std::string_view::npos) {
        keep(part);
        return;
      }
      if (partial_.empty() && part.size() <= kPipeLineBytesMax) {
        line(part);
      } else {
        keep(part);
        line(std::string_view(partial_));
        partial_.clear();
      }
      bytes.remove_prefix(end + 1);
    }
  }
  // What has come of a line that has not ended; a reader that starts with it goes on from there.
  [[nodiscard]] std::string_view partial() const { return partial_; }
  // The end of the stream: what has come without a newline is a line too.
  template <typename OnLine>
  void finish(OnLine&& line) {
    if (partial_.empty()) return;
    line(std::string_view(partial_));
    partial_.clear();
  }

 private:
  void keep(std::string_view part) {
    const std::size_t room = kPipeLineBytesMax - partial_.size();
    partial_.append(part.substr(0, room));
  }

  std::string partial_;  // at most kPipeLineBytesMax
};

// What the lines of one attempt add up to. The first decisive word counts; the last text counts,
// but for a resend without a delay: its text is the mistake that a reader must see.
struct PipeVerdict {
  bool spoke = false;                // there was a line, whatever it said
  std::optional<PipeWord> decisive;  // done, relayed, resend or err
  std::int64_t delay_s = 0;          // of the decisive resend
  std::string text;
  std::string unknown;  // the last word that is none
  void note(const PipeLine& line);
};

// The lines that answer a dup, newline included. A newline inside becomes a blank.
[[nodiscard]] std::string pipe_ok(std::string_view id);
[[nodiscard]] std::string pipe_fail(std::string_view reason);

}  // namespace rq::wire
