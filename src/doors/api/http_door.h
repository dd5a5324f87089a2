#pragma once
// The HTTP door: its connections, and what the rooms need. docs/API.md says what it speaks.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "doors/api/connection.h"
#include "doors/api/exchange.h"
#include "doors/api/json_reader.h"
#include "doors/api/log_watch.h"
#include "doors/api/router.h"
#include "net/links.h"
#include "pipeline/desk.h"
#include "pipeline/events.h"
#include "pipeline/readers.h"

namespace rq::doors::api {

struct HttpSettings {
  std::filesystem::path dir;
  std::string address;  // "127.0.0.1:3333"; port 0: any free one; empty: unix socket only
};

class HttpDoor final : public pipeline::LoopDoor, private net::LinkMaker {
 public:
  // Before Loop::start() and Pipeline::start().
  HttpDoor(pipeline::Desk& desk, pipeline::Readers& readers, pipeline::EventHub& events,
           HttpSettings settings);
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
  using pipeline::LoopDoor::desk;
  using pipeline::LoopDoor::door_number;
  [[nodiscard]] net::Loop& loop() { return desk().loop(); }
  [[nodiscard]] net::Links& links() { return links_; }
  [[nodiscard]] pipeline::Readers& readers() { return readers_; }
  [[nodiscard]] pipeline::EventHub& events() { return events_; }
  [[nodiscard]] const HttpSettings& settings() const { return settings_; }
  [[nodiscard]] const Router& router() const { return router_; }
  [[nodiscard]] pipeline::Clock& clock() { return desk().pipeline().clock(); }
  [[nodiscard]] JsonReader& json() { return json_; }
  [[nodiscard]] LogWatch& log_watch() { return log_watch_; }
  [[nodiscard]] base::Instant started() const { return started_; }
  [[nodiscard]] core::Boot boot() const { return boot_; }
  void set_boot(core::Boot boot) { boot_ = boot; }

  // Calls `then` with the exchange, when its client is still there.
  template <typename Then>
  void with(const ExchangeId& id, Then&& then) {
    Connection* found = connection(id.connection);
    if (found == nullptr) return;
    Slot* slot = found->find(id.request);
    if (slot == nullptr) return;
    Exchange exchange(*this, *found, *slot);
    std::forward<Then>(then)(exchange);
  }
  // Any thread.
  template <typename Then>
  void post(const ExchangeId& id, Then&& then) {
    boost::asio::post(loop().io(), [this, id, moved = std::forward<Then>(then)]() mutable {
      with(id, moved);
      links_.flush_dirty();
    });
  }

  [[nodiscard]] Connection* connection(std::uint64_t id);
  void remove(net::Link& link);
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
  [[nodiscard]] base::Result<void> listen_to_address();
  [[nodiscard]] std::unique_ptr<net::Link> make_link(net::Arrival&& arrival) override;
  void schedule_sweep();

  net::Links links_;
  pipeline::Readers& readers_;
  pipeline::EventHub& events_;
  const HttpSettings settings_;
  const Router router_;
  JsonReader json_;
  LogWatch log_watch_;
  const base::Instant started_;
  core::Boot boot_ = 0;
  std::string bound_address_;
  std::vector<std::string> hosts_;

  boost::asio::steady_timer sweep_timer_;
  std::size_t streams_ = 0;
  std::unordered_map<core::QueueId, std::string> queue_names_;
  std::unique_ptr<char[]> read_buffer_;
  std::string scratch_;
  std::string date_line_;
  std::int64_t date_second_ = -1;
  std::function<void()> closed_down_;
};

template <typename Look, typename Then>
void Exchange::look_up(Look look, Then then) {
  const ExchangeId who = id();
  post_lookup([&door = door_, who, look, then](core::Reader& reader) mutable {
    door.post(who, [then, result = look(reader)](Exchange& exchange) mutable {
      then(exchange, std::move(result));
    });
  });
}

}  // namespace rq::doors::api
