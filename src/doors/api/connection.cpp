#include "doors/api/connection.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>

#include "base/limits.h"
#include "doors/api/http_door.h"
#include "doors/api/rooms.h"

namespace rq::doors::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using base::Code;
using base::fail;

constexpr std::uint32_t sweeps_of(std::chrono::seconds time) {
  return static_cast<std::uint32_t>(time / base::kHttpSweepEvery);
}

}  // namespace

Connection::Connection(HttpDoor& door, net::Arrival&& arrival)
    : Link(std::move(arrival)), door_(door) {
  head_.unix_socket = caller().unix_socket;
}

Slot* Connection::find(std::uint64_t request) {
  if (slots_.empty() || stage_ == Stage::closed) return nullptr;
  const std::uint64_t first = slots_.front().request;
  if (request < first || request - first >= slots_.size()) return nullptr;
  Slot& slot = slots_[request - first];
  return slot.done ? nullptr : &slot;
}

std::string& Connection::out_of(Slot& slot) { return &slot == &slots_.front() ? out_ : slot.bytes; }

void Connection::finished(Slot& slot) {
  slot.done = true;
  slot.extra.reset();
  if (slot.streaming) --streams_;
  held_bytes_ -= slot.held_bytes;
  slot.held_bytes = 0;
  wait_ends(slot);
  if (&slot == &slots_.front()) advance();
  door_.links().mark_dirty(*this);
}

void Connection::advance() {
  while (!slots_.empty() && slots_.front().done) {
    if (slots_.front().close_after) last_request_ = true;
    slots_.pop_front();
    if (slots_.empty()) break;
    // What the next one has ready moves up.
    if (out_.empty()) {
      out_.swap(slots_.front().bytes);
    } else {
      out_ += slots_.front().bytes;
      slots_.front().bytes.clear();
    }
  }
}

void Connection::begin_stream(Slot& slot) {
  slot.streaming = true;
  ++streams_;
  last_request_ = true;
  door_.links().mark_dirty(*this);
  door_.links().schedule_flush();
}

void Connection::wrote_stream(const Slot& slot) {
  const std::size_t backlog =
      &slot == &slots_.front() ? out_.size() - out_sent_ : slot.bytes.size();
  if (backlog > base::kSseBacklogBytesMax + base::kSseEventBytesMax) {
    cut_off_ = true;  // closed by the next flush: the stream itself is what calls us here
  }
  door_.links().mark_dirty(*this);
  door_.links().schedule_flush();
}

void Connection::wait_begins(Slot& slot) {
  slot.waits = true;
  ++waits_;
}

void Connection::wait_ends(Slot& slot) {
  if (!slot.waits) return;
  slot.waits = false;
  --waits_;
}

bool Connection::may_read() const {
  return stage_ == Stage::open && !last_request_ && streams_ == 0 &&
         slots_.size() < base::kHttpPipelineMax && out_.size() < base::kHttpOutBytesMax &&
         held_bytes_ < base::kHttpHeldBytesMax;
}

void Connection::read_on() {
  if (stage_ == Stage::closed || stage_ == Stage::ended) return;
  reading_ = true;
  door_.links().make_ready(*this);
}

void Connection::read() {
  const std::size_t got = receive(door_.read_buffer(), base::kHttpReadBytes);
  if (broken()) return close();
  if (ended()) return on_end_of_input();
  if (got == 0) return;
  quiet_sweeps_ = 0;
  // What comes after the last reply is not read.
  if (stage_ == Stage::lingering) return;
  reading_ = false;
  on_data({door_.read_buffer(), got});
}

void Connection::on_data(std::string_view data) {
  in_turn_ = true;
  if (in_.empty()) {
    const std::size_t used = parse(data);
    in_.assign(data.substr(used));
  } else {
    in_.append(data);
    in_.erase(0, parse(in_));
  }
  if (in_.empty() && in_.capacity() > base::kHttpReadBytes) in_.shrink_to_fit();
  in_turn_ = false;
  stalled_ = !may_read();
  if (!stalled_ || streams_ > 0) read_on();
}

