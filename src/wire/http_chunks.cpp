#include "wire/http_chunks.h"

#include <charconv>
#include <system_error>
#include <utility>

namespace rq::wire {
namespace {

constexpr int kHex = 16;

// "1a", "1A;name=value", "1a ;name". False: it is none.
bool read_size(std::string_view line, std::uint64_t& size) {
  const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), size, kHex);
  if (error != std::errc{}) return false;
  std::string_view rest = line.substr(static_cast<std::size_t>(stop - line.data()));
  while (rest.starts_with(' ') || rest.starts_with('\t')) rest.remove_prefix(1);
  return rest.empty() || rest.starts_with(';');
}

}  // namespace

ChunkReader::State ChunkReader::take_line() {
  const std::string held = std::exchange(line_, {});
  std::string_view line = held;
  line.remove_suffix(1);
  if (!line.ends_with('\r')) return State::broken;
  line.remove_suffix(1);
  switch (part_) {
    case Part::size:
      if (!read_size(line, left_)) return State::broken;
      part_ = left_ > 0 ? Part::data : Part::trailer;
      return State::more;
    case Part::data_end:
      if (!line.empty()) return State::broken;
      part_ = Part::size;
      return State::more;
    case Part::trailer:
      if (line.empty()) return State::done;
      trailer_bytes_ += held.size();
      return trailer_bytes_ > kTrailerBytesMax ? State::broken : State::more;
    case Part::data:
      break;  // has no lines
  }
  return State::broken;
}

}  // namespace rq::wire
