#include "http/parser.h"

#include <algorithm>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>

#include "base/text.h"
#include "http/limits.h"

namespace rq::http {
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

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

// A field that goes on in the next line: some read it as one, some do not.
bool has_fold(std::string_view lines) {
  for (std::size_t at = lines.find('\n'); at != std::string_view::npos;
       at = lines.find('\n', at + 1)) {
    if (at + 1 < lines.size() && (lines[at + 1] == ' ' || lines[at + 1] == '\t')) return true;
  }
  return false;
}

}  // namespace

void assign_media_type(std::string& out, std::string_view value) {
  out.assign(value.substr(0, value.find(';')));
  while (!out.empty() && (out.back() == ' ' || out.back() == '\t')) out.pop_back();
  for (char& c : out) c = base::lower(c);
}

RequestParser::RequestParser(Head& head, std::string& body) : head_(head), body_(body) {
  head_.clear();
  body_.clear();
  header_limit(static_cast<std::uint32_t>(kHeadBytesMax));
  body_limit(boost::none);  // its own bound is that of the route
}

RequestParser::Step RequestParser::next(std::string_view data) {
  if (!head_done_) return next_of_head(data);
  return chunked() ? next_of_chunks(data) : next_of_length(data);
}

RequestParser::Step RequestParser::next_of_head(std::string_view data) {
  error_code error;
  const std::size_t used = put(boost::asio::buffer(data.data(), data.size()), error);
  head_bytes_ += used;
  folded_ = folded_ || has_fold(data.substr(0, used));
  if (head_bytes_ > kHeadBytesMax) return {used, State::head_too_large, {}};
  if (error == beast::http::error::need_more) {
    // It wants its lines whole.
    if (data.size() - used > kHeadBytesMax) return {used, State::head_too_large, {}};
    return {used, State::need_more, {}};
  }
  if (bad_coding_) return {used, State::bad_coding, {}};
  if (error) return failed(error, used);
  if (!is_header_done()) return {used, State::need_more, {}};
  if (folded_) return {used, State::bad_syntax, "a field goes on in the next line"};
  head_done_ = true;
  stays_open_ = keep_alive();
  left_ = length();
  done_ = !chunked() && left_ == 0;
  return {used, State::head, {}};
}

// A piece at a time, so that the sink can say that it wants to wait. Not by Beast: wire/http_chunks
// says why.
RequestParser::Step RequestParser::next_of_chunks(std::string_view data) {
  using wire::ChunkReader;
  std::size_t used = 0;
  const auto after = chunks_.feed(data, used, [this](std::string_view piece) {
    take(piece);
    return false;
  });
  if (after == ChunkReader::State::broken) {
    return {used, State::bad_syntax, "the body is not in chunks as it says"};
  }
  // Before any of it has come.
  if (body_bytes_ > body_max_ || chunks_.left() > body_max_ - body_bytes_) {
    return {used, State::body_too_large, {}};
  }
  done_ = after == ChunkReader::State::done;
  return {used, done_ ? State::done : State::body, {}};
}

RequestParser::Step RequestParser::next_of_length(std::string_view data) {
  const auto used = static_cast<std::size_t>(std::min<std::uint64_t>(left_, data.size()));
  take(data.substr(0, used));
  left_ -= used;
  if (body_bytes_ > body_max_) return {used, State::body_too_large, {}};
  done_ = left_ == 0;
  return {used, done_ ? State::done : State::body, {}};
}

RequestParser::Step RequestParser::failed(const error_code& error, std::size_t used) {
  using E = beast::http::error;
  if (error == E::header_limit) return {used, State::head_too_large, {}};
  return {used, State::bad_syntax, error.message()};
}

void RequestParser::on_request_impl(beast::http::verb method, string_view /*method_text*/,
                                    string_view target, int version, error_code& /*error*/) {
  head_.version = version;
  head_.method = method_of(method);
  head_.head_only = method == beast::http::verb::head;
  head_.target_too_long = target.size() > kTargetBytesMax;
  head_.target_bad = !std::all_of(target.begin(), target.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20U && static_cast<unsigned char>(c) < 0x7FU;
  });
  if (head_.target_too_long) return;
  head_.target.assign(target.data(), target.size());
  constexpr std::string_view kScheme = "http://";
  if (!beast::iequals(target.substr(0, kScheme.size()), kScheme)) return;
  // As proxies are asked: this host counts, whatever the field Host says (RFC 9112, 3.2.2).
  head_.target.erase(0, kScheme.size());
  const std::size_t path = std::min(head_.target.find_first_of("/?"), head_.target.size());
  head_.host = head_.target.substr(0, path);
  head_.target.erase(0, path);
  if (!head_.target.starts_with('/')) head_.target.insert(0, 1, '/');
  if (head_.host.empty()) head_.target_bad = true;
}

void RequestParser::on_field_impl(beast::http::field name, string_view name_text, string_view value,
                                  error_code& error) {
  using beast::http::field;
  switch (name) {
    case field::host:
      // With a host in the target it is there already.
      if (++head_.hosts > 1 || head_.host.empty()) head_.host.assign(value.data(), value.size());
      break;
    case field::content_type:
      assign_media_type(head_.media_type, view(value));
      break;
    case field::transfer_encoding:
      if (!beast::iequals(value, "chunked")) {
        bad_coding_ = true;
        error = beast::http::error::bad_transfer_encoding;
      }
      break;
    case field::content_length:
      // Beast takes a list, and the same length twice.
      if (++lengths_ > 1 || !base::all_digits(view(value))) {
        error = beast::http::error::bad_content_length;
      }
      break;
    case field::content_encoding:
      head_.encoded = head_.encoded || !beast::iequals(value, "identity");
      break;
    case field::expect:
      head_.expect_continue = beast::iequals(value, "100-continue");
      head_.expect_unknown = !head_.expect_continue;
      break;
    default:
      head_.fields.add(view(name_text), view(value));
      break;
  }
}

void RequestParser::take(std::string_view piece) {
  body_bytes_ += piece.size();
  if (drop_ || body_bytes_ > body_max_) return;
  if (sink_ != nullptr) {
    sink_waits_ = sink_->take(piece) == BodySink::Next::wait;
    return;
  }
  if (body_bytes_ == piece.size()) {
    whole_ = true;
    whole_view_ = piece;
    return;
  }
  keep_body();
  body_.append(piece.data(), piece.size());
}

void RequestParser::drop_body() {
  drop_ = true;
  body_max_ = body_bytes_ + kDroppedBodyBytesMax;
}

void RequestParser::keep_body() {
  if (!whole_) return;
  whole_ = false;
  body_.assign(whole_view_);
}

}  // namespace rq::http
