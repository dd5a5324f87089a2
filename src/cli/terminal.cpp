#include "cli/terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>

#include "cli/text.h"

namespace rq::cli {
namespace {
constexpr std::size_t kSequenceMax = 64;  // a colour takes a dozen bytes; longer ones are dropped
}

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

bool confirm(std::string_view question) {
  std::fprintf(stderr, "%s [y/N] ", std::string(question).c_str());
  std::string line;
  std::getline(std::cin, line);
  return line == "y" || line == "Y" || line == "yes";
}

bool colours_on(std::FILE* stream) {
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* term = std::getenv("TERM");
  if (term != nullptr && std::string_view(term) == "dumb") return false;
  return is_terminal(::fileno(stream));
}

std::optional<TerminalSize> terminal_size() {
  winsize size{};
  if (!is_terminal(STDOUT_FILENO) || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) {
    return std::nullopt;
  }
  TerminalSize found;
  if (size.ws_col > 0) found.columns = size.ws_col;
  if (size.ws_row > 0) found.rows = size.ws_row;
  return found;
}

std::string paint(Ink ink, std::string_view text, bool on) {
  std::string_view code;
  switch (ink) {
    case Ink::plain:
      break;
    case Ink::bold:
      code = "1";
      break;
    case Ink::dim:
      code = "2";
      break;
    case Ink::red:
      code = "31";
      break;
    case Ink::green:
      code = "32";
      break;
    case Ink::yellow:
      code = "33";
      break;
    case Ink::blue:
      code = "34";
      break;
    case Ink::cyan:
      code = "36";
      break;
  }
  if (!on || code.empty()) return std::string(text);
  return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
}

Ink ink_of_state(std::string_view state) {
  if (state == "err" || state == "script_error" || state == "failed" || state == "lost" ||
      state == "timed_out" || state == "killed") {
    return Ink::red;
  }
  if (state == "run") return Ink::cyan;
  if (state == "done" || state == "relayed" || state == "up" || state == "ok") return Ink::green;
  if (state == "scheduled" || state == "pause" || state == "drain" || state == "down" ||
      state == "cancelled") {
    return Ink::yellow;
  }
  return Ink::plain;
}

std::string AnsiFilter::feed(std::string_view piece) {
  std::string out;
  const std::string whole = std::exchange(cut_, {}).append(piece);
  for (std::string_view text = whole; !text.empty();) {
    const char c = text.front();
    const auto byte = static_cast<unsigned char>(c);
    if (in_ == In::text && byte >= 0x80) {
      const Character next = first_character(text);
      if (!next.whole) {
        cut_ = text;
        break;
      }
      append_shown(out, text, next);
      text.remove_prefix(next.bytes);
      continue;
    }
    text.remove_prefix(1);
    switch (in_) {
      case In::text:
        if (c == '\x1b') {
          in_ = In::escape;
        } else if (byte >= ' ' ? byte != 0x7F : c == '\n' || c == '\t' || c == '\r') {
          out.push_back(c);
        }
        break;
      case In::escape:
        sequence_.clear();
        in_ = c == '[' ? In::csi : c == ']' ? In::osc : In::text;
        break;
      case In::csi:
        if (byte >= 0x40 && byte <= 0x7E) {
          if (c == 'm' && colours_) out += "\x1b[" + sequence_ + "m";
          in_ = In::text;
        } else if (sequence_.size() < kSequenceMax && byte >= 0x20) {
          sequence_.push_back(c);
        } else {
          in_ = In::text;
        }
        break;
      case In::osc:  // until BEL or ESC backslash
        if (c == '\a' || c == '\n') in_ = In::text;
        if (c == '\x1b') in_ = In::osc_escape;
        break;
      case In::osc_escape:
        in_ = In::text;
        break;
    }
  }
  return out;
}

FullScreen::FullScreen() {
  if (!is_terminal(STDIN_FILENO) || !is_terminal(STDOUT_FILENO)) return;
  if (::tcgetattr(STDIN_FILENO, &before_) != 0) return;
  termios raw = before_;
  // Ctrl-C arrives as a key, so that the screen is always put back.
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
  if (::tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0) return;
  active_ = true;
  std::fputs("\x1b[?1049h\x1b[?25l", stdout);
  std::fflush(stdout);
}

FullScreen::~FullScreen() {
  if (!active_) return;
  std::fputs("\x1b[?25h\x1b[?1049l", stdout);
  std::fflush(stdout);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

std::optional<char> FullScreen::key(base::Millis wait) const {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  if (::poll(&input, 1, static_cast<int>(wait.count())) <= 0) return std::nullopt;
  char c = 0;
  // The terminal is gone: as if somebody had said q.
  if (::read(STDIN_FILENO, &c, 1) != 1) return 'q';
  return c;
}

void FullScreen::draw(std::string_view screen) const {
  // Each line clears to its end, then what is below: nothing flickers.
  std::string out = "\x1b[H";
  for (const char c : screen) {
    if (c == '\n') out += "\x1b[K";
    out.push_back(c);
  }
  out += "\x1b[J";
  std::fwrite(out.data(), 1, out.size(), stdout);
  std::fflush(stdout);
}

}  // namespace rq::cli
