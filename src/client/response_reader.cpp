#include "client/response_reader.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <limits>
#include <utility>

#include "base/bytes.h"

namespace rq::client {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::uint32_t kHeadBytesMax = 64 * base::kKiB;
constexpr unsigned kSwitchingProtocols = 101;

}  // namespace

class ResponseReader::Parser final : public http::basic_parser<false> {
 public:
  explicit Parser(const OnBody& on_body) : on_body_(on_body) {
    header_limit(kHeadBytesMax);
    body_limit(std::numeric_limits<std::uint64_t>::max());
    eager(true);
  }

  unsigned status = 0;
  std::string content_type;
  bool stopped = false;

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
  std::size_t on_body_impl(Text body, error_code& error) override { return take(body, error); }
  void on_chunk_header_impl(std::uint64_t /*size*/, Text /*extensions*/,
                            error_code& /*error*/) override {}
  std::size_t on_chunk_body_impl(std::uint64_t /*left*/, Text body, error_code& error) override {
    return take(body, error);
  }
  void on_finish_impl(error_code& /*error*/) override {}

  std::size_t take(Text piece, error_code& error) {
    if (!piece.empty() && !on_body_({piece.data(), piece.size()})) {
      stopped = true;
      error = http::error::end_of_stream;
    }
    return piece.size();
  }

  const OnBody& on_body_;
};

ResponseReader::ResponseReader(OnBody on_body)
    : on_body_(std::move(on_body)), parser_(std::make_unique<Parser>(on_body_)) {}
ResponseReader::~ResponseReader() = default;

ResponseReader::State ResponseReader::feed(std::string_view bytes, std::size_t& used) {
  used = 0;
  while (used < bytes.size()) {
    error_code error;
    used += parser_->put(boost::asio::buffer(bytes.data() + used, bytes.size() - used), error);
    if (parser_->stopped) return State::enough;
    if (error == http::error::need_more) return State::more;
    if (error) return broken(error.message());
    if (!parser_->is_done()) continue;
    if (parser_->status / 100 != 1) return State::done;
    if (parser_->status == kSwitchingProtocols) return broken("it changes to another protocol");
    had_interim_ = true;
    parser_ = std::make_unique<Parser>(on_body_);
  }
  return State::more;
}

ResponseReader::State ResponseReader::end_of_input() {
  if (!got_some()) return broken("the server closed it without an answer");
  error_code error;
  if (parser_->got_some()) parser_->put_eof(error);
  if (error || !parser_->is_done()) {
    return broken("the server closed it in the middle of its answer");
  }
  return State::done;
}

bool ResponseReader::got_some() const { return had_interim_ || parser_->got_some(); }
unsigned ResponseReader::status() const { return parser_->status; }
const std::string& ResponseReader::content_type() const { return parser_->content_type; }
bool ResponseReader::keep_alive() const { return parser_->keep_alive(); }

ResponseReader::State ResponseReader::broken(std::string why) {
  what_ = std::move(why);
  return State::broken;
}

}  // namespace rq::client
