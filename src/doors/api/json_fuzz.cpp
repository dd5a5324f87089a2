// JSON of puts, settings and filters: no crash; a put gives the same in any pieces, and what the
// reader of large ones takes the reader of small ones takes as well.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "core/settings_json.h"
#include "doors/api/filter.h"
#include "doors/api/items.h"
#include "doors/api/json_in.h"
#include "doors/api/json_reader.h"
#include "doors/api/put_reader.h"

namespace {

using namespace rq::doors::api;  // NOLINT(google-build-using-namespace): what is tried here

rq::base::Result<rq::core::Put> read_put(std::string_view text, std::size_t piece) {
  PutReader reader;
  JsonReader json;
  for (std::size_t at = 0; at < text.size(); at += piece) reader.feed(text.substr(at, piece));
  return reader.finish(json, "queue");
}

std::string items_of(std::string_view text, std::size_t piece) {
  ItemSplitter splitter(std::nullopt);
  std::string out;
  const auto part = [&out](std::string_view more) {
    out += more;
    return true;
  };
  const auto end = [&out] {
    out += '\0';
    return true;
  };
  for (std::size_t at = 0; at < text.size(); at += piece) {
    splitter.feed(text.substr(at, piece), part, end);
  }
  const auto ended = splitter.finish(end);
  // Parts of an item that is refused may have been given.
  return splitter.error() || !ended ? "error" : out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 65536) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto whole = read_put(text, size);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{13}}) {
    const auto cut = read_put(text, piece);
    RQ_CHECK(cut.has_value() == whole.has_value());
    if (whole) RQ_CHECK(cut->message.payload == whole->message.payload);
    RQ_CHECK(items_of(text, piece) == items_of(text, size));
  }
  JsonReader json;
  const auto object = json.parse_object(text);
  if (!object) {
    RQ_CHECK(!whole.has_value());
    return 0;
  }
  const auto put = put_from_json(**object, "queue", text);
  if (whole) {
    RQ_CHECK(put.has_value());
    RQ_CHECK(put->priority == whole->priority && put->max_count == whole->max_count);
    RQ_CHECK(put->prep == whole->prep && put->due == whole->due && put->delay == whole->delay);
    RQ_CHECK(put->message.detail_or_default().key == whole->message.detail_or_default().key);
  }
  static_cast<void>(rq::core::merge_settings({}, **object));
  static_cast<void>(filter_from_json(**object));
  static_cast<void>(reserve_from_json(**object, rq::base::from_ms(0)));
  static_cast<void>(finish_from_json(**object));
  return 0;
}
