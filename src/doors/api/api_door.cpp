#include "doors/api/api_door.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/utf8.h"
#include "doors/api/routes.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;

}  // namespace

ApiDoor::ApiDoor(pipeline::Desk& to, pipeline::Readers& readers, pipeline::EventHub& events,
                 ApiSettings settings)
    : LoopDoor(to),
      readers_(readers),
      events_(events),
      settings_(std::move(settings)),
      log_watch_(to.loop().io()),
      started_(to.pipeline().clock().now()),
      server_(to.loop(), *this, http_routes()) {}

ApiDoor::~ApiDoor() = default;

base::Result<void> ApiDoor::listen() {
  // The lock of the directory is ours, so a socket that is there is left over.
  RQ_TRY_ASSIGN(here, net::listen_unix(settings_.dir / "run" / "rq.sock"));
  RQ_TRY(server_.listen(std::move(here)));
  if (!settings_.address.empty()) RQ_TRY(listen_to_address());
  return {};
}

base::Result<void> ApiDoor::listen_to_address() {
  RQ_TRY_ASSIGN(listener, net::listen_tcp("http", settings_.address));
  bound_address_ = fmt::format("{}:{}", listener.host, listener.port);
  // For whoever let the system pick the port.
  std::ofstream{settings_.dir / "run" / "http.addr"} << bound_address_ << '\n';
  for (const std::string& name :
       {listener.host, std::string{"localhost"}, std::string{"127.0.0.1"}, std::string{"[::1]"}}) {
    hosts_.push_back(fmt::format("{}:{}", name, listener.port));
    if (listener.port == 80) hosts_.push_back(name);
  }
  return server_.listen(std::move(listener));
}

void ApiDoor::close_down(std::function<void()> done) {
  ::unlink((settings_.dir / "run" / "rq.sock").c_str());
  server_.close_down(std::move(done));
}

// --- The site ---

std::optional<base::Error> ApiDoor::admit(const http::Head& head, const net::Caller& caller) {
  if (caller.unix_socket) return std::nullopt;
  // HTTP/1.0 has no Host; no browser speaks it.
  if (head.hosts == 0 && head.version >= 11) {
    return fail(Code::bad_request, "the request has no Host field", "send exactly one");
  }
  if (head.hosts > 0 && !host_allowed(head.host)) {
    return fail(Code::forbidden,
                fmt::format("Host '{}' is not served here", base::shown(head.host)),
                fmt::format("use {} or localhost with that port", bound_address_));
  }
  if (head.method == http::Method::get) return std::nullopt;
  // A page of another site may make a browser send requests here; they must change nothing.
  bool foreign = http::same_name(head.fields.find("Sec-Fetch-Site"), "cross-site");
  if (const std::string_view origin = head.fields.find("Origin"); !origin.empty()) {
    constexpr std::string_view kScheme = "http://";
    foreign =
        foreign || !origin.starts_with(kScheme) || !host_allowed(origin.substr(kScheme.size()));
  }
  if (!foreign) return std::nullopt;
  return fail(Code::forbidden, "a page of another site may not change anything here",
              "send it from a page of this server, or from a program");
}

bool ApiDoor::host_allowed(std::string_view host) const {
  return std::any_of(hosts_.begin(), hosts_.end(),
                     [&](const std::string& allowed) { return http::same_name(host, allowed); });
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
