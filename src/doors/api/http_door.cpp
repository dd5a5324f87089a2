#include "doors/api/http_door.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>

#include "base/limits.h"
#include "net/listener.h"

namespace rq::doors::api {

HttpDoor::HttpDoor(pipeline::Desk& to, pipeline::Readers& readers, pipeline::EventHub& events,
                   HttpSettings settings)
    : LoopDoor(to),
      links_(to.loop(), *this),
      readers_(readers),
      events_(events),
      settings_(std::move(settings)),
      router_(route_table()),
      log_watch_(to.loop().io()),
      started_(to.pipeline().clock().now()),
      sweep_timer_(to.loop().io()),
      read_buffer_(std::make_unique<char[]>(base::kHttpReadBytes)) {}

// Links first: what they hold uses the door.
HttpDoor::~HttpDoor() { links_.clear(); }

base::Result<void> HttpDoor::listen() {
  // The lock of the directory is ours, so a socket that is there is left over.
  RQ_TRY_ASSIGN(here, net::listen_unix(settings_.dir / "run" / "rq.sock"));
  RQ_TRY(links_.listen(here));
  if (!settings_.address.empty()) RQ_TRY(listen_to_address());
  schedule_sweep();
  return {};
}

base::Result<void> HttpDoor::listen_to_address() {
  RQ_TRY_ASSIGN(listener, net::listen_tcp("http", settings_.address));
  RQ_TRY(links_.listen(listener));
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

std::unique_ptr<net::Link> HttpDoor::make_link(net::Arrival&& arrival) {
  return std::make_unique<Connection>(*this, std::move(arrival));
}

Connection* HttpDoor::connection(std::uint64_t id) {
  return static_cast<Connection*>(links_.find(id));
}

void HttpDoor::remove(net::Link& link) {
  links_.remove(link);
  if (links_.count() == 0 && closed_down_) std::exchange(closed_down_, nullptr)();
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
  links_.flush_dirty();
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
  desk().submit({.door = door_number(), .connection = 0, .request = 0}, std::move(finish));
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
    links_.for_each([](net::Link& link) { static_cast<Connection&>(link).sweep(); });
    links_.flush_dirty();
    schedule_sweep();
  });
}

void HttpDoor::close_down(std::function<void()> done) {
  links_.stop_listening();
  ::unlink((settings_.dir / "run" / "rq.sock").c_str());
  if (links_.count() == 0) {
    done();
    return;
  }
  closed_down_ = std::move(done);
  links_.for_each([](net::Link& link) { static_cast<Connection&>(link).close_when_idle(); });
}

}  // namespace rq::doors::api
