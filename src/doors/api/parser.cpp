#include "doors/api/parser.h"

#include <algorithm>

#include <boost/beast/core/string.hpp>

#include "base/limits.h"

namespace rq::doors::api {
namespace {

namespace beast = boost::beast;

Method method_of(beast::http::verb verb) {
  switch (verb) {
    case beast::http::verb::get:
    case beast::http::verb::head:
      return Method::get;
    case beast::http::verb::post:
      return Method::post;
    case beast::http::verb::put:
      return Method::put;
    case beast::http::verb::patch:
      return Method::patch;
    case beast::http::verb::delete_:
      return Method::del;
    default:
      return Method::other;
  }
}

// "Application/JSON; charset=utf-8" -> "application/json"
void assign_media_type(std::string& out, beast::string_view value) {
  const auto end = std::min(value.find(';'), value.size());
  out.assign(value.data(), end);
  while (!out.empty() && (out.back() == ' ' || out.back() == '\t')) out.pop_back();
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

void Head::clear() {
  const bool on_unix = unix_socket;
  target.clear();
  host.clear();
  content_type.clear();
  origin.clear();
  range.clear();
  method = Method::other;
  head_only = expect_continue = expect_unknown = fetch_cross_site = line_too_long = target_bad =
      false;
  hosts = 0;
  unix_socket = on_unix;
}

RequestParser::RequestParser(Head& head, std::string& body) : head_(head), body_(body) {
  head_.clear();
  body_.clear();
  header_limit(static_cast<std::uint32_t>(base::kHttpHeaderBytesMax));
  body_limit(base::kHttpBodyBytesMax);
}

void RequestParser::on_request_impl(beast::http::verb method, string_view /*method_text*/,
                                    string_view target, int version, error_code& /*error*/) {
  head_.version = version;
  head_.method = method_of(method);
  head_.head_only = method == beast::http::verb::head;
  head_.line_too_long = target.size() > base::kHttpLineBytesMax;
  head_.target_bad = !std::all_of(target.begin(), target.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20U && static_cast<unsigned char>(c) < 0x7FU;
  });
  if (!head_.line_too_long) head_.target.assign(target.data(), target.size());
}

void RequestParser::on_field_impl(beast::http::field name, string_view name_text, string_view value,
                                  error_code& /*error*/) {
  using beast::http::field;
  switch (name) {
    case field::host:
      ++head_.hosts;
      head_.host.assign(value.data(), value.size());
      break;
    case field::content_type:
      assign_media_type(head_.content_type, value);
      break;
    case field::origin:
      head_.origin.assign(value.data(), value.size());
      break;
    case field::range:
      head_.range.assign(value.data(), value.size());
      break;
    case field::expect:
      head_.expect_continue = beast::iequals(value, "100-continue");
      head_.expect_unknown = !head_.expect_continue;
      break;
    default:
      if (beast::iequals(name_text, "sec-fetch-site")) {
        head_.fetch_cross_site = beast::iequals(value, "cross-site");
      }
      break;
  }
}

void RequestParser::take(string_view piece) {
  body_bytes_ += piece.size();
  if (drop_) return;
  if (sink_ != nullptr) {
    sink_->take({piece.data(), piece.size()});
    return;
  }
  if (body_bytes_ > keep_max_) {
    too_large_ = true;
    return;
  }
  if (body_bytes_ == piece.size()) {
    whole_ = true;
    whole_view_ = {piece.data(), piece.size()};
    return;
  }
  keep_body();
  body_.append(piece.data(), piece.size());
}

void RequestParser::keep_body() {
  if (!whole_) return;
  whole_ = false;
  body_.assign(whole_view_);
}

}  // namespace rq::doors::api
