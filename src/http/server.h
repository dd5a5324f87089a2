#pragma once
// An HTTP/1.1 server: its connections, and the site that it serves. It knows nothing of what the
// site is about.
//
// Thread: the loop's, but for the constructor, listen() and the destructor (the loop stands still).
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "http/body.h"
#include "http/connection.h"
#include "http/exchange.h"
#include "http/router.h"
#include "net/links.h"

namespace rq::http {

// Where the body of a request goes.
struct Intake {
  std::unique_ptr<BodySink> sink;          // null: it is kept whole
  std::optional<std::uint64_t> bytes_max;  // absent: as the route says
};

// What is served: the routes of a table, by whoever brings the table.
class Site {
 public:
  virtual ~Site() = default;
  // The head of a request is there, before its route is looked for: an error refuses it.
  [[nodiscard]] virtual std::optional<base::Error> admit(const Head& head,
                                                         const net::Caller& caller) = 0;
  // Its route is known: an error says that the caller may not use it. Before any body is taken.
  [[nodiscard]] virtual std::optional<base::Error> permit(const Route& route,
                                                          const net::Caller& caller) = 0;
  // Only for a route that takes a body, before any of it is taken. An error refuses the request.
  [[nodiscard]] virtual base::Result<Intake> open(Exchange& exchange, const Request& request) = 0;
  // All of the request is there. Replies now or later.
  virtual void serve(Exchange& exchange, const Request& request) = 0;

  // How an error looks.
  virtual void append_error(std::string& body, const base::Error& error) const = 0;
  [[nodiscard]] virtual std::string_view error_type() const = 0;
};

class Server final : private net::LinkMaker {
 public:
  // `routes` must outlive it.
  Server(net::Loop& loop, Site& site, std::span<const Route> routes);
  ~Server() override;

  // Takes a listening socket over: before Loop::start(), or on its thread.
  [[nodiscard]] base::Result<void> listen(net::Listener&& listener);
  // Serves a connection that is there already. False: no room for it.
  [[nodiscard]] bool adopt(std::unique_ptr<net::Channel> channel);

  // No new connections and requests; calls `done` when all open ones are answered or cut off
  // (streams of events and watched exchanges are cut off).
  void close_down(std::function<void()> done);
  // Looks at the times of all connections, as it does by itself every kSweepEvery once it listens.
  void sweep();

  // Calls `then` with the exchange, when its client is still there.
  template <typename Then>
  void with(const ExchangeId& id, Then&& then) {
    Connection* found = connection(id.connection);
    if (found == nullptr) return;
    Slot* slot = found->line().find(id.request);
    if (slot == nullptr) return;
    Exchange exchange(*this, *found, *slot);
    std::forward<Then>(then)(exchange);
  }
  // Any thread.
  template <typename Then>
  void post(const ExchangeId& id, Then&& then) {
    boost::asio::post(loop_.io(), [this, id, moved = std::forward<Then>(then)]() mutable {
      with(id, moved);
      flush();
    });
  }
  // What takes long: of such works one is done, then the others have their turn.
  void take_turns(std::function<void()> work);
  // Sends what was replied since the turn began.
  void flush() { links_.flush_dirty(); }

  [[nodiscard]] net::Loop& loop() { return loop_; }
  [[nodiscard]] Site& site() { return site_; }
  [[nodiscard]] const Router& router() const { return router_; }
  [[nodiscard]] Budget& budget() { return budget_; }
  [[nodiscard]] std::size_t connections() const { return links_.count(); }
  [[nodiscard]] std::string_view date_line();  // "Date: ...\r\n"
  // Streams of events, counted while they live. False: there are too many.
  [[nodiscard]] bool begin_stream();
  void end_stream() { --streams_; }

  // --- For connections ---
  [[nodiscard]] net::Links& links() { return links_; }
  [[nodiscard]] char* read_buffer() { return read_buffer_.get(); }
  // It is told when the budget has room again.
  void wait_for_budget(std::uint64_t connection) { waiting_.push_back(connection); }
  // When the handler that runs now is over.
  void remove_soon(std::uint64_t connection);

 private:
  [[nodiscard]] std::unique_ptr<net::Link> make_link(net::Arrival&& arrival) override;
  [[nodiscard]] Connection* connection(std::uint64_t id);
  void schedule_sweep();
  void do_next();
  void on_budget_free();

  net::Loop& loop_;
  Site& site_;
  const Router router_;
  Budget budget_{kBodyBudgetBytes};
  net::Links links_;
  boost::asio::steady_timer sweep_timer_;
  std::unique_ptr<char[]> read_buffer_;
  std::deque<std::uint64_t> waiting_;  // connections, for the budget
  bool budget_told_ = false;
  std::deque<std::function<void()>> works_;
  std::size_t streams_ = 0;
  std::string date_line_;
  std::int64_t date_second_ = -1;
  std::function<void()> closed_down_;
};

}  // namespace rq::http
