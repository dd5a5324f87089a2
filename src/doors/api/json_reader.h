#pragma once
// Parses JSON from memory that is used again and again: the values live until the next parse().
// Thread: loop.
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse_options.hpp>
#include <boost/json/value.hpp>

#include "base/result.h"
#include "base/utf8.h"
#include "doors/api/strict_parser.h"

namespace rq::doors::api {

// How all JSON from outside is parsed.
[[nodiscard]] boost::json::parse_options json_options();
// What is wrong with a text that is no JSON. `at`: the byte where it was seen.
[[nodiscard]] base::Error json_error(const boost::system::error_code& error, std::size_t at);
// Lets it pass at the start of a text that comes in pieces.
class ByteOrderMark {
 public:
  // Gives the rest of the text to `take`.
  template <typename Take>
  void feed(std::string_view piece, const Take& take) {
    while (seen_ < base::kByteOrderMark.size() && !piece.empty()) {
      if (piece.front() != base::kByteOrderMark[seen_]) {
        // It is none: what looked like one is a part of the text.
        if (seen_ > 0) take(base::kByteOrderMark.substr(0, seen_));
        seen_ = base::kByteOrderMark.size();
        break;
      }
      piece.remove_prefix(1);
      ++seen_;
    }
    if (!piece.empty()) take(piece);
  }

 private:
  std::size_t seen_ = 0;  // bytes of it
};

class JsonReader {
 public:
  JsonReader();
  // Valid until the next call. bad_request with the place of the mistake.
  [[nodiscard]] base::Result<const boost::json::value*> parse(std::string_view text);
  // The same, when it must be an object; an empty text counts as {}.
  [[nodiscard]] base::Result<const boost::json::object*> parse_object(std::string_view text);

 private:
  static constexpr std::size_t kValueBytes = 32 * 1024;
  static constexpr std::size_t kTempBytes = 4 * 1024;
  std::array<unsigned char, kValueBytes> value_memory_;
  std::array<unsigned char, kTempBytes> temp_memory_;
  std::optional<boost::json::monotonic_resource> resource_;
  StrictParser parser_;
  std::optional<boost::json::value> value_;
  const boost::json::object empty_;
};

}  // namespace rq::doors::api
