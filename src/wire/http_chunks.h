#pragma once
// The chunked transfer encoding of HTTP/1.1 (RFC 9112 section 7.1), from bytes in any chunking:
// data out, extensions and trailers read over. A pure codec.
//
// Not Beast's: in Boost 1.81 the parser for this asserts on bytes that a peer can send (an empty
// body whose last bytes come one by one is enough).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace rq::wire {

inline constexpr std::size_t kChunkLineBytesMax = 4 * base::kKiB;  // a size with its extensions
inline constexpr std::size_t kTrailerBytesMax = 16 * base::kKiB;

class ChunkReader {
 public:
  enum class State : std::uint8_t {
    more,    // not at its end yet
    done,    // the body has ended
    enough,  // on_data wants no more for now
    broken,  // this is no chunked body
  };

  // Takes from `bytes`, all of them unless the body ends, and says in `used` how many. Calls
  // on_data(std::string_view) for each piece of the body; false: enough for now. After `more` or
  // `enough` only.
  template <typename OnData>
  [[nodiscard]] State feed(std::string_view bytes, std::size_t& used, OnData&& on_data) {
    used = 0;
    while (used < bytes.size()) {
      const std::string_view rest = bytes.substr(used);
      if (part_ == Part::data) {
        const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, rest.size()));
        used += size;
        left_ -= size;
        if (left_ == 0) part_ = Part::data_end;
        if (!on_data(rest.substr(0, size))) return State::enough;
        continue;
      }
      const std::size_t end = rest.find('\n');
      const std::size_t size = end == std::string_view::npos ? rest.size() : end + 1;
      used += size;
      if (line_.size() + size > kChunkLineBytesMax) return State::broken;
      line_.append(rest.substr(0, size));
      if (end == std::string_view::npos) break;
      const State state = take_line();
      if (state != State::more) return state;
    }
    return State::more;
  }

  // What is still to come of the chunk that has begun.
  [[nodiscard]] std::uint64_t left() const { return left_; }

 private:
  enum class Part : std::uint8_t {
    size,      // the line with the size of the next chunk
    data,      // left_ bytes of it
    data_end,  // the line end behind them
    trailer,   // lines, up to an empty one
  };

  // line_ ends with a line feed. Empties it.
  [[nodiscard]] State take_line();

  Part part_ = Part::size;
  std::uint64_t left_ = 0;
  std::string line_;  // what has come of it, at most kChunkLineBytesMax
  std::size_t trailer_bytes_ = 0;
};

}  // namespace rq::wire
