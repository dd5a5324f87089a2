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

#include "base/number.h"
#include "base/utf8.h"
#include "doors/api/routes.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;

constexpr std::chrono::seconds kSocketLookEvery{1};

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
      server_(to.loop(), *this, http_routes()) {}

ApiDoor::~ApiDoor() = default;

base::Result<void> ApiDoor::listen() {
  RQ_TRY(listen_to_socket());
  look_after_socket();
  if (!settings_.address.empty()) RQ_TRY(listen_to_address());
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
        tell_address();  // with the folder that is gone as well
        spdlog::warn("{} was gone: it is made anew", socket_.string());
      } else {
        spdlog::error("{} is gone: {}; {}", socket_.string(), made.error().message,
                      made.error().remedy);
      }
    }
    look_after_socket();
  });
}

// For whoever let the system pick the port.
void ApiDoor::tell_address() const {
  if (bound_address_.empty()) return;
  const std::filesystem::path file = settings_.dir / "run" / "http.addr";
  ::unlink(file.c_str());  // what a link there points to is not written to
  std::ofstream{file} << bound_address_ << '\n';
}

base::Result<void> ApiDoor::listen_to_address() {
  RQ_TRY_ASSIGN(listener, net::listen_tcp("http", settings_.address));
  bound_address_ = fmt::format("{}:{}", listener.host, listener.port);
  tell_address();
  hosts_ = {listener.host, "localhost", "127.0.0.1", "[::1]"};
  return server_.listen(std::move(listener));
}

Surroundings ApiDoor::surroundings() {
  return {.hold = std::nullopt,
          .workers = workers_.presence(clock().now()),
          .dir = settings_.dir.native(),
          .clock_not_followed = clock().doubt()};
}

void ApiDoor::close_down(std::function<void()> done) {
  socket_timer_.cancel();
  bulk_jobs_.cancel_all();
  ::unlink(socket_.c_str());
  server_.close_down(std::move(done));
}

// --- The site ---

std::optional<base::Error> ApiDoor::admit(const http::Head& head, const net::Caller& caller) {
  if (caller.unix_socket) return std::nullopt;
  // HTTP/1.0 has no Host; no browser speaks it.
  if (head.hosts == 0 && head.version >= 11) {
    return fail(Code::bad_request, "the request has no Host field", "send exactly one");
  }
  // The next request is mostly for the same one.
  if (head.hosts > 0 && (head.host.empty() || head.host != admitted_host_)) {
    if (!host_allowed(head.host)) {
      return fail(Code::forbidden,
                  fmt::format("Host '{}' is not served here", base::shown(head.host)),
                  fmt::format("use {}, or localhost with the port of your tunnel", bound_address_));
    }
    admitted_host_ = head.host;
  }
  if (head.method == http::Method::get) return std::nullopt;
  // A page of another site may make a browser send requests here; they must change nothing.
  bool foreign = http::same_name(head.fields.find("Sec-Fetch-Site"), "cross-site");
  if (const std::string_view origin = head.fields.find("Origin"); !origin.empty()) {
    constexpr std::string_view kScheme = "http://";
    foreign = foreign || !origin.starts_with(kScheme) ||
              !http::same_name(origin.substr(kScheme.size()), head.host);
  }
  if (!foreign) return std::nullopt;
  return fail(Code::forbidden, "a page of another site may not change anything here",
              "send it from a page of this server, or from a program");
}

// Over TCP everybody is nobody: any user of this machine, and whoever has a tunnel to it. A program
// of a queue runs as the user of the worker.
std::optional<base::Error> ApiDoor::permit(const http::Route& route, const net::Caller& caller) {
  if (static_cast<Right>(route.right) != Right::define) return std::nullopt;
  if (caller.unix_socket || settings_.define_over_tcp) return std::nullopt;
  return fail(
      Code::forbidden,
      "queues cannot be made, changed or deleted over TCP: their settings say which programs run",
      fmt::format(
          "use the unix socket {} (rq does, where neither --server nor RQ_SERVER is given), "
          "or set define_over_tcp = true in {} and restart the server",
          socket_.string(), (settings_.dir / "rq.toml").string()));
}

// A name of this machine, with any port: `ssh -L 9999:...` comes with its own. A page of another
// site, whatever its name resolves to, comes with that name.
bool ApiDoor::host_allowed(std::string_view host) const {
  return std::any_of(hosts_.begin(), hosts_.end(), [host](const std::string& allowed) {
    if (!http::same_name(host.substr(0, allowed.size()), allowed)) return false;
    const std::string_view rest = host.substr(allowed.size());
    // An empty port is the usual one (RFC 3986, 3.2.3).
    return rest.empty() || rest == ":" ||
           (rest.front() == ':' && base::whole_number<std::uint16_t>(rest.substr(1)));
  });
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

std::string ApiDoor::base_url() const {
  // Without HTTP on an address ids have no host: "/q/QUEUE/ID".
  return bound_address_.empty() ? "/" : fmt::format("http://{}/", bound_address_);
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
