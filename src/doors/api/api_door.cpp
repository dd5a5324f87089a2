#include "doors/api/api_door.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <boost/asio/post.hpp>

#include "doors/api/permission.h"
#include "doors/api/routes.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;

constexpr std::chrono::seconds kSocketLookEvery{1};
constexpr std::string_view kPlain = "http://";

}  // namespace

ApiDoor::ApiDoor(pipeline::Desk& to, pipeline::Readers& readers, pipeline::EventHub& events,
                 ApiSettings settings)
    : LoopDoor(to),
      readers_(readers),
      events_(events),
      settings_(std::move(settings)),
      log_watch_(to.loop().io()),
      bulk_jobs_(to, readers),
      socket_(settings_.dir / "run" / "rq.sock"),
      socket_timer_(to.loop().io()),
      started_(to.pipeline().clock().now()),
      entrance_(*this, settings_.policy),
      server_(to.loop(), *this, http_routes()) {}

ApiDoor::~ApiDoor() = default;

base::Result<void> ApiDoor::listen(std::vector<net::Listener> listeners) {
  RQ_TRY(listen_to_socket());
  look_after_socket();
  boost::asio::post(server_.loop().io(), [this] { entrance_.read_tokens(); });
  for (net::Listener& listener : listeners) RQ_TRY(listen_to(std::move(listener)));
  tell_addresses();
  return {};
}

base::Result<void> ApiDoor::listen_to_socket() {
  // Its folder may have been cleaned up as well.
  std::error_code no_folder;  // then the socket says why
  if (std::filesystem::create_directory(socket_.parent_path(), no_folder)) {
    ::chmod(socket_.parent_path().c_str(), 0700);
  }
  // The lock of the directory is ours, so a socket that is there is left over.
  RQ_TRY_ASSIGN(here, net::listen_unix(socket_));
  RQ_TRY(server_.listen(std::move(here)));
  struct stat info {};
  socket_inode_ = ::stat(socket_.c_str(), &info) == 0 ? info.st_ino : 0;
  return {};
}

// Somebody who cleans up may take the file of the socket away; without it nobody finds the server.
void ApiDoor::look_after_socket() {
  socket_timer_.expires_after(kSocketLookEvery);
  socket_timer_.async_wait([this](const boost::system::error_code& stopped) {
    if (stopped) return;
    struct stat info {};
    if (::stat(socket_.c_str(), &info) != 0 || info.st_ino != socket_inode_) {
      const auto made = listen_to_socket();
      if (made) {
        tell_addresses();  // with the folder that is gone as well
        spdlog::warn("{} was gone: it is made anew", socket_.string());
      } else {
        spdlog::error("{} is gone: {}; {}", socket_.string(), made.error().message,
                      made.error().remedy);
      }
    }
    entrance_.end_streams_of_the_gone();
    look_after_socket();
  });
}

// For whoever let the system pick the port.
void ApiDoor::tell_addresses() const {
  if (addresses_.empty()) return;
  const std::filesystem::path file = settings_.dir / "run" / "http.addr";
  ::unlink(file.c_str());  // what a link there points to is not written to
  std::ofstream out{file};
  for (const std::string_view address : addresses_) {
    out << (address.starts_with(kPlain) ? address.substr(kPlain.size()) : address) << '\n';
  }
}

base::Result<void> ApiDoor::listen_to(net::Listener&& listener) {
  addresses_.push_back(fmt::format("{}{}", listener.tls ? "https://" : kPlain, listener.address()));
  entrance_.serve_as(listener.host, addresses_.front());
  return server_.listen(std::move(listener));
}

void ApiDoor::renew(std::shared_ptr<const net::Tls> tls) {
  boost::asio::post(server_.loop().io(), [this, shown = std::move(tls)] { server_.renew(shown); });
}

Surroundings ApiDoor::surroundings() {
  return {.hold = std::nullopt,
          .workers = workers_.presence(clock().now()),
          .dir = settings_.dir.native(),
          .clock_not_followed = clock().doubt()};
}

void ApiDoor::set_policy(access::Policy policy) {
  boost::asio::post(server_.loop().io(), [this, moved = std::move(policy)]() mutable {
    entrance_.callers().set_policy(std::move(moved));
  });
}

void ApiDoor::close_down(std::function<void()> done) {
  socket_timer_.cancel();
  entrance_.close();
  bulk_jobs_.cancel_all();
  ::unlink(socket_.c_str());
  server_.close_down(std::move(done));
}

// --- The site ---

base::Result<http::Who> ApiDoor::admit(const http::Head& head, const net::Caller& caller) {
  return entrance_.admit(head, caller);
}

std::chrono::milliseconds ApiDoor::pause_before(const base::Error& refusal,
                                                const net::Caller& caller) {
  return entrance_.pause_before(refusal, caller);
}

std::optional<base::Error> ApiDoor::permit(const http::Route& route,
                                           const http::PathParameters& parameters,
                                           const http::Who& who) {
  const auto& caller = *static_cast<const core::Caller*>(who.get());
  if (may_use(caller.rights, route, parameters)) return std::nullopt;
  return refused_to(caller, route, parameters, settings_.dir);
}

base::Result<http::Intake> ApiDoor::open(http::Exchange& exchange, const Request& request) {
  const Route& route = route_table()[request.route];
  if (route.open == nullptr) return http::Intake{};
  Exchange x(*this, exchange);
  return route.open(x, request);
}

void ApiDoor::serve(http::Exchange& exchange, const Request& request) {
  Exchange x(*this, exchange);
  route_table()[request.route].handler(x, request);
}

void ApiDoor::append_error(std::string& body, const base::Error& error) const {
  body += error_json(error);
}

// --- The engine ---

void ApiDoor::on_deliveries(std::vector<core::Delivery>& deliveries) {
  for (core::Delivery& delivery : deliveries) {
    entrance_.look_at(delivery);
    bool there = false;
    server_.with({.connection = delivery.ticket.connection, .request = delivery.ticket.request},
                 [&](http::Exchange& found) {
                   auto* asked = static_cast<Asked*>(found.extra());
                   if (asked == nullptr || asked->render == nullptr) return;
                   there = true;
                   asked->waits = false;
                   found.unwatch_peer();
                   Exchange x(*this, found);
                   const auto* error = std::get_if<base::Error>(&delivery.reply);
                   if (error != nullptr && !asked->raw) return x.refuse(*error);
                   asked->render(x, delivery.reply);
                 });
    if (there) continue;
    if (auto* reserved = std::get_if<core::Reserved>(&delivery.reply)) {
      give_back(reserved->messages);
    }
  }
  server_.flush();
}

std::string ApiDoor::base_url() const {
  // Without HTTP on an address ids have no host: "/q/QUEUE/ID".
  return addresses_.empty() ? "/" : fmt::format("{}/", addresses_.front());
}

// The client of a reserve went away before its answer came: nothing shall wait for the lease's end.
void ApiDoor::give_back(const std::vector<core::Message>& messages) {
  if (messages.empty()) return;
  core::Finish finish;
  for (const core::Message& message : messages) {
    core::Finish::Item item;
    item.token = {
        .seq = message.seq, .attempt = message.lease->attempt, .boot = message.lease->boot};
    item.outcome = core::Outcome::release;
    item.reason = "the client was gone before its answer";
    finish.items.push_back(std::move(item));
  }
  desk().submit({.door = door_number(), .connection = 0, .request = 0}, std::move(finish));
}

}  // namespace rq::doors::api
