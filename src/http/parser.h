#pragma once
// One request: its head by Beast's parser, its body here. Texts of the body point into the read
// buffer for as long as the body fits into one piece of it, and are copied only when it does not.
//
// Stricter than Beast where two readings of one message are possible: a transfer coding is
// `chunked` alone and once, a length is one number and once, a field is not folded over lines.
// Trailers are read and ignored.
#include <cstdint>
#include <string>
#include <string_view>

#include <boost/beast/http/basic_parser.hpp>

#include "http/body.h"
#include "http/message.h"
#include "wire/http_chunks.h"

namespace rq::http {

class RequestParser final : private boost::beast::http::basic_parser<true> {
 public:
  // `head` and `body` are reused from request to request.
  RequestParser(Head& head, std::string& body);

  enum class State : std::uint8_t {
    need_more,  // the rest of `data` comes again, with more behind it
    head,       // the head has just become whole
    body,       // a piece of the body was taken
    done,       // all of the request was taken
    bad_syntax,
    bad_coding,  // a transfer coding that is not spoken here
    head_too_large,
    body_too_large,  // more than body_at_most()
  };
  struct Step {
    std::size_t used = 0;
    State state = State::need_more;
    std::string error;  // bad_syntax: what is wrong
  };
  // Takes the next part of the request from the front of `data`.
  [[nodiscard]] Step next(std::string_view data);

  // Where the body goes from now on. REQUIRES: the head is done.
  void sink_to(BodySink& sink) { sink_ = &sink; }
  // Takes no more of it in; body_too_large when much is still to come.
  void drop_body();
  void body_at_most(std::uint64_t bytes) { body_max_ = bytes; }

  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] bool stays_open() const { return stays_open_; }
  [[nodiscard]] bool chunks() const { return chunked(); }
  // What the head says; 0 in chunks.
  [[nodiscard]] std::uint64_t length() const { return content_length().value_or(0); }
  [[nodiscard]] std::uint64_t body_bytes() const { return body_bytes_; }
  // The sink wants no more for now.
  [[nodiscard]] bool sink_waits() const { return sink_waits_; }
  void sink_goes_on() { sink_waits_ = false; }
  // The body, when there is no sink. Valid until the next next() or until the read buffer changes.
  [[nodiscard]] std::string_view body() const {
    return whole_ ? whole_view_ : std::string_view{body_};
  }
  // Copies what still points into the read buffer. Before that buffer is reused.
  void keep_body();

 private:
  using string_view = boost::beast::string_view;
  using error_code = boost::beast::error_code;

  void on_request_impl(boost::beast::http::verb method, string_view method_text, string_view target,
                       int version, error_code& error) override;
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_field_impl(boost::beast::http::field name, string_view name_text, string_view value,
                     error_code& error) override;
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  // Beast is asked for the head alone.
  std::size_t on_body_impl(string_view piece, error_code&) override { return piece.size(); }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view piece, error_code&) override {
    return piece.size();
  }
  void on_finish_impl(error_code&) override {}

  [[nodiscard]] static Step failed(const error_code& error, std::size_t used);
  [[nodiscard]] Step next_of_head(std::string_view data);
  [[nodiscard]] Step next_of_chunks(std::string_view data);
  [[nodiscard]] Step next_of_length(std::string_view data);
  void take(std::string_view piece);

  Head& head_;
  std::string& body_;
  BodySink* sink_ = nullptr;
  std::string_view whole_view_;
  std::uint64_t body_max_ = 0;
  std::uint64_t body_bytes_ = 0;
  std::size_t head_bytes_ = 0;
  int lengths_ = 0;  // Content-Length fields seen
  wire::ChunkReader chunks_;
  std::uint64_t left_ = 0;  // of a body with a length
  bool head_done_ = false;
  bool done_ = false;  // all of the request was taken
  bool stays_open_ = false;
  bool folded_ = false;  // a field goes on in the next line
  bool bad_coding_ = false;
  bool whole_ = false;  // all of the body so far is whole_view_
  bool drop_ = false;
  bool sink_waits_ = false;
};

// "Application/JSON; charset=utf-8" -> "application/json"
void assign_media_type(std::string& out, std::string_view value);

}  // namespace rq::http
