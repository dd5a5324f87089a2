#include "doors/api/put_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <boost/json/value.hpp>

#include "base/base64.h"
#include "doors/api/json_in.h"
#include "doors/api/json_reader.h"
#include "doors/api/limits.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;

constexpr std::string_view kSpace = " \t\r\n";
// A payload of the largest size: every byte escaped as \u00XX, or in base64.
constexpr std::size_t kEscapedBytesMax = 6 * base::kPayloadBytesMax + 2;
constexpr std::size_t kBase64BytesMax = base::kPayloadBytesMax / 3 * 4 + 8;

void skip_space(std::string_view& piece) {
  piece.remove_prefix(std::min(piece.find_first_not_of(kSpace), piece.size()));
}

}  // namespace

void PutReader::refuse(base::Error error) {
  if (!error_) error_ = std::move(error);
}

void PutReader::refuse_syntax(std::string_view why) {
  refuse(
      fail(Code::bad_request, fmt::format("the body is not JSON: {}", why), "send JSON in UTF-8"));
}

void PutReader::feed(std::string_view piece) {
  mark_.feed(piece, [this](std::string_view text) {
    while (!text.empty() && !error_) step(text);
  });
}

void PutReader::step(std::string_view& piece) {
  if (place_ == Place::in_name) return step_name(piece);
  if (place_ == Place::in_value) return step_value(piece);
  skip_space(piece);
  if (piece.empty()) return;
  const char c = piece.front();
  switch (place_) {
    case Place::before:
      if (c != '{') {
        return refuse(
            fail(Code::bad_value, "the message is not a JSON object", "send {\"payload\":\"…\"}"));
      }
      place_ = Place::name;
      break;
    case Place::name:
      if (c == '"') {
        name_ = c;
        quotes_.next(c);
        place_ = Place::in_name;
      } else if (c == '}' && first_) {
        place_ = Place::after;
      } else {
        return refuse_syntax("there is no name of a field");
      }
      break;
    case Place::colon:
      if (c != ':') return refuse_syntax("there is no ':' behind the name of a field");
      place_ = Place::value;
      break;
    case Place::value:
      return begin_value(c);  // which is the first byte of the value
    default:
      return refuse_syntax("there is something behind its end");
  }
  piece.remove_prefix(1);
}

void PutReader::step_name(std::string_view& piece) {
  for (std::size_t at = 0; at < piece.size(); ++at) {
    quotes_.next(piece[at]);
    if (quotes_.in_text()) continue;
    name_ += piece.substr(0, at + 1);
    piece.remove_prefix(at + 1);
    place_ = Place::colon;
    return;
  }
  name_ += std::exchange(piece, {});
  if (name_.size() > kPutRestBytesMax) refuse_syntax("the name of a field has no end");
}

void PutReader::begin_value(char first) {
  goal_ = name_ == R"("payload")"          ? Goal::payload
          : name_ == R"("payload_base64")" ? Goal::base64
          : name_ == R"("payload_json")"   ? Goal::json
                                           : Goal::rest;
  // A text that is none is refused with the other fields, by name.
  if (goal_ != Goal::json && first != '"') goal_ = Goal::rest;
  if (goal_ == Goal::rest) {
    if (rest_.size() > 1) rest_ += ',';
    rest_ += name_;
    rest_ += ':';
  } else {
    if (++payloads_ > 1) {
      return refuse(two_payloads());
    }
    payload_goal_ = goal_;
    if (goal_ == Goal::json) check_ = std::make_unique<JsonCheck>();
  }
  first_ = false;
  depth_ = 0;
  place_ = Place::in_value;
}

void PutReader::step_value(std::string_view& piece) {
  for (std::size_t at = 0; at < piece.size(); ++at) {
    const char c = piece[at];
    if (quotes_.next(c)) continue;
    if (c == '[' || c == '{') {
      ++depth_;
    } else if (depth_ > 0 && (c == ']' || c == '}')) {
      --depth_;
    } else if (depth_ == 0 && (c == ',' || c == '}')) {
      take_value(piece.substr(0, at));
      piece.remove_prefix(at + 1);
      place_ = c == ',' ? Place::name : Place::after;
      return end_value();
    }
  }
  take_value(std::exchange(piece, {}));
}

void PutReader::take_value(std::string_view piece) {
  if (goal_ == Goal::rest) {
    rest_ += piece;
    rest_values_.feed(piece);
    if (rest_.size() > kPutRestBytesMax) {
      refuse(fail(Code::too_large, "the fields of the message are too large",
                  fmt::format("at most {} bytes are taken beside the payload", kPutRestBytesMax)));
    } else if (rest_values_.count() > kPutRestValuesMax) {
      refuse(fail(Code::too_many, "the fields of the message have too many values",
                  fmt::format("at most {} are allowed", kPutRestValuesMax)));
    }
    return;
  }
  payload_bytes_ += piece.size();
  const std::size_t bytes_max = goal_ == Goal::payload  ? kEscapedBytesMax
                                : goal_ == Goal::base64 ? kBase64BytesMax
                                                        : base::kPayloadBytesMax;
  if (payload_bytes_ > bytes_max) {
    return refuse(fail(Code::too_large, "the payload of the message is too large",
                       fmt::format("at most {} bytes are allowed", base::kPayloadBytesMax)));
  }
  if (goal_ == Goal::json) {
    payload_ += piece;
    if (auto good = check_->feed(piece); !good) refuse(std::move(good).error());
    return;
  }
  boost::system::error_code error;
  text_.write(piece.data(), piece.size(), error);
  if (error) refuse(json_error(error, payload_bytes_));
}

void PutReader::end_value() {
  if (goal_ == Goal::json && !error_) {
    if (auto good = check_->finish(); !good) refuse(std::move(good).error());
    payload_.erase(payload_.find_last_not_of(kSpace) + 1);
  }
}

base::Result<void> PutReader::add_payload(core::Put& put) {
  core::Message& message = put.message;
  if (payload_goal_ == Goal::rest) return {};
  if (payload_goal_ == Goal::json) {
    message.payload = std::move(payload_);
    core::Details& details = message.detail();
    if (details.content_type.empty()) details.content_type = "application/json";
    return {};
  }
  boost::system::error_code error;
  text_.finish(error);
  if (error) return json_error(error, payload_bytes_);
  const boost::json::value value = text_.release();
  const std::string_view text{value.get_string().data(), value.get_string().size()};
  if (payload_goal_ == Goal::payload) {
    message.payload.assign(text);
    return {};
  }
  auto bytes = base::from_base64(text);
  if (!bytes) return bad_base64();
  message.payload = *std::move(bytes);
  return {};
}

base::Result<core::Put> PutReader::finish(JsonReader& json, std::string_view queue) {
  if (!error_ && place_ != Place::after) refuse_syntax("it has no end");
  if (error_) return *error_;
  rest_ += '}';
  RQ_TRY_ASSIGN(value, json.parse(rest_));
  const boost::json::object& rest = value->get_object();
  // One that the other fields hold, with a name written in escapes, counts as well.
  if (payloads_ > 0 && has_payload(rest)) return two_payloads();
  RQ_TRY_ASSIGN(put, put_from_json(rest, queue, rest_));
  RQ_TRY(add_payload(put));
  return put;
}

}  // namespace rq::doors::api
