#include "client/response_reader.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <utility>

#include "base/bytes.h"

namespace rq::client {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::uint32_t kHeadBytesMax = 64 * base::kKiB;
constexpr unsigned kSwitchingProtocols = 101;
constexpr unsigned kNoContent = 204;
constexpr unsigned kNotModified = 304;

}  // namespace

// Reads the head alone; the body's bytes are ours to count.
class ResponseReader::Parser final : public http::basic_parser<false> {
 public:
  Parser() {
    header_limit(kHeadBytesMax);
    skip(true);
  }

  unsigned status = 0;
  std::string content_type;

 private:
  using Text = boost::beast::string_view;

  void on_request_impl(http::verb /*method*/, Text /*method*/, Text /*target*/, int /*version*/,
                       error_code& /*error*/) override {}
  void on_response_impl(int code, Text /*reason*/, int /*version*/,
                        error_code& /*error*/) override {
    status = static_cast<unsigned>(code);
  }
  void on_field_impl(http::field name, Text /*name*/, Text value, error_code& /*error*/) override {
    if (name == http::field::content_type) content_type.assign(value.data(), value.size());
  }
  void on_header_impl(error_code& /*error*/) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>& /*bytes*/,
                         error_code& /*error*/) override {}
  std::size_t on_body_impl(Text body, error_code& /*error*/) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t /*size*/, Text /*extensions*/,
                            error_code& /*error*/) override {}
  std::size_t on_chunk_body_impl(std::uint64_t /*left*/, Text body,
                                 error_code& /*error*/) override {
    return body.size();
  }
  void on_finish_impl(error_code& /*error*/) override {}
};

ResponseReader::ResponseReader(OnBody on_body)
    : on_body_(std::move(on_body)), parser_(std::make_unique<Parser>()) {}
ResponseReader::~ResponseReader() = default;

ResponseReader::State ResponseReader::feed(std::string_view bytes, std::size_t& used) {
  used = 0;
  while (used < bytes.size()) {
    std::size_t some = 0;
    const std::string_view rest = bytes.substr(used);
    const State state = framing_ == Framing::head ? feed_head(rest, some) : feed_body(rest, some);
    used += some;
    if (state != State::more || some == 0) return state;
  }
  return State::more;
}

// A head that is not whole is not taken.
ResponseReader::State ResponseReader::feed_head(std::string_view bytes, std::size_t& used) {
  error_code error;
  used = parser_->put(boost::asio::buffer(bytes.data(), bytes.size()), error);
  if (error == http::error::need_more) return State::more;
  if (error) return broken(error.message());
  if (!parser_->is_done()) return State::more;
  const unsigned code = parser_->status;
  if (code == kSwitchingProtocols) return broken("it changes to another protocol");
  if (code / 100 == 1) {
    had_interim_ = true;
    parser_ = std::make_unique<Parser>();
    return State::more;
  }
  if (code == kNoContent || code == kNotModified) return State::done;
  if (parser_->chunked()) {
    framing_ = Framing::chunked;
  } else if (const auto length = parser_->content_length()) {
    left_ = *length;
    if (left_ == 0) return State::done;
    framing_ = Framing::length;
  } else {
    framing_ = Framing::to_end;
  }
  return State::more;
}

ResponseReader::State ResponseReader::feed_body(std::string_view bytes, std::size_t& used) {
  if (framing_ == Framing::chunked) {
    switch (chunks_.feed(bytes, used, on_body_)) {
      case wire::ChunkReader::State::more:
        return State::more;
      case wire::ChunkReader::State::done:
        return State::done;
      case wire::ChunkReader::State::enough:
        return State::enough;
      case wire::ChunkReader::State::broken:
        break;
    }
    return broken("its chunks cannot be read");
  }
  if (framing_ == Framing::to_end) {
    used = bytes.size();
    return on_body_(bytes) ? State::more : State::enough;
  }
  used = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
  left_ -= used;
  if (!on_body_(bytes.substr(0, used))) return State::enough;
  return left_ == 0 ? State::done : State::more;
}

ResponseReader::State ResponseReader::end_of_input() {
  if (framing_ == Framing::to_end) return State::done;
  if (!got_some()) return broken("the server closed it without an answer");
  return broken("the server closed it in the middle of its answer");
}

bool ResponseReader::got_some() const { return had_interim_ || parser_->got_some(); }
unsigned ResponseReader::status() const { return parser_->status; }
const std::string& ResponseReader::content_type() const { return parser_->content_type; }
bool ResponseReader::keep_alive() const {
  return framing_ != Framing::to_end && parser_->keep_alive();
}

ResponseReader::State ResponseReader::broken(std::string why) {
  what_ = std::move(why);
  return State::broken;
}

}  // namespace rq::client
