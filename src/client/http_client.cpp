#include "client/http_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/system/errc.hpp>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "client/channel.h"
#include "client/response_reader.h"

namespace rq::client {
namespace {

namespace asio = boost::asio;
using base::Code;
using base::Error;
using base::fail;
using base::Result;
using boost::system::error_code;
using Steady = std::chrono::steady_clock;

constexpr std::size_t kChunkHeadBytes = 18;  // 16 hex digits, CR LF

// One request, from send() to its end.
struct Call {
  HttpClient::RequestId id = 0;
  Request request;
  Steady::time_point deadline = Steady::time_point::max();
  Reply reply;
};

void append_head(std::string& out, const Request& request, std::string_view host) {
  const auto put = std::back_inserter(out);
  fmt::format_to(put, "{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target, host);
  if (!request.accept.empty()) fmt::format_to(put, "Accept: {}\r\n", request.accept);
  if (!request.content_type.empty()) {
    fmt::format_to(put, "Content-Type: {}\r\n", request.content_type);
    if (request.source && !request.source_bytes) {
      out.append("Transfer-Encoding: chunked\r\n");
    } else {
      fmt::format_to(put, "Content-Length: {}\r\n",
                     request.source ? *request.source_bytes : request.body.size());
    }
  }
  out.append("\r\n");
}

}  // namespace

// All connections of one client. Connections keep it alive while they have something to do.
class HttpClient::Pool : public std::enable_shared_from_this<Pool> {
 public:
  using ConnectionPtr = std::shared_ptr<Connection>;

  Pool(asio::io_context& loop, Server where)
      : io(loop),
        server(std::move(where)),
        host(server.address.socket_path.empty() ? server.address.tcp.text() : "localhost"),
        sweep_timer_(loop) {}

  RequestId start(std::vector<Request> requests);
  void hang_up(RequestId id);
  void close();

  // --- What a connection says ---
  void ended(RequestId id) { active_.erase(id); }
  void inherit(const std::deque<Call>& calls, const ConnectionPtr& heir) {
    for (const Call& call : calls) active_[call.id] = heir;
  }
  // False: there are enough; it is to be closed.
  [[nodiscard]] bool keep(const ConnectionPtr& connection) {
    if (closed || idle_.size() >= kIdleConnectionsMax) return false;
    idle_.push_back(connection);
    return true;
  }
  // One was found closed; its siblings are as old.
  void drop_idle() { idle_.clear(); }

  asio::io_context& io;
  const Server server;
  const std::string host;
  bool closed = false;

 private:
  [[nodiscard]] ConnectionPtr connection_to_use();
  void sweep();

  asio::steady_timer sweep_timer_;
  bool sweeping_ = false;
  RequestId last_id_ = 0;
  std::vector<ConnectionPtr> idle_;  // the last used is used first
  std::unordered_map<RequestId, ConnectionPtr> active_;
};

// One connection: connects, writes its requests and reads their answers, both at the same time.
class HttpClient::Connection : public std::enable_shared_from_this<Connection> {
 public:
  explicit Connection(std::shared_ptr<Pool> pool) : pool_(std::move(pool)), channel_(pool_->io) {}

  [[nodiscard]] bool is_quiet() { return channel_.is_quiet(); }

  void start(std::deque<Call> calls) {
    calls_ = std::move(calls);
    kept_ = channel_.is_open();
    out_.clear();
    for (const Call& call : calls_) {
      append_head(out_, call.request, pool_->host);
      if (!call.request.source) out_.append(call.request.body);
    }
    moved_ = Steady::now();
    if (kept_) {
      begin();
    } else {
      connect();
    }
  }

  void hang_up() {
    kept_ = false;  // not to be sent again
    half_closed_ = true;
    for (Call& call : calls_) call.deadline = Steady::now() + kHangUpTime;
    channel_.shutdown_send();
  }

