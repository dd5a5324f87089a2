#include "client/async_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <deque>
#include <optional>

#include "client/limits.h"
#include "client/sse_reader.h"

namespace rq::client {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::generic::stream_protocol;
using base::Code;
using base::Error;
using base::fail;
using base::Result;
using boost::system::error_code;
using Steady = std::chrono::steady_clock;

// A stream of events says something at least each 15 s.
constexpr std::chrono::seconds kStreamSilenceMax{45};
constexpr std::chrono::seconds kHangUpWait{2};
constexpr std::chrono::milliseconds kSweepEvery{500};
constexpr std::size_t kReadBytes = 64 * base::kKiB;  // at most, of one reply at a time

// Connects `socket`, then calls then(error_code). `owner` keeps socket and resolver alive.
template <typename Then>
void connect(const std::shared_ptr<void>& owner, const Endpoint& endpoint,
             stream_protocol::socket& socket, asio::ip::tcp::resolver& resolver, Then then) {
  if (!endpoint.unix_path.empty()) {
    const stream_protocol::endpoint address(
        asio::local::stream_protocol::endpoint(endpoint.unix_path));
    socket.async_connect(address, [owner, then](const error_code& error) mutable { then(error); });
    return;
  }
  resolver.async_resolve(
      endpoint.host, endpoint.port,
      [owner, &socket, then](const error_code& error,
                             const asio::ip::tcp::resolver::results_type& found) mutable {
        if (error || found.empty()) {
          then(error ? error : asio::error::host_not_found);
          return;
        }
        const stream_protocol::endpoint address(found.begin()->endpoint());
        socket.async_connect(address,
                             [owner, then](const error_code& failed) mutable { then(failed); });
      });
}

}  // namespace

Result<Endpoint> Endpoint::parse(std::string_view text) {
  Endpoint endpoint;
  if (text.starts_with("unix:")) text.remove_prefix(5);
  if (text.starts_with('/') || text.starts_with('.')) {
    // A sockaddr_un holds no more.
    if (text.size() > 107) {
      return fail(Code::bad_value, fmt::format("socket path '{}' is longer than 107 bytes", text),
                  "use a shorter --dir, or --server http://127.0.0.1:3333");
    }
    endpoint.unix_path = text;
    return endpoint;
  }
  const auto bad = [text] {
    return fail(Code::bad_value, fmt::format("server '{}' is no address", text),
                "use http://HOST:PORT, or the path of a unix socket");
  };
  if (!text.starts_with("http://")) return bad();
  std::string_view rest = text.substr(7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || rest.find('/') != std::string_view::npos) {
    return bad();
  }
  endpoint.host = rest.substr(0, colon);
  endpoint.port = rest.substr(colon + 1);
  if (endpoint.host.starts_with('[') && endpoint.host.ends_with(']')) {
    endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
  }
  return endpoint;
}

std::string Endpoint::text() const {
  return unix_path.empty() ? fmt::format("http://{}:{}", host, port) : "unix:" + unix_path;
}

Error error_of_json(std::string_view text) {
  error_code failed;
  const boost::json::value value = boost::json::parse(text, failed);
  if (failed || !value.is_object()) return fail(Code::internal, "the answer is no JSON object");
  const boost::json::value* inner = value.get_object().if_contains("error");
  const boost::json::object& object =
      inner != nullptr && inner->is_object() ? inner->get_object() : value.get_object();
  const auto field = [&object](std::string_view name) {
    const boost::json::value* found = object.if_contains(name);
    return found != nullptr && found->is_string() ? std::string(found->get_string())
                                                  : std::string();
  };
  return fail(base::code_of(field("code")).value_or(Code::internal), field("message"),
              field("remedy"));
}

Error error_of(const Reply& reply) {
  Error error = error_of_json(reply.body);
  if (error.message.empty()) error.message = fmt::format("the server answered {}", reply.status);
  return error;
}

