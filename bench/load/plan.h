#pragma once
// What a run of rq_load does, and how it gives up.
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace rq::load {

enum class Work : std::uint8_t {
  lives,  // put, take, finish: the number of waiting messages stays the same
  puts,   // only puts: fills the server
  takes,  // take and finish: empties it
};

struct Plan {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string queue = "bench";
  Work work = Work::lives;
  bool rows = false;  // lives: `depth` puts, then takes, then finishes; else mixed
  std::size_t connections = 50;
  std::size_t depth = 100;  // commands in flight on each connection
  std::size_t bytes = 200;  // of each payload
  std::size_t batch = 1;    // messages in one put (HTTP only)
  double warmup_s = 1;
  double seconds = 5;
  std::uint64_t count = 0;  // stops after this many messages instead of by time
  double rate = 0;          // lives (puts) started a second; 0: as many as go
  std::uint64_t first = 0;  // number of the first message, written into its payload
  bool leave = false;       // goes at the end of the time, with commands still in flight
  double stall_s = 30;      // without any reply for this long the run has failed
};

// A payload starts with its number in hexadecimal; the rest is filler.
inline constexpr std::size_t kNumberDigits = 16;
inline constexpr char kFiller = 'x';
inline constexpr std::size_t kPayloadBytesMax = 1024 * 1024;
inline constexpr std::size_t kDepthMax = 4096;
inline constexpr std::size_t kConnectionsMax = 10'000;
inline constexpr std::size_t kBatchMax = 10'000;

// A wrong answer ends the whole run: a rate of wrong answers is worth nothing.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "rq_load: {}\n", fmt::format(format, std::forward<Args>(args)...));
  std::exit(1);
}

// The start of a reply, fit for an error message.
[[nodiscard]] inline std::string quoted(std::string_view reply) {
  constexpr std::size_t kShown = 120;
  std::string text;
  for (const char c : reply.substr(0, kShown)) {
    if (c == '\r') {
      text += "\\r";
    } else if (c == '\n') {
      text += "\\n";
    } else {
      text += c;
    }
  }
  return text;
}

inline void write_number(std::uint64_t number, char* to) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (std::size_t i = kNumberDigits; i-- > 0; number >>= 4) to[i] = kDigits[number & 15];
}

// The number of a payload of `bytes` that must be one of ours.
[[nodiscard]] inline std::uint64_t read_number(std::string_view payload, std::size_t bytes) {
  if (payload.size() != bytes) {
    fail("a payload of {} bytes came back, {} were put", payload.size(), bytes);
  }
  std::uint64_t number = 0;
  for (const char c : payload.substr(0, kNumberDigits)) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && (c < 'a' || c > 'f')) fail("not a payload of ours: '{}'", quoted(payload));
    number = number << 4 | static_cast<std::uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  if (payload.find_first_not_of(kFiller, kNumberDigits) != std::string_view::npos) {
    fail("a payload came back changed: '{}'", quoted(payload));
  }
  return number;
}

}  // namespace rq::load