// Back-pressure is over: first what was read already, then more.
void Connection::resume() {
  if (in_turn_ || !stalled_ || !may_read()) return;
  in_turn_ = true;
  if (!in_.empty()) in_.erase(0, parse(in_));
  in_turn_ = false;
  stalled_ = !may_read();
  if (!stalled_) read_on();
}

std::size_t Connection::parse(std::string_view data) {
  if (streams_ > 0) return data.size();  // nothing is asked on a stream
  const std::size_t all = data.size();
  while (!data.empty() && may_read()) {
    if (!parser_) {
      // Empty lines between requests are let pass, as RFC 9112 asks.
      if (data.starts_with("\r\n")) {
        data.remove_prefix(2);
        continue;
      }
      parser_.emplace(head_, body_);
      head_seen_ = false;
    }
    boost::system::error_code error;
    const std::size_t used = parser_->put(asio::buffer(data.data(), data.size()), error);
    data.remove_prefix(used);
    if (error == beast::http::error::need_more) {
      // The parser wants its lines whole; what it has not used comes again, longer.
      if (data.size() > base::kHttpHeaderBytesMax) {
        on_protocol_error(beast::http::error::header_limit);
        return all;
      }
      break;
    }
    if (error) {
      on_protocol_error(error);
      return all;
    }
    if (!head_seen_ && parser_->is_header_done()) {
      on_head();
      if (stage_ != Stage::open || last_request_) return all;
    }
    if (parser_->is_done()) on_request();
  }
  if (parser_) parser_->keep_body();
  return all - data.size();
}

void Connection::on_head() {
  head_seen_ = true;
  refusal_.reset();
  sink_.reset();
  match_ = {};
  parser_->eager(true);
  check_head();
  if (refusal_) {
    parser_->drop_body();
    // Whoever waits for a 100 has not sent the body: the answer comes at once, and ends it.
    if (head_.expect_continue) refuse_and_close(*refusal_);
    return;
  }
  const Route& route = *match_.route;
  parser_->keep_at_most(base::kHttpSingleBodyBytesMax);
  if (route.body == Body::items) {
    const auto length = parser_->content_length();
    const bool small = length && *length <= base::kHttpReadBytes;
    if (!small || head_.content_type == "application/x-ndjson") {
      sink_ = make_put_sink(head_.content_type);
      parser_->sink_to(sink_.get());
    }
  }
  if (head_.expect_continue && !parser_->is_done()) push_raw("HTTP/1.1 100 Continue\r\n\r\n");
}

void Connection::check_head() {
  const auto refuse = [this](Code code, std::string message, std::string remedy) {
    refusal_ = fail(code, std::move(message), std::move(remedy));
  };
  if (head_.line_too_long) {
    return refuse(Code::too_large, "the address of the request is too long",
                  fmt::format("at most {} bytes are allowed", base::kHttpLineBytesMax));
  }
  if (head_.target_bad || !head_.target.starts_with('/')) {
    return refuse(Code::bad_request, "the address of the request is not a path",
                  "give a path such as /v1/queues, with other bytes as %XX");
  }
  if (!head_.unix_socket || head_.hosts > 1) {
    if (head_.hosts != 1) {
      return refuse(Code::bad_request, fmt::format("the request has {} Host fields", head_.hosts),
                    "send exactly one");
    }
    if (!door_.host_allowed(head_.host)) {
      return refuse(Code::forbidden,
                    fmt::format("Host '{}' is not served here", head_.host.substr(0, 256)),
                    fmt::format("use {} or localhost with that port", door_.address()));
    }
  }
  check_origin();
  if (refusal_) return;
  if (head_.expect_unknown) {
    return refuse(Code::bad_request, "the request expects something unknown",
                  "expect nothing but 100-continue");
  }
  const std::string_view target = head_.target;
  const std::string_view path = target.substr(0, target.find('?'));
  match_ = door_.router().match(head_.method, path);
  if (match_.allow.empty()) {
    return refuse(Code::not_found, fmt::format("there is no {}", path.substr(0, 256)),
                  "GET /v1/openapi.json lists what there is");
  }
  if (match_.route == nullptr) {
    return refuse(Code::method_not_allowed,
                  fmt::format("{} does not take that method", path.substr(0, 256)),
                  fmt::format("use {}", match_.allow));
  }
  const std::string& type = head_.content_type;
  if (match_.route->body == Body::json && !type.empty() && type != "application/json") {
    return refuse(Code::unsupported,
                  fmt::format("content type '{}' is not taken here", type.substr(0, 256)),
                  "send application/json");
  }
}

