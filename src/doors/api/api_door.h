#pragma once
// The API's door: what it mounts on the HTTP server, and what its handlers need. docs/API.md says
// what it speaks.
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "doors/api/bulk_jobs.h"
#include "doors/api/exchange.h"
#include "doors/api/json_reader.h"
#include "doors/api/reasons.h"
#include "doors/api/worker_notes.h"
#include "files/log_watch.h"
#include "http/server.h"
#include "pipeline/desk.h"
#include "pipeline/events.h"
#include "pipeline/readers.h"

namespace rq::doors::api {

struct ApiSettings {
  std::filesystem::path dir;
  std::string address;            // "127.0.0.1:3333"; port 0: any free one; empty: unix socket only
  bool define_over_tcp = false;   // whoever reaches the address may decide what programs run
  std::filesystem::path store{};  // its file, and that of its log: how large they are is told
  std::filesystem::path store_log{};
};

class ApiDoor final : public pipeline::LoopDoor, private http::Site {
 public:
  // Before Loop::start() and Pipeline::start().
  ApiDoor(pipeline::Desk& desk, pipeline::Readers& readers, pipeline::EventHub& events,
          ApiSettings settings);
  ~ApiDoor() override;

  // Binds DIR/run/rq.sock and the address, and begins to accept. Before Loop::start().
  // forbidden when the address is not a loopback one.
  [[nodiscard]] base::Result<void> listen();
  // "127.0.0.1:3333" with the real port; empty without TCP.
  [[nodiscard]] const std::string& address() const { return bound_address_; }
  // Whoever reaches the address may define queues.
  [[nodiscard]] bool defined_over_tcp() const {
    return settings_.define_over_tcp && !bound_address_.empty();
  }
  // What full ids begin with: "http://127.0.0.1:3333/".
  [[nodiscard]] std::string base_url() const;

  // Loop thread. No new connections and requests; calls `done` when all open ones are answered or
  // cut off (streams and waiting reserves are cut off).
  void close_down(std::function<void()> done);

  void on_deliveries(std::vector<core::Delivery>& deliveries) override;

  // --- For handlers (loop thread) ---
  using pipeline::LoopDoor::desk;
  using pipeline::LoopDoor::door_number;
  [[nodiscard]] http::Server& server() { return server_; }
  [[nodiscard]] pipeline::Readers& readers() { return readers_; }
  [[nodiscard]] pipeline::EventHub& events() { return events_; }
  [[nodiscard]] const ApiSettings& settings() const { return settings_; }
  [[nodiscard]] pipeline::Clock& clock() { return desk().pipeline().clock(); }
  [[nodiscard]] JsonReader& json() { return json_; }
  [[nodiscard]] files::LogWatch& log_watch() { return log_watch_; }
  [[nodiscard]] BulkJobs& bulk_jobs() { return bulk_jobs_; }
  [[nodiscard]] base::Instant started() const { return started_; }
  [[nodiscard]] core::Boot boot() const { return boot_; }
  void set_boot(core::Boot boot) { boot_ = boot; }
  // Another process holds the lock of this server: there may be a second one. Any thread.
  void set_lock_taken(bool taken) { lock_taken_.store(taken, std::memory_order_relaxed); }
  [[nodiscard]] bool lock_taken() const { return lock_taken_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::string& scratch() { return scratch_; }
  [[nodiscard]] WorkerNotes& workers() { return workers_; }
  // Of all queues; whether one is held back is for the caller to add.
  [[nodiscard]] Surroundings surroundings();

  // Calls `then` with the exchange, when its client is still there.
  template <typename Then>
  void with(const ExchangeId& id, Then&& then) {
    server_.with(id, [&](http::Exchange& found) {
      Exchange exchange(*this, found);
      std::forward<Then>(then)(exchange);
    });
  }
  // Any thread.
  template <typename Then>
  void post(const ExchangeId& id, Then&& then) {
    server_.post(id, [this, moved = std::forward<Then>(then)](http::Exchange& found) mutable {
      Exchange exchange(*this, found);
      moved(exchange);
    });
  }

 private:
  [[nodiscard]] std::optional<base::Error> admit(const http::Head& head,
                                                 const net::Caller& caller) override;
  [[nodiscard]] std::optional<base::Error> permit(const http::Route& route,
                                                  const net::Caller& caller) override;
  [[nodiscard]] base::Result<http::Intake> open(http::Exchange& exchange,
                                                const Request& request) override;
  void serve(http::Exchange& exchange, const Request& request) override;
  void append_error(std::string& body, const base::Error& error) const override;
  [[nodiscard]] std::string_view error_type() const override { return "application/json"; }

  void give_back(const std::vector<core::Message>& messages);
  [[nodiscard]] base::Result<void> listen_to_address();
  void tell_address() const;
  [[nodiscard]] base::Result<void> listen_to_socket();
  void look_after_socket();
  [[nodiscard]] bool host_allowed(std::string_view host) const;

  pipeline::Readers& readers_;
  pipeline::EventHub& events_;
  const ApiSettings settings_;
  JsonReader json_;
  files::LogWatch log_watch_;
  BulkJobs bulk_jobs_;
  const std::filesystem::path socket_;
  std::uint64_t socket_inode_ = 0;
  boost::asio::steady_timer socket_timer_;
  const base::Instant started_;
  core::Boot boot_ = 0;
  std::atomic<bool> lock_taken_{false};
  std::string bound_address_;
  std::vector<std::string> hosts_;
  std::string admitted_host_;  // the last one that was
  std::string scratch_;
  WorkerNotes workers_;
  http::Server server_;  // last: what its exchanges keep uses all of the above
};

template <typename Look, typename Then>
pipeline::Readers::Lookup Exchange::lookup_of(Look look, Then then) {
  return [&door = door_, who = id(), look, then](core::Reader& reader) mutable {
    door.post(who, [then, result = look(reader)](Exchange& exchange) mutable {
      then(exchange, std::move(result));
    });
  };
}

template <typename Look, typename Then>
bool Exchange::look_up(Look look, Then then) {
  return post_lookup(lookup_of(look, then));
}

template <typename Look, typename Then>
bool Exchange::look_up_many(Look look, Then then) {
  return post_lookup(lookup_of(look, then), pipeline::Readers::Kind::page);
}

template <typename Look, typename Then>
bool Exchange::search(Look look, Then then) {
  return post_lookup(lookup_of(look, then), pipeline::Readers::Kind::search);
}

}  // namespace rq::doors::api
