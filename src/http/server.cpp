#include "http/server.h"

#include <ctime>

namespace rq::http {

Server::Server(net::Loop& loop, Site& site, std::span<const Route> routes)
    : loop_(loop),
      site_(site),
      router_(routes),
      links_(loop, *this),
      sweep_timer_(loop.io()),
      read_buffer_(std::make_unique<char[]>(kReadBytes)) {
  budget_.on_free([this] { on_budget_free(); });
}

// Links first: what their exchanges keep uses the server.
Server::~Server() {
  budget_.on_free({});
  links_.clear();
}

base::Result<void> Server::listen(net::Listener&& listener) {
  RQ_TRY(links_.listen(std::move(listener)));
  schedule_sweep();
  return {};
}

bool Server::adopt(std::unique_ptr<net::Channel> channel) {
  return links_.adopt(std::move(channel)) != nullptr;
}

std::unique_ptr<net::Link> Server::make_link(net::Arrival&& arrival) {
  return std::make_unique<Connection>(*this, std::move(arrival));
}

Connection* Server::connection(std::uint64_t id) {
  return static_cast<Connection*>(links_.find(id));
}

void Server::remove_soon(std::uint64_t connection) {
  boost::asio::post(loop_.io(), [this, connection] {
    net::Link* link = links_.find(connection);
    if (link != nullptr) links_.remove(*link);
    if (links_.count() == 0 && closed_down_) std::exchange(closed_down_, nullptr)();
  });
}

std::string_view Server::date_line() {
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

bool Server::begin_stream() {
  if (streams_ >= kEventStreamsMax) return false;
  ++streams_;
  return true;
}

void Server::sweep() {
  links_.for_each([](net::Link& link) { static_cast<Connection&>(link).sweep(); });
  flush();
}

void Server::schedule_sweep() {
  // A second listener needs no second timer: the first wait is cancelled.
  sweep_timer_.expires_after(kSweepEvery);
  sweep_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    sweep();
    schedule_sweep();
  });
}

void Server::take_turns(std::function<void()> work) {
  works_.push_back(std::move(work));
  if (works_.size() == 1) do_next();
}

void Server::do_next() {
  boost::asio::post(loop_.io(), [this] {
    works_.front()();
    works_.pop_front();
    flush();
    if (!works_.empty()) do_next();
  });
}

// Posted: a share may be given back anywhere.
void Server::on_budget_free() {
  if (waiting_.empty() || budget_told_) return;
  budget_told_ = true;
  boost::asio::post(loop_.io(), [this] {
    budget_told_ = false;
    // In the order they came: a small body does not overtake a large one for ever.
    while (!waiting_.empty()) {
      Connection* found = connection(waiting_.front());
      if (found != nullptr && !found->on_budget()) break;
      waiting_.pop_front();
    }
    flush();
  });
}

void Server::close_down(std::function<void()> done) {
  links_.stop_listening();
  if (links_.count() == 0) {
    done();
    return;
  }
  closed_down_ = std::move(done);
  links_.for_each([](net::Link& link) { static_cast<Connection&>(link).close_when_idle(); });
}

}  // namespace rq::http
