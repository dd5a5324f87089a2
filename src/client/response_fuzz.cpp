// No bytes from a server break the readers of answers and events, and no chunking changes what they
// read.
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

struct Seen {
  State state = State::more;
  unsigned status = 0;
  std::string body;
  std::string events;
  bool operator==(const Seen&) const = default;
};

Seen read(std::string_view bytes, std::size_t chunk) {
  Seen seen;
  rq::client::SseReader events;
  ResponseReader reader([&](std::string_view piece) {
    seen.body.append(piece);
    return events.feed(piece, [&seen](std::string_view event, std::string_view data) {
      seen.events.append(event).append("=").append(data).append(";");
    });
  });
  std::string buffer;
  for (std::size_t at = 0; at < bytes.size() && seen.state == State::more; at += chunk) {
    buffer.append(bytes.substr(at, chunk));
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
  if (size == 0) return 0;
  // The first byte chooses the chunking.
  const std::size_t chunk = std::size_t{data[0]} + 1;
  const std::string bytes(data + 1, data + size);
  const Seen whole = read(bytes, bytes.size() + 1);
  const Seen pieces = read(bytes, chunk);
  RQ_CHECK(whole.state == pieces.state);
  if (whole.state == State::done) {
    RQ_CHECK(whole == pieces);
    const rq::client::Reply reply{.status = whole.status, .content_type = {}, .body = whole.body};
    if (!reply.is_success()) RQ_CHECK(!rq::client::error_of(reply).message.empty());
    static_cast<void>(rq::client::json_of(reply));
  }
  return 0;
}
