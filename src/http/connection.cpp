#include "http/connection.h"

#include <fmt/format.h>

#include <algorithm>

#include "http/admission.h"
#include "http/server.h"

namespace rq::http {
namespace {

using base::Code;
using base::fail;

constexpr std::uint32_t sweeps_of(std::chrono::seconds time) {
  return static_cast<std::uint32_t>(time / kSweepEvery);
}

// Of a request that cannot be read.
Refusal refusal_of(const RequestParser::Step& step, const Body& body) {
  switch (step.state) {
    case RequestParser::State::head_too_large:
      return {.status = 413,
              .error = fail(Code::too_large, "the header of the request is too large",
                            fmt::format("at most {} bytes are allowed", kHeadBytesMax))};
    case RequestParser::State::body_too_large:
      return {.status = body.kind == Body::Kind::none ? 400 : 413,
              .error = body_refusal(body, body.bytes_max)};
    case RequestParser::State::bad_coding:
      return {.status = 501,
              .error = fail(Code::unsupported, "this transfer coding is not spoken here",
                            "send Transfer-Encoding: chunked, or a Content-Length")};
    default:
      return {.status = 400,
              .error = fail(Code::bad_request, fmt::format("this is not HTTP/1.1: {}", step.error),
                            "see RFC 9112; this connection is closed")};
  }
}

base::Error too_slow() {
  return fail(Code::timed_out, "the rest of the request did not come",
              "send requests in one go, and bodies without long pauses");
}

}  // namespace

Connection::Connection(Server& server, net::Arrival&& arrival)
    : Link(std::move(arrival)), server_(server), who_(caller()) {}

// --- For Exchange ---

void Connection::before_reply(Slot& slot) {
  if (slot.request != receiving_ || !parser_ || parser_->done()) return;
  // Whoever waits for a 100 has not sent the body, and may never send it. A large one is not worth
  // waiting for.
  const bool large = parser_->length() - parser_->body_bytes() > kDroppedBodyBytesMax;
  if (head_.expect_continue || large) {
    slot.close_after = true;
    give_up_ = true;
  }
  parser_->drop_body();
}

void Connection::finished(Slot& slot) {
  slot.done = true;
  slot.extra.reset();
  slot.source.reset();
  slot.file.reset();
  slot.share.give_back();
  if (slot.events) --events_;
  held_bytes_ -= slot.held_bytes;
  slot.held_bytes = 0;
  watch(slot, false);
  if (line_.advance()) last_request_ = true;
  server_.links().mark_dirty(*this);
}

void Connection::begin_events(Slot& slot) {
  slot.events = true;
  ++events_;
  last_request_ = true;
  server_.links().mark_dirty(*this);
}

void Connection::write_events(Slot& slot, std::string_view text) {
  if (line_.unsent(slot) > kEventBacklogBytesMax) return cut_off();
  line_.out_of(slot) += text;
  server_.links().mark_dirty(*this);
  server_.links().schedule_flush();
}

// Closed by the next flush: the stream itself may be what calls us here.
void Connection::cut_off() {
  cut_ = true;
  server_.links().mark_dirty(*this);
  server_.links().schedule_flush();
}

void Connection::watch(Slot& slot, bool on) {
  if (slot.watched == on) return;
  slot.watched = on;
  watched_ += on ? 1 : -1;
}

void Connection::go_on(Slot& slot) {
  if (slot.request == receiving_ && parser_) parser_->sink_goes_on();
  server_.links().mark_dirty(*this);
  server_.links().schedule_flush();
}

// --- Reading ---

bool Connection::may_parse() const {
  if (stage_ != Stage::open || give_up_ || events_ > 0) return false;
  if (line_.unsent().size() >= kOutBytesMax) return false;
  if (receiving_ != 0) return budget_wanted_ == 0 && !parser_->sink_waits();
  return !last_request_ && line_.size() < kPipelineMax && held_bytes_ < kHeldBytesMax &&
         (line_.empty() || !line_.back().alone);
}

void Connection::read() {
  if (has_rest()) {
    reading_ = false;
    return on_data({});
  }
  const std::size_t got = receive(server_.read_buffer(), kReadBytes);
  if (broken()) return close();
  if (ended()) return on_end_of_input();
  if (got == 0) return;
  quiet_sweeps_ = 0;
  // What comes after the last reply, or on a stream, is not read.
  if (stage_ == Stage::lingering || events_ > 0) return;
  reading_ = false;
  on_data({server_.read_buffer(), got});
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
  if (in_.empty() && in_.capacity() > kReadBytes) in_.shrink_to_fit();
  in_turn_ = false;
  stalled_ = !may_parse();
  // The end of a stream's client must be seen.
  if (stage_ == Stage::open && (!stalled_ || events_ > 0)) {
    reading_ = true;
    server_.links().make_ready(*this);
  }
}

std::size_t Connection::parse(std::string_view data) {
  const std::size_t all = data.size();
  std::size_t requests = 0;
  keep_rest(false);
  while (!data.empty() && may_parse()) {
    if (!parser_) {
      // Empty lines between requests are let pass, as RFC 9112 asks.
      if (data.starts_with("\r\n")) {
        data.remove_prefix(2);
        continue;
      }
      if (data == "\r") break;
      if (++requests > kTurnRequests) {
        keep_rest(true);
        break;
      }
      parser_.emplace(head_, body_);
      span_sweeps_ = 0;
    }
    const RequestParser::Step step = parser_->next(data);
    data.remove_prefix(step.used);
    if (step.state == RequestParser::State::need_more) break;
    switch (step.state) {
      case RequestParser::State::head:
        on_head();
        if (parser_->done() && !give_up_) on_request();
        break;
      case RequestParser::State::body:
        break;
      case RequestParser::State::done:
        on_request();
        break;
      default: {
        const Refusal refusal = refusal_of(step, server_.router().route(admitted_.route).body);
        refuse_rest(refusal.status, refusal.error);
        break;
      }
    }
    if (give_up_) {
      end_request();
      last_request_ = true;
    }
  }
  // Nothing behind the last request is of interest.
  if (last_request_ && receiving_ == 0) return all;
  if (parser_) parser_->keep_body();
  return all - data.size();
}

Request Connection::request() const {
  return {.head = head_,
          .route = admitted_.route,
          .query = head_.query(),
          .parameters = admitted_.parameters,
          .length = parser_->chunks() ? std::optional<std::uint64_t>{}
                                      : std::optional<std::uint64_t>{parser_->length()},
          .body = parser_->body(),
          .sink = sink_.get()};
}

void Connection::on_head() {
  Slot& slot = line_.add();
  slot.head_only = head_.head_only;
  slot.close_after = !parser_->stays_open();
  slot.old_http = head_.version < 11;
  receiving_ = slot.request;
  span_sweeps_ = 0;
  span_from_ = 0;
  parser_->body_at_most(0);
  if (auto refusal =
          judge(head_, parser_->length(), server_.site(), server_.router(), who_, admitted_)) {
    Exchange(server_, *this, slot).refuse_with(refusal->status, refusal->error, refusal->fields);
    return;
  }
  begin_body(slot);
}

void Connection::begin_body(Slot& slot) {
  Exchange exchange(server_, *this, slot);
  const Body& body = server_.router().route(admitted_.route).body;
  if (body.kind == Body::Kind::none) return;
  auto intake = server_.site().open(exchange, request());
  if (!intake) return exchange.refuse(intake.error());
  const std::uint64_t bytes_max = intake->bytes_max.value_or(body.bytes_max);
  if (parser_->length() > bytes_max) return exchange.refuse(body_refusal(body, bytes_max));
  parser_->body_at_most(bytes_max);
  sink_ = std::move(intake->sink);
  if (sink_) {
    parser_->sink_to(*sink_);
  } else {
    const std::uint64_t wanted = parser_->chunks() ? bytes_max : parser_->length();
    if (wanted > kFreeBodyBytes) budget_wanted_ = static_cast<std::size_t>(wanted);
    if (budget_wanted_ > 0 && !on_budget()) server_.wait_for_budget(id);
  }
  if (head_.expect_continue && !parser_->done() && budget_wanted_ == 0) {
    line_.out_of(slot) += "HTTP/1.1 100 Continue\r\n\r\n";
    server_.links().mark_dirty(*this);
  }
}

bool Connection::on_budget() {
  if (budget_wanted_ == 0) return true;
  Slot* slot = line_.find(receiving_);
  if (slot != nullptr && !slot->share.grow_to(server_.budget(), budget_wanted_)) return false;
  budget_wanted_ = 0;
  if (slot == nullptr) return true;  // refused meanwhile
  if (in_turn_) return true;         // it did not have to wait
  if (head_.expect_continue) line_.out_of(*slot) += "HTTP/1.1 100 Continue\r\n\r\n";
  server_.links().mark_dirty(*this);
  return true;
}

void Connection::on_request() {
  Slot* slot = line_.find(receiving_);
  if (slot != nullptr) {
    slot->held_bytes = static_cast<std::size_t>(parser_->body_bytes());
    held_bytes_ += slot->held_bytes;
    if (slot->close_after) last_request_ = true;
    slot->alone = !server_.router().route(admitted_.route).pipelined;
    Exchange exchange(server_, *this, *slot);
    receiving_ = 0;
    server_.site().serve(exchange, request());
  }
  end_request();
}

// Nothing is received any more.
void Connection::end_request() {
  parser_.reset();
  sink_.reset();
  receiving_ = 0;
}

// The rest of the request will not come, or cannot be read.
void Connection::refuse_rest(int status, const base::Error& error) {
  give_up_ = true;
  last_request_ = true;
  Slot* slot = receiving_ == 0 ? &line_.add() : line_.find(receiving_);
  if (slot == nullptr) return;  // refused already
  slot->close_after = true;
  Exchange(server_, *this, *slot).refuse_with(status, error);
}

// The other side sends no more. It may still read (a pipe into nc), so what it asked for is
// answered; but what may be long in coming is not waited for, and a stream has no end to wait for.
void Connection::on_end_of_input() {
  reading_ = false;
  if (stage_ == Stage::lingering || watched_ > 0 || events_ > 0) {
    close();
    return;
  }
  if (parser_) {
    refuse_rest(400,
                fail(Code::bad_request, "the request ended before it was whole", "send all of it"));
    end_request();
  }
  stage_ = Stage::ended;
  server_.links().mark_dirty(*this);
}

// --- Writing ---

Connection::Sent Connection::send_out() {
  const std::size_t sent = send(line_.unsent());
  if (sent > 0) quiet_sweeps_ = 0;
  line_.sent(sent);
  return line_.unsent().empty() ? Sent::all : Sent::blocked;
}

Connection::Sent Connection::send_range(Slot& slot) {
  FileRange& range = *slot.file;
  const auto piece =
      static_cast<std::size_t>(std::min<std::uint64_t>(range.bytes, kSourceTurnBytes));
  const std::size_t sent = send_file(range.file.get(), range.offset, piece);
  if (sent > 0) quiet_sweeps_ = 0;
  if (sent == 0 && writable()) cut_ = true;  // the file has become shorter
  range.offset += sent;
  range.bytes -= sent;
  if (range.bytes == 0) {
    finished(slot);
    return Sent::all;
  }
  return writable() ? Sent::later : Sent::blocked;
}

Connection::Sent Connection::send_source(Slot& slot) {
  constexpr std::string_view kNoSize = "00000000\r\n";  // of a chunk, in hex
  std::string& out = line_.out();
  const std::size_t start = out.size();
  const auto piece = static_cast<std::size_t>(
      std::min<std::uint64_t>({slot.source_left, kSourceBytes, kSourceTurnBytes}));
  if (slot.chunks) out += kNoSize;
  const std::size_t from = out.size();
  const Source::Next next = slot.source->read(out, piece);
  const std::size_t got = out.size() - from;
  if (slot.chunks) {
    if (got > 0) {
      out.replace(start, 8, fmt::format("{:08x}", got));
      out += "\r\n";
    } else {
      out.resize(start);
    }
  }
  // More than was promised would be read as the next reply.
  const bool promised = slot.source_left != UINT64_MAX;
  if (next == Source::Next::failed || got > slot.source_left ||
      (promised && next == Source::Next::end && got < slot.source_left)) {
    cut_ = true;
    return Sent::blocked;
  }
  if (promised) slot.source_left -= got;
  if (next == Source::Next::end || slot.source_left == 0) {
    if (slot.chunks) out += "0\r\n\r\n";
    finished(slot);
    return Sent::all;
  }
  return next == Source::Next::wait ? Sent::blocked : Sent::all;
}

void Connection::flush() {
  if (stage_ == Stage::closed) return;
  if (hung_up() && (watched_ > 0 || events_ > 0)) return close();
  for (std::size_t turn_bytes = 0;;) {
    if (cut_) return close();
    const std::size_t before = line_.unsent().size();
    if (send_out() == Sent::blocked) return broken() ? close() : void();
    turn_bytes += before;
    if (line_.empty()) break;
    Slot& front = line_.front();
    if (!front.source && !front.file) break;
    if (turn_bytes >= kSourceTurnBytes) return server_.links().flush_later(*this);
    const Sent sent = front.file ? send_range(front) : send_source(front);
    if (broken()) return close();
    if (sent == Sent::later) return server_.links().flush_later(*this);
    // A source that waits may have given something first.
    if (sent == Sent::blocked && line_.out().empty() && !cut_) return;
  }
  if (line_.empty() && (last_request_ || stage_ == Stage::ended)) return linger();
  if (events_ > 0 && line_.front().events && line_.front().extra) {
    return line_.front().extra->on_drained();
  }
  // Back-pressure is over: first what was read already, then more.
  if (stalled_ && !in_turn_ && may_parse()) on_data({});
}

// Closing with unread input would reset the connection, and the other side might lose the reply.
void Connection::linger() {
  if (stage_ == Stage::ended) return close();
  if (stage_ != Stage::open || receiving_ != 0) return;
  stage_ = Stage::lingering;
  quiet_sweeps_ = 0;
  span_sweeps_ = 0;
  end_sending();
  reading_ = true;
  server_.links().make_ready(*this);
}

// --- Times ---

void Connection::sweep() {
  ++quiet_sweeps_;
  if (stage_ == Stage::lingering) {
    ++span_sweeps_;
    if (quiet_sweeps_ > sweeps_of(kLingerTime) || span_sweeps_ > sweeps_of(kLingerTimeMax)) close();
    return;
  }
  const bool file_waits = !line_.empty() && line_.front().file.has_value();
  if (!line_.unsent().empty() || file_waits) {
    if (quiet_sweeps_ > sweeps_of(kWriteTime)) close();
    return;
  }
  if (events_ > 0) {
    if (quiet_sweeps_ >= sweeps_of(kPingEvery) && line_.front().events) {
      line_.out() += ":\n\n";
      server_.links().mark_dirty(*this);
    }
    return;
  }
  if (stage_ == Stage::open && !stalled_) sweep_reading();
}

void Connection::sweep_reading() {
  ++span_sweeps_;
  bool slow = false;
  if (receiving_ != 0) {
    if (span_sweeps_ < sweeps_of(kBodySpan)) return;
    const std::uint64_t least =
        server_.router().route(admitted_.route).body.rate_min * std::uint64_t{kBodySpan.count()};
    slow = parser_->body_bytes() - span_from_ < least;
    span_from_ = parser_->body_bytes();
    span_sweeps_ = 0;
  } else if (parser_ || !in_.empty()) {
    slow = span_sweeps_ > sweeps_of(kHeadTime);
  } else {
    if (line_.empty() && quiet_sweeps_ > sweeps_of(kIdleTime)) close();
    return;
  }
  if (!slow) return;
  refuse_rest(408, too_slow());
  end_request();
  server_.links().mark_dirty(*this);
}

void Connection::close_when_idle() {
  last_request_ = true;
  if (watched_ > 0 || events_ > 0 || (line_.empty() && line_.out().empty())) close();
}

bool Connection::is_idle() const {
  return stage_ == Stage::open && !parser_ && in_.empty() && line_.empty() &&
         line_.unsent().empty();
}

void Connection::close() {
  if (stage_ == Stage::closed) return;
  stage_ = Stage::closed;
  reading_ = false;
  events_ = 0;
  watched_ = 0;
  close_channel();
  line_.clear();  // what exchanges keep goes now, not when this object does
  server_.remove_soon(id);
}

}  // namespace rq::http
