#pragma once
// The HTTP door: listeners, connections, and what the rooms need. docs/API.md says what it speaks.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "server/events.h"
#include "server/http/connection.h"
#include "server/http/exchange.h"
#include "server/http/json_reader.h"
#include "server/http/log_watch.h"
#include "server/http/router.h"
#include "server/loop.h"
#include "server/readers.h"

namespace rq::server::http {

struct HttpSettings {
  std::filesystem::path dir;
  std::string address;  // "127.0.0.1:3333"; port 0: any free one; empty: unix socket only
};

class HttpDoor final : public LoopDoor {
 public:
  // Before Loop::start() and Pipeline::start().
  HttpDoor(Loop& loop, Readers& readers, EventHub& events, HttpSettings settings);
  ~HttpDoor() override;

  // Binds DIR/run/rq.sock and the address, and begins to accept. Before Loop::start().
  // forbidden when the address is not a loopback one.
  [[nodiscard]] base::Result<void> listen();
  // "127.0.0.1:3333" with the real port; empty without TCP.
  [[nodiscard]] const std::string& address() const { return bound_address_; }

  // Loop thread. No new connections and requests; calls `done` when all open ones are answered or
  // cut off (streams and waiting reserves are cut off).
  void close_down(std::function<void()> done);

  void on_deliveries(std::vector<core::Delivery>& deliveries) override;

  // --- For rooms and connections (loop thread) ---
  using LoopDoor::door_number;
  using LoopDoor::loop;
  [[nodiscard]] Readers& readers() { return readers_; }
  [[nodiscard]] EventHub& events() { return events_; }
  [[nodiscard]] const HttpSettings& settings() const { return settings_; }
  [[nodiscard]] const Router& router() const { return router_; }
  [[nodiscard]] Clock& clock() { return loop().pipeline().clock(); }
  [[nodiscard]] JsonReader& json() { return json_; }
  [[nodiscard]] LogWatch& log_watch() { return log_watch_; }
  [[nodiscard]] std::int64_t connection_count() const { return open_count_; }
  [[nodiscard]] base::Instant started() const { return started_; }
  [[nodiscard]] core::Boot boot() const { return boot_; }
  void set_boot(core::Boot boot) { boot_ = boot; }

  // Calls `then` with the exchange, when its client is still there.
  template <typename Then>
  void with(const ExchangeId& id, Then&& then) {
    Connection* connection = find(id.connection);
    if (connection == nullptr) return;
    Slot* slot = connection->find(id.request);
    if (slot == nullptr) return;
    Exchange exchange(*this, *connection, *slot);
    std::forward<Then>(then)(exchange);
  }
  // Any thread.
  template <typename Then>
  void post(const ExchangeId& id, Then&& then) {
    boost::asio::post(loop().io(), [this, id, moved = std::forward<Then>(then)]() mutable {
      with(id, moved);
      flush_dirty();
    });
  }

  [[nodiscard]] Connection* find(std::uint64_t connection);
  void touch(Connection& connection);  // it has something to flush
  void flush_dirty();
  void schedule_flush();  // flush_dirty() when this handler is over
  void remove(Connection& connection);
  [[nodiscard]] bool host_allowed(std::string_view host) const;
  [[nodiscard]] char* read_buffer() { return read_buffer_.get(); }
  [[nodiscard]] std::string& scratch() { return scratch_; }
  [[nodiscard]] std::string_view date_line();  // "Date: ...\r\n"
  // Leases whose client is gone go back at once: nothing shall wait for their end.
  void give_back(const std::vector<core::Message>& messages);
  // The name of a queue by its id, which is never given twice. Null when it is not known yet.
  [[nodiscard]] const std::string* queue_name(core::QueueId id) const;
  void learn_queues(const core::QueuesListed& listed);
  // A stream counts against kSseStreamsMax while it lives.
  [[nodiscard]] bool begin_stream();
  void end_stream() { --streams_; }

 private:
  [[nodiscard]] base::Result<void> listen_unix();
  [[nodiscard]] base::Result<void> listen_tcp();
  template <typename Acceptor>
  void accept(Acceptor& acceptor, bool unix_socket);
  void add(Connection::Socket&& socket, bool unix_socket);
  void schedule_sweep();

  Readers& readers_;
  EventHub& events_;
  const HttpSettings settings_;
  const Router router_;
  JsonReader json_;
  LogWatch log_watch_;
  const base::Instant started_;
  core::Boot boot_ = 0;
  std::string bound_address_;
  std::vector<std::string> hosts_;

  boost::asio::local::stream_protocol::acceptor unix_acceptor_;
  boost::asio::ip::tcp::acceptor tcp_acceptor_;
  boost::asio::steady_timer accept_pause_;
  boost::asio::steady_timer sweep_timer_;

  std::vector<std::unique_ptr<Connection>> connections_;  // by the low bits of the id
  std::vector<std::uint32_t> free_places_;
  std::uint64_t serial_ = 0;
  std::int64_t open_count_ = 0;
  std::size_t streams_ = 0;
  std::unordered_map<core::QueueId, std::string> queue_names_;
  std::vector<Connection*> dirty_;
  std::unique_ptr<char[]> read_buffer_;
  std::string scratch_;
  std::string date_line_;
  std::int64_t date_second_ = -1;
  bool flush_scheduled_ = false;
  bool closing_down_ = false;
  std::function<void()> closed_down_;
};

template <typename Look, typename Then>
void Exchange::look_up(Look look, Then then) {
  const ExchangeId who = id();
  post_lookup([&door = door_, who, look, then](store::Reader& reader) mutable {
    door.post(who, [then, result = look(reader)](Exchange& exchange) mutable {
      then(exchange, std::move(result));
    });
  });
}

}  // namespace rq::server::http