  void look_at_time(Steady::time_point now) {
    if (why_ || calls_.empty()) return;
    const bool late = std::any_of(calls_.begin(), calls_.end(),
                                  [now](const Call& call) { return call.deadline <= now; });
    const base::Millis silence = calls_.front().request.silence;
    const bool silent = silence.count() > 0 && now - moved_ > silence;
    if (connecting_ && now - moved_ > kConnectTime) {
      give_up(no_server(fmt::format("no connection within {} s", kConnectTime.count())));
    } else if (late || silent) {
      give_up(fail(Code::unreachable,
                   fmt::format("the server at {} did not answer in time", pool_->server.name()),
                   "is it stopped (kill -CONT PID), or does its disk hang? See its log; rq doctor "
                   "looks at the "
                   "rest"));
    }
  }

  void close() { channel_.close(); }

 private:
  void connect() {
    connecting_ = true;
    channel_.connect(pool_->server.address, [self = shared_from_this()](const error_code& error) {
      self->connected(error);
    });
  }

  void connected(const error_code& error) {
    connecting_ = false;
    if (pool_->closed) return;
    if (error || why_) {
      fail_all(why_ ? *why_ : not_connected(error));
      return;
    }
    begin();
  }

  void begin() {
    moved_ = Steady::now();
    next_answer();
    write();
    read();
  }

  // --- Out ---

  void write() {
    sending_ = true;
    asio::async_write(channel_, asio::buffer(out_),
                      [self = shared_from_this()](const error_code& error, std::size_t) {
                        self->written(error);
                      });
  }

  void written(const error_code& error) {
    if (pool_->closed) return;
    // An error here may hide an answer that is already there; the read finds out.
    if (error) return;
    moved_ = Steady::now();
    sending_ = !calls_.empty() && calls_.front().request.source && !source_ended_;
    if (sending_) pull();
  }

  // Takes the next piece from the source, with the frame of a chunk around it where there is one.
  void pull() {
    const Request& request = calls_.front().request;
    const bool chunked = !request.source_bytes;
    piece_.resize(kChunkHeadBytes + kSourceBytes);
    const Result<std::size_t> got =
        request.source(std::span<char>(piece_).subspan(kChunkHeadBytes, kSourceBytes));
    if (!got) {
      give_up(got.error());
      return;
    }
    given_ += *got;
    source_ended_ = *got == 0;
    if (!chunked &&
        (given_ > *request.source_bytes || (source_ended_ && given_ < *request.source_bytes))) {
      give_up(fail(Code::internal,
                   fmt::format("the body has {} bytes where {} were announced", given_,
                               *request.source_bytes),
                   "has the file changed meanwhile? repeat it"));
      return;
    }
    out_.clear();
    if (chunked) fmt::format_to(std::back_inserter(out_), "{:x}\r\n", *got);
    out_.append(piece_, kChunkHeadBytes, *got);
    if (chunked) out_.append("\r\n");
    write();
  }

  // --- In ---

  void next_answer() {
    reader_.emplace([this](std::string_view piece) { return take(piece); });
  }

  // A piece of the body of the first call's answer.
  bool take(std::string_view piece) {
    Call& call = calls_.front();
    const bool to_sink = call.request.sink && reader_->status() / 100 == 2;
    if (to_sink) return call.request.sink(piece) && !pool_->closed;
    const std::size_t most = call.request.sink ? kRefusalBytesMax : call.request.reply_bytes_max;
    if (call.reply.body.size() + piece.size() > most) {
      why_ =
          fail(Code::too_large, fmt::format("the answer is larger than {} MiB", most / base::kMiB),
               "ask for less at a time");
      return false;
    }
    call.reply.body.append(piece);
    return true;
  }

  void read() {
    channel_.async_read_some(
        buffer_.prepare(kReadBytes),
        [self = shared_from_this()](const error_code& error, std::size_t bytes) {
          if (!self->pool_->closed) self->arrived(error, bytes);
        });
  }