struct AsyncClient::Impl : std::enable_shared_from_this<AsyncClient::Impl> {
  struct Waiting {
    RequestId id = 0;
    Done done;
    Steady::time_point deadline;
  };
  struct Connection : std::enable_shared_from_this<Connection> {
    explicit Connection(asio::io_context& io) : socket(io), resolver(io) {}
    stream_protocol::socket socket;
    asio::ip::tcp::resolver resolver;
    boost::beast::flat_buffer buffer;
    std::optional<http::response_parser<http::string_body>> parser;
    std::string request;          // of all that is waited for
    std::deque<Waiting> waiting;  // in the order of the answers
    bool reused = false;
    bool timed_out = false;
  };
  using ConnectionPtr = std::shared_ptr<Connection>;

  struct Stream : std::enable_shared_from_this<Stream> {
    explicit Stream(asio::io_context& io) : socket(io), resolver(io), timer(io) {}
    stream_protocol::socket socket;
    asio::ip::tcp::resolver resolver;
    asio::steady_timer timer;
    boost::beast::flat_buffer buffer;
    std::optional<http::response_parser<http::buffer_body>> parser;
    std::array<char, 16 * 1024> chunk{};
    SseReader reader;
    std::string request;
    Subscriber subscriber;
    std::chrono::milliseconds delay{0};
    Steady::time_point heard;
    bool up = true;  // so that the first failure is told
  };
  using StreamPtr = std::shared_ptr<Stream>;

  Impl(asio::io_context& loop, Endpoint to) : io(loop), endpoint(std::move(to)), sweep_timer(loop) {
    host = endpoint.unix_path.empty() ? fmt::format("{}:{}", endpoint.host, endpoint.port)
                                      : "localhost";
  }

  ConnectionPtr connection_to_use() {
    ConnectionPtr connection;
    if (idle.empty()) {
      connection = std::make_shared<Connection>(io);
    } else {
      connection = std::move(idle.back());
      idle.pop_back();
    }
    connection->reused = connection->socket.is_open();
    connection->timed_out = false;
    connection->request.clear();
    return connection;
  }

  RequestId add(const ConnectionPtr& connection, std::string_view method, Request request) {
    std::string& text = connection->request;
    fmt::format_to(std::back_inserter(text), "{} {} HTTP/1.1\r\nHost: {}\r\n", method, request.path,
                   host);
    if (method == "POST") {
      fmt::format_to(std::back_inserter(text),
                     "Content-Type: application/json\r\nContent-Length: {}\r\n",
                     request.json.size());
    }
    text.append("\r\n").append(request.json);
    connection->waiting.push_back({.id = ++last_id,
                                   .done = std::move(request.done),
                                   .deadline = Steady::now() + request.timeout});
    active.emplace(last_id, connection);
    return last_id;
  }

  void send(const ConnectionPtr& connection) {
    if (connection->reused) {
      write(connection);
    } else {
      open(connection);
    }
    sweep();
  }

  void open(const ConnectionPtr& connection) {
    connect(connection, endpoint, connection->socket, connection->resolver,
            [self = shared_from_this(), connection](const error_code& error) {
              if (error) {
                self->failed(connection, error);
              } else {
                self->write(connection);
              }
            });
  }

  void write(const ConnectionPtr& connection) {
    asio::async_write(
        connection->socket, asio::buffer(connection->request),
        [self = shared_from_this(), connection](const error_code& error, std::size_t) {
          // An error here may hide an answer that is already there; the read finds out.
          if (error && connection->timed_out) {
            self->failed(connection, error);
          } else {
            self->read(connection);
          }
        });
  }

  void read(const ConnectionPtr& connection) {
    connection->parser.emplace();
    connection->parser->body_limit(kReplyBytesMax);
    connection->buffer.reserve(kReadBytes);  // else it reads 512 bytes at a time
    http::async_read(connection->socket, connection->buffer, *connection->parser,
                     [self = shared_from_this(), connection](const error_code& error, std::size_t) {
                       if (error) {
                         self->broken(connection, error);
                       } else {
                         self->answered(connection);
                       }
                     });
  }

  // No answer. A kept connection may have been closed by the server before it saw the request.
  void broken(const ConnectionPtr& connection, const error_code& error) {
    const bool nothing_came = !connection->parser->got_some();
    if (!connection->reused || connection->timed_out || !nothing_came) {
      failed(connection, error);
      return;
    }
    connection->reused = false;
    connection->buffer.clear();
    error_code ignored;
    connection->socket.close(ignored);
    // Its siblings are as old.
    idle.clear();
    open(connection);
  }