// A page of another site may make a browser send requests here; they must change nothing.
void Connection::check_origin() {
  if (head_.method == Method::get || head_.unix_socket) return;
  bool foreign = head_.fetch_cross_site;
  if (!head_.origin.empty()) {
    const std::string_view origin = head_.origin;
    constexpr std::string_view kScheme = "http://";
    foreign = foreign || !origin.starts_with(kScheme) ||
              !door_.host_allowed(origin.substr(kScheme.size()));
  }
  if (foreign) {
    refusal_ = fail(Code::forbidden, "a page of another site may not change anything here",
                    "send it from a page of this server, or from a program");
  }
}

Slot& Connection::add_slot() {
  Slot& slot = slots_.emplace_back();
  slot.request = next_request_++;
  return slot;
}

void Connection::push_raw(std::string_view bytes) {
  Slot& slot = add_slot();
  out_of(slot) += bytes;
  finished(slot);
}

void Connection::on_request() {
  Slot& slot = add_slot();
  slot.head_only = head_.head_only;
  slot.close_after = !parser_->keep_alive();
  slot.old_http = head_.version < 11 && !slot.close_after;
  if (slot.close_after) last_request_ = true;
  slot.held_bytes = static_cast<std::size_t>(parser_->body_bytes());
  held_bytes_ += slot.held_bytes;

  Exchange exchange(door_, *this, slot);
  if (!refusal_ && parser_->body_too_large()) {
    refusal_ = fail(Code::too_large, "the body of the request is too large",
                    fmt::format("at most {} bytes are taken here", base::kHttpSingleBodyBytesMax));
  }
  if (!refusal_ && match_.route->body == Body::none && parser_->body_bytes() > 0) {
    refusal_ = fail(Code::bad_request, "this call takes no body", "send none");
  }
  if (refusal_) {
    const std::string allow = refusal_->code == Code::method_not_allowed
                                  ? fmt::format("Allow: {}\r\n", match_.allow)
                                  : std::string{};
    exchange.refuse(*refusal_, allow);
    parser_.reset();
    return;
  }
  const std::string_view target = head_.target;
  const std::size_t mark = target.find('?');
  Request request{.head = head_,
                  .route = *match_.route,
                  .query = mark == std::string_view::npos ? "" : target.substr(mark + 1),
                  .parameters = {},
                  .body = parser_->body(),
                  .sink = std::move(sink_)};
  for (std::size_t i = 0; i < kPathParametersMax; ++i) {
    auto decoded = percent_decode(match_.parameters[i], false);
    if (!decoded) {
      exchange.refuse(decoded.error());
      parser_.reset();
      return;
    }
    request.parameters[i] = *std::move(decoded);
  }
  match_.route->handler(exchange, request);
  parser_.reset();
}

void Connection::on_protocol_error(const boost::system::error_code& error) {
  using E = beast::http::error;
  if (error == E::header_limit) {
    refuse_and_close(fail(Code::too_large, "the header of the request is too large",
                          fmt::format("at most {} bytes are allowed", base::kHttpHeaderBytesMax)));
  } else if (error == E::body_limit) {
    refuse_and_close(fail(
        Code::too_large, "the body of the request is too large",
        fmt::format("at most {} bytes are allowed; send it in parts", base::kHttpBodyBytesMax)));
  } else {
    refuse_and_close(fail(Code::bad_request,
                          fmt::format("this is not HTTP/1.1: {}", error.message()),
                          "see RFC 9112; this connection is closed"));
  }
}