  void arrived(const error_code& error, std::size_t bytes) {
    if (why_) {
      fail_all(*why_);
      return;
    }
    if (error == asio::error::eof) {
      settle(reader_->end_of_input());
      return;
    }
    if (error) {
      broke(error.message());
      return;
    }
    moved_ = Steady::now();
    buffer_.commit(bytes);
    parse();
  }

  void parse() {
    const auto data = buffer_.data();
    std::size_t used = 0;
    const auto state = reader_->feed({static_cast<const char*>(data.data()), data.size()}, used);
    if (pool_->closed) return;
    buffer_.consume(used);
    settle(state);
  }

  void settle(ResponseReader::State state) {
    switch (state) {
      case ResponseReader::State::more:
        read();
        return;
      case ResponseReader::State::done:
        answered();
        return;
      case ResponseReader::State::enough:
        if (why_) {
          fail_all(*why_);
        } else {
          last_answer();
        }
        return;
      case ResponseReader::State::broken:
        broke(reader_->what());
        return;
    }
  }

  void answered() {
    const bool keeps = reader_->keep_alive() && !sending_ && !half_closed_;
    if (!keeps) {
      last_answer();
      return;
    }
    if (calls_.size() == 1 && buffer_.size() == 0) {
      // Kept before the callback, so that what it asks next finds the connection.
      Call call = take_first();
      if (!pool_->keep(shared_from_this())) channel_.close();
      finish(std::move(call), {});
      return;
    }
    if (calls_.size() == 1) {  // bytes that nobody asked for
      last_answer();
      return;
    }
    kept_ = false;  // it was alive: what breaks now is not sent again
    Call call = take_first();
    next_answer();
    finish(std::move(call), {});
    if (pool_->closed) return;
    // The next answer may be here already.
    if (buffer_.size() > 0) {
      parse();
    } else {
      read();
    }
  }

  // The connection goes with this answer.
  void last_answer() {
    channel_.close();
    finish(take_first(), {});
    if (!pool_->closed) fail_all(broken_off("the server closed it"));
  }

  // --- The end ---

  // No answer. A kept connection may have been closed by the server before it saw the request.
  void broke(const std::string& why) {
    const bool may_repeat = kept_ && !reader_->got_some() && buffer_.size() == 0 &&
                            std::all_of(calls_.begin(), calls_.end(), [](const Call& call) {
                              return call.request.retry == Retry::once && !call.request.source;
                            });
    if (!may_repeat) {
      fail_all(broken_off(why));
      return;
    }
    pool_->drop_idle();
    // Its own old writes and reads may still be on their way, so another one takes over.
    channel_.close();
    const auto heir = std::make_shared<Connection>(pool_);
    pool_->inherit(calls_, heir);
    heir->start(std::exchange(calls_, {}));
  }

  void give_up(Error why) {
    why_ = std::move(why);
    channel_.close();  // the read, or the connect, ends with an error
  }

  void fail_all(const Error& why) {
    channel_.close();
    while (!calls_.empty() && !pool_->closed) finish(take_first(), why);
  }

  Call take_first() {
    Call first = std::move(calls_.front());
    calls_.pop_front();
    pool_->ended(first.id);
    if (reader_) {
      first.reply.status = reader_->status();
      first.reply.content_type = reader_->content_type();
    }
    return first;
  }

  void finish(Call call, const std::optional<Error>& error) {
    if (pool_->closed || !call.request.done) return;
    if (error) {
      call.request.done(*error);
    } else {
      call.request.done(std::move(call.reply));
    }
  }