  void failed(const ConnectionPtr& connection, const error_code& error) {
    error_code ignored;
    connection->socket.close(ignored);
    const std::string why = connection->timed_out ? "no answer in time" : error.message();
    while (!connection->waiting.empty()) {
      finish(connection, fail(Code::unreachable, fmt::format("server {}: {}", endpoint.text(), why),
                              "is the server running?"));
    }
  }

  void answered(const ConnectionPtr& connection) {
    auto& message = connection->parser->get();
    Reply reply{.status = message.result_int(), .body = std::move(message.body())};
    const bool keeps = message.keep_alive() && !connection->timed_out;
    connection->parser.reset();
    if (connection->waiting.size() > 1 && keeps) {
      connection->reused = false;  // it was alive: what breaks now is not sent again
      finish(connection, std::move(reply));
      // Its answer may be here already, but must not come from within the first one's.
      if (!closed) read(connection);
      return;
    }
    if (keeps && idle.size() < kIdleConnectionsMax) {
      // Before the callback, so that what it asks next finds the connection.
      const Waiting done = take_first(connection);
      idle.push_back(connection);
      if (!closed && done.done) done.done(std::move(reply));
      return;
    }
    finish(connection, std::move(reply));
    failed(connection, asio::error::eof);  // if there is a second one
  }

  Waiting take_first(const ConnectionPtr& connection) {
    Waiting first = std::move(connection->waiting.front());
    connection->waiting.pop_front();
    active.erase(first.id);
    return first;
  }

  void finish(const ConnectionPtr& connection, Result<Reply> result) {
    const Waiting first = take_first(connection);
    if (!closed && first.done) first.done(std::move(result));
  }

  // One timer for all requests: a deadline is only for servers that hang.
  void sweep() {
    if (sweeping || active.empty() || closed) return;
    sweeping = true;
    sweep_timer.expires_after(kSweepEvery);
    sweep_timer.async_wait([self = shared_from_this()](const error_code& error) {
      self->sweeping = false;
      if (error || self->closed) return;
      const Steady::time_point now = Steady::now();
      for (auto& [id, connection] : self->active) {
        const Steady::time_point deadline = connection->waiting.front().deadline;
        if (deadline > now || connection->timed_out) continue;
        connection->timed_out = true;
        error_code ignored;
        connection->resolver.cancel();
        connection->socket.close(ignored);
      }
      self->sweep();
    });
  }

  void hang_up(RequestId id) {
    const auto found = active.find(id);
    if (found == active.end()) return;
    Connection& connection = *found->second;
    connection.reused = false;  // not to be sent again
    for (Waiting& waiting : connection.waiting) waiting.deadline = Steady::now() + kHangUpWait;
    error_code ignored;
    if (connection.socket.is_open()) {
      connection.socket.shutdown(stream_protocol::socket::shutdown_send, ignored);
    }
  }

  // --- Streams ---
  void start(const StreamPtr& stream) {
    stream->buffer.clear();
    stream->reader = SseReader();
    stream->parser.emplace();
    stream->parser->body_limit(boost::none);
    stream->heard = Steady::now();
    connect(stream, endpoint, stream->socket, stream->resolver,
            [self = shared_from_this(), stream](const error_code& error) {
              if (error) {
                self->down(stream);
                return;
              }
              asio::async_write(stream->socket, asio::buffer(stream->request),
                                [self, stream](const error_code& failed, std::size_t) {
                                  if (failed) {
                                    self->down(stream);
                                  } else {
                                    self->read_header(stream);
                                  }
                                });
            });
  }

  void read_header(const StreamPtr& stream) {
    watch_silence(stream);
    http::async_read_header(
        stream->socket, stream->buffer, *stream->parser,
        [self = shared_from_this(), stream](const error_code& error, std::size_t) {
          if (error || stream->parser->get().result_int() != 200) {
            self->down(stream);
            return;
          }
          stream->up = true;
          stream->delay = std::chrono::milliseconds{0};
          self->read_events(stream);
        });
  }

