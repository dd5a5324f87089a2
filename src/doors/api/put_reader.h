#pragma once
// Reads one message to be put from JSON of any size, piece by piece: the payload goes where it
// belongs as it comes, and the small fields are kept as text until the end.
// Thread: loop.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/stream_parser.hpp>

#include "base/json_quotes.h"
#include "base/result.h"
#include "core/command.h"
#include "doors/api/json_check.h"
#include "doors/api/json_reader.h"
#include "doors/api/json_sink.h"

namespace rq::doors::api {

class PutReader {
 public:
  PutReader() = default;

  void feed(std::string_view piece);
  // At the end of the text.
  [[nodiscard]] base::Result<core::Put> finish(JsonReader& json, std::string_view queue);

 private:
  // Where the scan of the outermost object is.
  enum class Place : std::uint8_t { before, name, in_name, colon, value, in_value, after };
  // Where the value of a field goes.
  enum class Goal : std::uint8_t { rest, payload, base64, json };

  // Takes what belongs to one place off the front of `piece`.
  void step(std::string_view& piece);
  void step_name(std::string_view& piece);
  void step_value(std::string_view& piece);
  void begin_value(char first);
  void take_value(std::string_view piece);
  void end_value();
  void refuse(base::Error error);
  void refuse_syntax(std::string_view why);
  [[nodiscard]] base::Result<void> add_payload(core::Put& put);

  std::optional<base::Error> error_;
  ByteOrderMark mark_;
  Place place_ = Place::before;
  Goal goal_ = Goal::rest;
  std::size_t depth_ = 0;  // inside the value
  base::JsonQuotes quotes_;
  bool first_ = true;  // no field has come yet
  int payloads_ = 0;
  std::string name_;  // of the field, as it came, with its quotes
  std::string rest_ = "{";
  ValueCounter rest_values_;
  Goal payload_goal_ = Goal::rest;   // which of the payloads came
  std::string payload_;              // JSON, as it came
  boost::json::stream_parser text_;  // of the others
  std::size_t payload_bytes_ = 0;    // as they came
  std::unique_ptr<JsonCheck> check_;
};

}  // namespace rq::doors::api
