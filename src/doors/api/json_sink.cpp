#include "doors/api/json_sink.h"

#include <fmt/format.h>

#include "core/json_fields.h"
#include "doors/api/json_reader.h"
#include "doors/api/limits.h"

namespace rq::doors::api {

using base::Code;
using base::fail;

void ValueCounter::feed(std::string_view piece) {
  for (const char c : piece) {
    if (!quotes_.next(c) && (c == ',' || c == '[' || c == '{')) ++count_;
  }
}

JsonSink::JsonSink(Exchange& x) : parser_({}), memory_(x) {}

http::BodySink::Next JsonSink::take(std::string_view piece) {
  mark_.feed(piece, [this](std::string_view text) { write(text); });
  return Next::more;
}

void JsonSink::write(std::string_view piece) {
  if (error_) return;
  values_.feed(piece);
  if (values_.count() > kJsonValuesMax) {
    error_ = fail(Code::too_many, "the JSON of the body has too many values",
                  fmt::format("at most {} are allowed", kJsonValuesMax));
  } else if (auto good = memory_.cover(3 * (text_.size() + piece.size())); !good) {
    // Its text, what the parser keeps of it, and the tree that is made of it.
    error_ = std::move(good).error();
  } else {
    boost::system::error_code error;
    const std::size_t used = parser_.write(true, piece, error);
    if (error) error_ = json_error(error, text_.size() + used);
    text_ += piece;
  }
  if (!error_) return;
  parser_.reset();
  std::string().swap(text_);
}

base::Result<const boost::json::object*> JsonSink::object() {
  if (error_) return *error_;
  if (!value_) {
    boost::system::error_code error;
    parser_.write(false, {}, error);
    if (error) return json_error(error, text_.size());
    RQ_TRY_ASSIGN(value, parser_.release(text_));
    value_.emplace(std::move(value));
  }
  if (!value_->is_object()) return core::wrong_kind("the body", *value_, "a JSON object");
  return &value_->get_object();
}

}  // namespace rq::doors::api