  void read_events(const StreamPtr& stream) {
    auto& body = stream->parser->get().body();
    body.data = stream->chunk.data();
    body.size = stream->chunk.size();
    body.more = true;
    http::async_read_some(
        stream->socket, stream->buffer, *stream->parser,
        [self = shared_from_this(), stream](const error_code& error, std::size_t) {
          if (self->closed) return;
          if (error && error != http::error::need_buffer) {
            self->down(stream);
            return;
          }
          stream->heard = Steady::now();
          const std::size_t got = stream->chunk.size() - stream->parser->get().body().size;
          const bool fine =
              stream->reader.feed({stream->chunk.data(), got}, stream->subscriber.on_event);
          if (!fine || stream->parser->is_done()) {
            self->down(stream);
          } else {
            self->read_events(stream);
          }
        });
  }

  void watch_silence(const StreamPtr& stream) {
    stream->timer.expires_at(stream->heard + kStreamSilenceMax);
    stream->timer.async_wait([self = shared_from_this(), stream](const error_code& error) {
      if (error || self->closed) return;
      if (Steady::now() < stream->heard + kStreamSilenceMax) {
        self->watch_silence(stream);
        return;
      }
      error_code ignored;
      stream->socket.close(ignored);  // the read ends with an error
    });
  }

  void down(const StreamPtr& stream) {
    error_code ignored;
    stream->socket.close(ignored);
    if (closed) return;
    if (stream->up) stream->subscriber.on_down();
    stream->up = false;
    stream->delay = std::clamp(stream->delay * 2, kReconnectDelayMin, kReconnectDelayMax);
    stream->timer.expires_after(stream->delay);
    stream->timer.async_wait([self = shared_from_this(), stream](const error_code& error) {
      if (!error && !self->closed) self->start(stream);
    });
  }

  void close() {
    closed = true;
    error_code ignored;
    sweep_timer.cancel();
    for (auto& [id, connection] : active) connection->socket.close(ignored);
    for (const StreamPtr& stream : streams) {
      stream->timer.cancel();
      stream->socket.close(ignored);
    }
    idle.clear();
    streams.clear();
  }

  asio::io_context& io;
  const Endpoint endpoint;
  std::string host;
  asio::steady_timer sweep_timer;
  bool sweeping = false;
  bool closed = false;
  RequestId last_id = 0;
  std::vector<ConnectionPtr> idle;  // the last used is used first
  std::unordered_map<RequestId, ConnectionPtr> active;
  std::vector<StreamPtr> streams;
};

AsyncClient::AsyncClient(asio::io_context& io, Endpoint endpoint)
    : impl_(std::make_shared<Impl>(io, std::move(endpoint))) {}

AsyncClient::~AsyncClient() { impl_->close(); }

AsyncClient::RequestId AsyncClient::post(std::string_view path, std::string_view json, Done done,
                                         base::Millis timeout) {
  const auto connection = impl_->connection_to_use();
  const RequestId id =
      impl_->add(connection, "POST",
                 {.path = path, .json = json, .done = std::move(done), .timeout = timeout});
  impl_->send(connection);
  return id;
}

AsyncClient::RequestId AsyncClient::get(std::string_view path, Done done, base::Millis timeout) {
  const auto connection = impl_->connection_to_use();
  const RequestId id = impl_->add(
      connection, "GET", {.path = path, .json = {}, .done = std::move(done), .timeout = timeout});
  impl_->send(connection);
  return id;
}

AsyncClient::RequestId AsyncClient::post_both(Request first, Request second) {
  const auto connection = impl_->connection_to_use();
  impl_->add(connection, "POST", std::move(first));
  const RequestId id = impl_->add(connection, "POST", std::move(second));
  impl_->send(connection);
  return id;
}

void AsyncClient::hang_up(RequestId request) { impl_->hang_up(request); }

void AsyncClient::subscribe(std::string_view path, Subscriber subscriber) {
  auto stream = std::make_shared<Impl::Stream>(impl_->io);
  stream->request = fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
                                path, impl_->host);
  stream->subscriber = std::move(subscriber);
  impl_->streams.push_back(stream);
  impl_->start(stream);
}

}  // namespace rq::client
