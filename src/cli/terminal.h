#pragma once
// The terminal, if there is one: colours, width, single keys. Everything also works without.
#include <termios.h>

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace rq::cli {

// Colours only on a terminal, and not when NO_COLOR is set or TERM is dumb.
[[nodiscard]] bool colours_on(std::FILE* stream);
[[nodiscard]] bool is_terminal(int fd);
// Asks on standard error; true when the answer is yes. REQUIRES: standard input is a terminal.
[[nodiscard]] bool confirm(std::string_view question);
struct TerminalSize {
  std::size_t columns = 80;
  std::size_t rows = 24;
};
// Of standard output; absent when it is no terminal.
[[nodiscard]] std::optional<TerminalSize> terminal_size();

enum class Ink : std::uint8_t { plain, bold, dim, red, green, yellow, blue, cyan };
// `text` in that colour, or as it is when `on` is false.
[[nodiscard]] std::string paint(Ink ink, std::string_view text, bool on);
// What the state of a message or queue is painted with.
[[nodiscard]] Ink ink_of_state(std::string_view state);

// Lets through of a script's output what is safe on a terminal: text, line ends, tabs, colours
// (SGR). All other control sequences go, and what else could change the display is shown by its
// code. Sequences and characters may be cut anywhere between two calls.
class AnsiFilter {
 public:
  explicit AnsiFilter(bool colours) : colours_(colours) {}
  [[nodiscard]] std::string feed(std::string_view piece);

 private:
  enum class In { text, escape, csi, osc, osc_escape };
  bool colours_;
  In in_ = In::text;
  std::string sequence_;
  std::string cut_;  // the start of a character
};

// One key at a time, without echo, while it lives; and the screen that was there before comes back.
// Inert when standard input or output is no terminal.
class FullScreen {
 public:
  FullScreen();
  ~FullScreen();
  FullScreen(const FullScreen&) = delete;
  FullScreen& operator=(const FullScreen&) = delete;
  // Waits for a key at most so long.
  [[nodiscard]] std::optional<char> key(base::Millis wait) const;
  void draw(std::string_view screen) const;

 private:
  bool active_ = false;
  termios before_{};
};

}  // namespace rq::cli