  [[nodiscard]] Error not_connected(const error_code& error) const {
    if (error == boost::system::errc::permission_denied) {
      return fail(
          Code::unreachable,
          fmt::format("you may not connect to {}: {}", pool_->server.name(), error.message()),
          "become the user that the server runs as, or one of its group");
    }
    return no_server(error.message());
  }
  [[nodiscard]] Error no_server(std::string_view why) const {
    return fail(Code::unreachable,
                fmt::format("no server answers at {}: {}", pool_->server.name(), why),
                pool_->server.remedy);
  }
  [[nodiscard]] Error broken_off(std::string_view why) const {
    return fail(Code::unreachable,
                fmt::format("the connection to {} broke off: {}", pool_->server.name(), why),
                "what was asked may or may not have been done: look, then repeat it");
  }

  const std::shared_ptr<Pool> pool_;
  Channel channel_;
  boost::beast::flat_buffer buffer_;
  std::optional<ResponseReader> reader_;
  std::deque<Call> calls_;  // in the order of their answers
  std::string out_;
  std::string piece_;        // of a source
  std::uint64_t given_ = 0;  // bytes of the source
  bool source_ended_ = false;
  bool kept_ = false;  // it has answered before, and nothing since
  bool connecting_ = false;
  bool sending_ = false;
  bool half_closed_ = false;
  std::optional<Error> why_;  // we have closed it, for this reason
  Steady::time_point moved_;  // when a byte went or came last
};

// --- The pool ---

HttpClient::Pool::ConnectionPtr HttpClient::Pool::connection_to_use() {
  while (!idle_.empty()) {
    ConnectionPtr connection = std::move(idle_.back());
    idle_.pop_back();
    if (connection->is_quiet()) return connection;
    connection->close();
  }
  return std::make_shared<Connection>(shared_from_this());
}

HttpClient::RequestId HttpClient::Pool::start(std::vector<Request> requests) {
  const ConnectionPtr connection = connection_to_use();
  std::deque<Call> calls;
  for (Request& request : requests) {
    const auto deadline =
        request.timeout.count() > 0 ? Steady::now() + request.timeout : Steady::time_point::max();
    calls.push_back({.id = ++last_id_, .request = std::move(request), .deadline = deadline});
  }
  inherit(calls, connection);
  connection->start(std::move(calls));
  sweep();
  return last_id_;
}

void HttpClient::Pool::hang_up(RequestId id) {
  const auto found = active_.find(id);
  if (found != active_.end()) found->second->hang_up();
}

// One timer for all requests: time-outs are only for servers that hang.
void HttpClient::Pool::sweep() {
  if (sweeping_ || active_.empty() || closed) return;
  sweeping_ = true;
  sweep_timer_.expires_after(kSweepEvery);
  sweep_timer_.async_wait([self = shared_from_this()](const error_code& error) {
    self->sweeping_ = false;
    if (error || self->closed) return;
    const Steady::time_point now = Steady::now();
    for (const auto& [id, connection] : self->active_) connection->look_at_time(now);
    self->sweep();
  });
}

void HttpClient::Pool::close() {
  closed = true;
  sweep_timer_.cancel();
  for (const auto& [id, connection] : active_) connection->close();
  active_.clear();
  idle_.clear();
}

// --- The client ---

HttpClient::HttpClient(asio::io_context& io, Server server)
    : pool_(std::make_shared<Pool>(io, std::move(server))) {}

HttpClient::~HttpClient() { pool_->close(); }

const Server& HttpClient::server() const { return pool_->server; }

HttpClient::RequestId HttpClient::send(Request request) {
  std::vector<Request> one;
  one.push_back(std::move(request));
  return pool_->start(std::move(one));
}

HttpClient::RequestId HttpClient::send_both(Request first, Request second) {
  RQ_CHECK(!first.source && !second.source);
  std::vector<Request> both;
  both.push_back(std::move(first));
  both.push_back(std::move(second));
  return pool_->start(std::move(both));
}

void HttpClient::hang_up(RequestId request) { pool_->hang_up(request); }

Request post_json(std::string target, std::string json, Done done) {
  return {.method = "POST",
          .target = std::move(target),
          .content_type = "application/json",
          .body = std::move(json),
          .done = std::move(done),
          .retry = Retry::once};
}

}  // namespace rq::client
