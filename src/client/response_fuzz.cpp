// No bytes from a server break the readers of answers and events, and no chunking changes what they
// read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "client/reply.h"
#include "client/response_reader.h"
#include "client/sse_reader.h"

namespace {

using rq::client::ResponseReader;
using State = ResponseReader::State;

constexpr std::size_t kChunkSizes = 3;

struct Seen {
  State state = State::more;
  unsigned status = 0;
  std::string body;
  std::string events;
  bool operator==(const Seen&) const = default;
};

// What is read from `bytes`, which come in pieces of these sizes, in turns.
Seen read(std::string_view bytes, std::basic_string_view<std::uint8_t> sizes) {
  Seen seen;
  rq::client::SseReader events;
  ResponseReader reader([&](std::string_view piece) {
    seen.body.append(piece);
    return events.feed(piece, [&seen](std::string_view event, std::string_view data) {
      seen.events.append(event).append("=").append(data).append(";");
    });
  });
  std::string buffer;
  for (std::size_t turn = 0; !bytes.empty() && seen.state == State::more; ++turn) {
    const std::size_t chunk = std::size_t{sizes[turn % sizes.size()]} + 1;
    buffer.append(bytes.substr(0, chunk));
    bytes.remove_prefix(std::min(chunk, bytes.size()));
    std::size_t used = 0;
    seen.state = reader.feed(buffer, used);
    RQ_CHECK(used <= buffer.size());
    buffer.erase(0, used);
  }
  if (seen.state == State::more) seen.state = reader.end_of_input();
  RQ_CHECK(seen.state != State::more);
  RQ_CHECK(seen.state != State::broken || !reader.what().empty());
  seen.status = reader.status();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kChunkSizes) return 0;
  const std::string bytes(data + kChunkSizes, data + size);
  const std::uint8_t large = 255;
  const Seen whole = read(bytes, {&large, 1});
  const Seen pieces = read(bytes, {data, kChunkSizes});
  RQ_CHECK(whole.state == pieces.state);
  if (whole.state == State::done) {
    RQ_CHECK(whole == pieces);
    const rq::client::Reply reply{.status = whole.status, .content_type = {}, .body = whole.body};
    if (!reply.is_success()) RQ_CHECK(!rq::client::error_of(reply).message.empty());
    static_cast<void>(rq::client::json_of(reply));
  }
  return 0;
}
