#pragma once
// A large JSON body, parsed piece by piece as it comes, so that no other connection waits for it.
// Its memory is a small multiple of the body's: the number of values is bounded.
// Thread: loop.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "base/json_quotes.h"
#include "base/result.h"
#include "doors/api/json_reader.h"
#include "doors/api/memory.h"
#include "doors/api/strict_parser.h"
#include "http/body.h"

namespace rq::doors::api {

// Counts the values of a JSON text that comes in pieces, without parsing it: one for each comma,
// bracket and brace outside of texts.
class ValueCounter {
 public:
  void feed(std::string_view piece);
  [[nodiscard]] std::size_t count() const { return count_; }

 private:
  std::size_t count_ = 0;
  base::JsonQuotes quotes_;
};

class JsonSink final : public http::BodySink {
 public:
  explicit JsonSink(Exchange& x);
  Next take(std::string_view piece) override;
  // At the end of the body; valid as long as the sink is.
  [[nodiscard]] base::Result<const boost::json::object*> object();
  // The whole body, after that.
  [[nodiscard]] std::string_view text() const { return text_; }

 private:
  void write(std::string_view piece);

  StrictParser parser_;
  ByteOrderMark mark_;
  MemoryShare memory_;
  ValueCounter values_;
  std::string text_;
  std::optional<base::Error> error_;
  std::optional<boost::json::value> value_;
};

}  // namespace rq::doors::api