void Connection::refuse_and_close(const base::Error& error) {
  last_request_ = true;
  parser_.reset();
  Slot& slot = add_slot();
  slot.close_after = true;
  Exchange(door_, *this, slot).refuse(error);
}

// The peer sends no more. It may still read (a pipe into nc), so what it asked for is answered;
// but a reserve must not hand work to somebody who may be gone, and a stream has no end to wait
// for.
void Connection::on_end_of_input() {
  reading_ = false;
  if (stage_ == Stage::lingering || waits_ > 0 || streams_ > 0) {
    close();
    return;
  }
  if (parser_) {
    refuse_and_close(
        fail(Code::bad_request, "the request ended before it was whole", "send all of it"));
  }
  stage_ = Stage::ended;
}

void Connection::flush() {
  if (stage_ == Stage::closed) return;
  if (cut_off_) {
    close();
    return;
  }
  const std::size_t sent = send(std::string_view(out_).substr(out_sent_));
  if (broken()) {
    close();
    return;
  }
  if (sent > 0) quiet_sweeps_ = 0;
  out_sent_ += sent;
  if (out_sent_ < out_.size()) {
    // Keeps the rest short to move, without moving it for each small write.
    if (out_sent_ > base::kHttpReadBytes) {
      out_.erase(0, out_sent_);
      out_sent_ = 0;
    }
    return;
  }
  out_.clear();
  out_sent_ = 0;
  if (out_.capacity() > base::kHttpOutBytesMax) out_.shrink_to_fit();
  if (slots_.empty() && (last_request_ || stage_ == Stage::ended)) {
    linger();
    return;
  }
  if (streams_ > 0 && slots_.front().streaming && slots_.front().extra) {
    slots_.front().extra->on_drained();
    return;
  }
  resume();
}

// Closing with unread input would reset the connection, and the peer might lose the reply.
void Connection::linger() {
  if (stage_ == Stage::ended) {
    close();
    return;
  }
  if (stage_ != Stage::open) return;
  stage_ = Stage::lingering;
  quiet_sweeps_ = 0;
  end_sending();
  read_on();
}

void Connection::sweep() {
  ++quiet_sweeps_;
  const bool unsent = out_sent_ < out_.size();
  if (stage_ == Stage::lingering) {
    if (quiet_sweeps_ > sweeps_of(base::kHttpLingerTime)) close();
    return;
  }
  if (unsent) {
    if (quiet_sweeps_ > sweeps_of(base::kHttpWriteTime)) close();
    return;
  }
  if (streams_ > 0) {
    if (quiet_sweeps_ >= sweeps_of(base::kSsePingEvery) && slots_.front().streaming) {
      out_ += ":\n\n";
      flush();
    }
    return;
  }
  if (!slots_.empty() || stage_ != Stage::open) return;
  if (parser_ || !in_.empty()) {
    if (quiet_sweeps_ > sweeps_of(base::kHttpRequestTime)) {
      refuse_and_close(
          fail(Code::timed_out, "the rest of the request did not come", "send requests in one go"));
      flush();
    }
  } else if (quiet_sweeps_ > sweeps_of(base::kHttpIdleTime)) {
    close();
  }
}

void Connection::close_when_idle() {
  last_request_ = true;
  if (waits_ > 0 || streams_ > 0) {
    close();
  } else if (slots_.empty() && out_.empty()) {
    close();
  }
}

void Connection::close() {
  if (stage_ == Stage::closed) return;
  stage_ = Stage::closed;
  if (waits_ > 0) {
    door_.desk().submit({.door = door_.door_number(), .connection = id, .request = 0},
                        core::Disconnect{});
  }
  reading_ = false;
  close_channel();
  slots_.clear();  // streams leave the hub now, not when this object goes
  // Posted: `this` must outlive the call that closed it.
  asio::post(door_.loop().io(), [this] { door_.remove(*this); });
}

}  // namespace rq::doors::api
