#pragma once
// A server that a test plays itself, on a unix socket of the test's own loop.
#include <stdlib.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/temp_dir_rig.h"
#include "client/server.h"

namespace rq::client {

class FakeServer {
 public:
  using Socket = boost::asio::local::stream_protocol::socket;

  // One request as it came in, and the connection to answer it on.
  struct Asked {
    std::string head;  // with the empty line
    std::string body;  // as it came, still in chunks
    std::size_t connection = 0;
    // "POST /v1/finish"
    [[nodiscard]] std::string what() const { return head.substr(0, head.find(" HTTP/")); }
  };

  explicit FakeServer(boost::asio::io_context& io) : io_(io) {}
  ~FakeServer() { stop(); }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  [[nodiscard]] std::string path() const { return dir_ + "/sock"; }
  [[nodiscard]] Server address() const {
    return {.address = {.socket_path = path(), .tcp = {}}, .remedy = "start the fake"};
  }

  void start() {
    std::filesystem::remove(path());
    acceptor_.emplace(io_, boost::asio::local::stream_protocol::endpoint(path()));
    accept();
  }
  // Nobody listens any more, and all connections are closed.
  void stop() {
    acceptor_.reset();
    drop_connections();
  }
  void drop_connections() {
    for (const auto& session : sessions_) close(*session);
  }
  void drop(std::size_t connection) { close(*sessions_.at(connection)); }

  // Sends `bytes`, in their order, on a connection.
  void say(std::size_t connection, std::string bytes) {
    const auto session = sessions_.at(connection);
    session->out.push_back(std::move(bytes));
    if (session->out.size() == 1) write(session);
  }
  // The same, then nothing more will come from here.
  void say_and_end(std::size_t connection, std::string bytes) {
    sessions_.at(connection)->ends = true;
    say(connection, std::move(bytes));
  }

  [[nodiscard]] std::size_t accepted() const { return sessions_.size(); }
  // Has the client said that it sends no more on this connection?
  [[nodiscard]] bool half_closed(std::size_t connection) const {
    return sessions_.at(connection)->half_closed;
  }

  // What is called with each request whose head and announced body are there; by default the
  // request waits in `asked`.
  std::function<void(const Asked&)> on_request = [this](const Asked& request) {
    asked.push_back(request);
  };
  std::deque<Asked> asked;
  // Reads nothing while it is set (set it before a connection is made).
  bool deaf = false;

 private:
  struct Session {
    explicit Session(Socket s) : socket(std::move(s)) {}
    Socket socket;
    std::size_t number = 0;
    std::string in;
    std::deque<std::string> out;
    std::vector<char> buffer = std::vector<char>(64 * 1024);
    bool half_closed = false;
    bool ends = false;
  };
  using SessionPtr = std::shared_ptr<Session>;

  static void close(Session& session) {
    boost::system::error_code ignored;
    session.socket.close(ignored);
  }

  void accept() {
    acceptor_->async_accept([this](const boost::system::error_code& error, Socket socket) {
      if (error) return;
      sessions_.push_back(std::make_shared<Session>(std::move(socket)));
      sessions_.back()->number = sessions_.size() - 1;
      if (!deaf) read(sessions_.back());
      accept();
    });
  }

  void read(const SessionPtr& session) {
    session->socket.async_read_some(
        boost::asio::buffer(session->buffer),
        [this, session](const boost::system::error_code& error, std::size_t bytes) {
          if (error) {
            session->half_closed = true;
            return;
          }
          session->in.append(session->buffer.data(), bytes);
          take(session);
          if (session->socket.is_open()) read(session);
        });
  }

  void take(const SessionPtr& session) {
    while (session->socket.is_open()) {
      const std::size_t end = session->in.find("\r\n\r\n");
      if (end == std::string::npos) return;
      Asked request{
          .head = session->in.substr(0, end + 4), .body = {}, .connection = session->number};
      std::size_t body = 0;
      if (const std::size_t at = request.head.find("Content-Length: "); at != std::string::npos) {
        body = std::stoul(request.head.substr(at + 16));
        if (session->in.size() < end + 4 + body) return;
      } else if (request.head.find("chunked") != std::string::npos) {
        const std::size_t last = session->in.find("0\r\n\r\n", end + 4);
        if (last == std::string::npos) return;
        body = last + 5 - (end + 4);
      }
      request.body = session->in.substr(end + 4, body);
      session->in.erase(0, end + 4 + body);
      on_request(request);
    }
  }

  void write(const SessionPtr& session) {
    boost::asio::async_write(session->socket, boost::asio::buffer(session->out.front()),
                             [this, session](const boost::system::error_code& error, std::size_t) {
                               if (error) return;
                               session->out.pop_front();
                               if (!session->out.empty()) return write(session);
                               boost::system::error_code ignored;
                               if (session->ends) {
                                 session->socket.shutdown(Socket::shutdown_send, ignored);
                               }
                             });
  }

  boost::asio::io_context& io_;
  base::test::TempDir temp_;
  std::string dir_ = temp_.path();
  std::optional<boost::asio::local::stream_protocol::acceptor> acceptor_;
  std::vector<SessionPtr> sessions_;  // all there ever were
};

[[nodiscard]] inline std::string http_ok(std::string_view body,
                                         std::string_view status = "200 OK") {
  return "HTTP/1.1 " + std::string(status) +
         "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + std::string(body);
}
[[nodiscard]] inline std::string http_chunk(std::string_view text) {
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", text.size());
  return size + std::string(text) + "\r\n";
}

// Runs the loop until `done`; false when that does not happen.
[[nodiscard]] inline bool run_until(boost::asio::io_context& io,
                                    const std::function<bool()>& done) {
  constexpr std::chrono::seconds kTestMax{20};
  const auto end = std::chrono::steady_clock::now() + kTestMax;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    io.restart();
    io.run_one_for(kTestMax);
  }
  return true;
}

}  // namespace rq::client
