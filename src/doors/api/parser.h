#pragma once
// One request as Beast's parser reads it, with no container of header fields: only what rq needs is
// kept. Texts point into the read buffer for as long as the request fits into one piece of it, and
// are copied only when it does not.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <boost/beast/http/basic_parser.hpp>

#include "doors/api/router.h"

namespace rq::doors::api {

struct Head {
  Method method = Method::other;
  bool head_only = false;  // HEAD: as GET, without the body
  bool unix_socket = false;
  std::string target;
  std::string host;
  std::string content_type;  // without parameters, lower case
  std::string origin;
  std::string range;
  int hosts = 0;  // Host fields seen
  int version = 11;
  bool expect_continue = false;
  bool expect_unknown = false;
  bool fetch_cross_site = false;
  bool line_too_long = false;
  bool target_bad = false;  // bytes that no address may have
  // For the next request on the connection: keeps the memory.
  void clear();
};

// Takes a body piece by piece: what is large is not kept whole.
class BodySink {
 public:
  BodySink() = default;
  virtual ~BodySink() = default;
  BodySink(const BodySink&) = delete;
  BodySink& operator=(const BodySink&) = delete;
  virtual void take(std::string_view piece) = 0;
};

class RequestParser final : public boost::beast::http::basic_parser<true> {
 public:
  // `head` and `body` are reused from request to request.
  RequestParser(Head& head, std::string& body);

  // Where the body goes from now on; null: it is dropped. REQUIRES: the header is done.
  void sink_to(BodySink* sink) { sink_ = sink; }
  void drop_body() { drop_ = true; }
  // More than this of the body is not kept. REQUIRES: the header is done.
  void keep_at_most(std::size_t bytes) { keep_max_ = bytes; }

  [[nodiscard]] bool body_too_large() const { return too_large_; }
  [[nodiscard]] std::uint64_t body_bytes() const { return body_bytes_; }
  // The body, when there is no sink. Valid until the next put() or until the read buffer changes.
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
  std::size_t on_body_impl(string_view piece, error_code&) override {
    take(piece);
    return piece.size();
  }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view piece, error_code&) override {
    take(piece);
    return piece.size();
  }
  void on_finish_impl(error_code&) override {}

  void take(string_view piece);

  Head& head_;
  std::string& body_;
  BodySink* sink_ = nullptr;
  std::string_view whole_view_;
  std::size_t keep_max_ = 0;
  std::uint64_t body_bytes_ = 0;
  bool whole_ = false;  // all of the body so far is whole_view_
  bool drop_ = false;
  bool too_large_ = false;
};

}  // namespace rq::doors::api
