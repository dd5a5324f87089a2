#include "doors/api/http_door.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>

#include "base/limits.h"
#include "doors/listen.h"

namespace rq::doors::api {
namespace {

enum Kind : int { on_tcp, on_unix };

}  // namespace

HttpDoor::HttpDoor(pipeline::Loop& loop, pipeline::Readers& readers, pipeline::EventHub& events,
                   HttpSettings settings)
    : SocketDoor(loop),
      readers_(readers),
      events_(events),
      settings_(std::move(settings)),
      router_(route_table()),
      log_watch_(loop.io()),
      started_(loop.pipeline().clock().now()),
      sweep_timer_(loop.io()),
      read_buffer_(std::make_unique<char[]>(base::kHttpReadBytes)) {}

HttpDoor::~HttpDoor() { drop_links(); }

base::Result<void> HttpDoor::listen() {
  // The lock of the directory is ours, so a socket that is there is left over.
  RQ_TRY_ASSIGN(here, listen_unix(settings_.dir / "run" / "rq.sock"));
  RQ_TRY(accept_from(here.fd, on_unix));
  if (!settings_.address.empty()) RQ_TRY(listen_to_address());
  schedule_sweep();
  return {};
}

base::Result<void> HttpDoor::listen_to_address() {
  RQ_TRY_ASSIGN(listener, listen_tcp("http", settings_.address));
  RQ_TRY(accept_from(listener.fd, on_tcp));
  bound_address_ = fmt::format("{}:{}", listener.host, listener.port);
  // For whoever let the system pick the port.
  std::ofstream{settings_.dir / "run" / "http.addr"} << bound_address_ << '\n';
  for (const std::string& name :
       {listener.host, std::string{"localhost"}, std::string{"127.0.0.1"}, std::string{"[::1]"}}) {
    hosts_.push_back(fmt::format("{}:{}", name, listener.port));
    if (listener.port == 80) hosts_.push_back(name);
  }
  return {};
}

std::unique_ptr<SocketDoor::Link> HttpDoor::make_link(std::uint64_t id, int fd, int kind) {
  return std::make_unique<Connection>(*this, id, fd, kind == on_unix);
}

Connection* HttpDoor::connection(std::uint64_t id) { return static_cast<Connection*>(find(id)); }

void HttpDoor::remove(Link& link) {
  SocketDoor::remove(link);
  if (open_count() == 0 && closed_down_) std::exchange(closed_down_, nullptr)();
}

void HttpDoor::on_deliveries(std::vector<core::Delivery>& deliveries) {
  for (core::Delivery& delivery : deliveries) {
    Connection* found = connection(delivery.ticket.connection);
    Slot* slot = found == nullptr ? nullptr : found->find(delivery.ticket.request);
    if (slot == nullptr) {
      if (auto* reserved = std::get_if<core::Reserved>(&delivery.reply))
        give_back(reserved->messages);
      continue;
    }
    found->wait_ends(*slot);
    Exchange exchange(*this, *found, *slot);
    const auto* error = std::get_if<base::Error>(&delivery.reply);
    if (error != nullptr && !slot->raw) {
      exchange.refuse(*error);
    } else {
      slot->render(exchange, delivery.reply);
    }
  }
  flush_dirty();
}

// The client of a reserve went away before its answer came: nothing shall wait for the lease's end.
void HttpDoor::give_back(const std::vector<core::Message>& messages) {
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
  loop().submit({.door = door_number(), .connection = 0, .request = 0}, std::move(finish));
}

const std::string* HttpDoor::queue_name(core::QueueId id) const {
  const auto found = queue_names_.find(id);
  return found == queue_names_.end() ? nullptr : &found->second;
}

void HttpDoor::learn_queues(const core::QueuesListed& listed) {
  queue_names_.clear();
  for (const core::QueueShown& shown : listed.queues) {
    queue_names_.emplace(shown.queue.id, shown.queue.name);
  }
}

bool HttpDoor::host_allowed(std::string_view host) const {
  return std::any_of(hosts_.begin(), hosts_.end(), [&](const std::string& allowed) {
    return std::equal(host.begin(), host.end(), allowed.begin(), allowed.end(),
                      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
  });
}

std::string_view HttpDoor::date_line() {
  const std::time_t now = std::time(nullptr);
  if (now != date_second_) {
    date_second_ = now;
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    char line[64];
    const std::size_t size =
        std::strftime(line, sizeof line, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    date_line_.assign(line, size);
  }
  return date_line_;
}

bool HttpDoor::begin_stream() {
  if (streams_ >= base::kSseStreamsMax) return false;
  ++streams_;
  return true;
}

void HttpDoor::schedule_sweep() {
  sweep_timer_.expires_after(base::kHttpSweepEvery);
  sweep_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    for_each([](Link& link) { static_cast<Connection&>(link).sweep(); });
    flush_dirty();
    schedule_sweep();
  });
}

void HttpDoor::close_down(std::function<void()> done) {
  stop_listening();
  ::unlink((settings_.dir / "run" / "rq.sock").c_str());
  if (open_count() == 0) {
    done();
    return;
  }
  closed_down_ = std::move(done);
  for_each([](Link& link) { static_cast<Connection&>(link).close_when_idle(); });
}

}  // namespace rq::doors::api
