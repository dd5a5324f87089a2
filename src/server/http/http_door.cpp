#include "server/http/http_door.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <fstream>

#include <boost/asio/ip/address.hpp>

#include "base/limits.h"

namespace rq::server::http {
namespace {

namespace asio = boost::asio;
using base::Code;
using base::fail;
using Tcp = asio::ip::tcp;
using Unix = asio::local::stream_protocol;

// The place of a connection in the table is in the low bits of its id.
// 64 connections with one put each: 59,000 a second with 64, 65,000 with 8, which leaves the
// parsing to run beside the engine.
constexpr std::size_t kRunHereMax = 8;
constexpr unsigned kPlaceBits = 20;
static_assert(base::kConnectionsMax < (1U << kPlaceBits));
constexpr std::chrono::milliseconds kAcceptPause{100};  // after running out of descriptors

base::Result<Tcp::endpoint> parse_address(const std::string& text) {
  const auto bad = [&](std::string_view why) {
    return fail(Code::bad_value, fmt::format("http address '{}': {}", text, why),
                "give ADDRESS:PORT, such as 127.0.0.1:3333 or [::1]:3333");
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad("it has no port");
  std::string host = text.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc{} || stop != end) return bad("the port is not a number up to 65535");
  boost::system::error_code ec;
  const auto address = asio::ip::make_address(host, ec);
  if (ec) return bad("it is no IP address");
  if (!address.is_loopback()) {
    return fail(Code::forbidden,
                fmt::format("http address '{}' can be reached from other machines", text),
                "rq has no authentication yet, so it listens on loopback addresses only: use "
                "127.0.0.1:PORT, and a tunnel (ssh -L) from elsewhere");
  }
  return Tcp::endpoint{address, port};
}

}  // namespace

HttpDoor::HttpDoor(Loop& loop, Readers& readers, EventHub& events, HttpSettings settings)
    : LoopDoor(loop, kRunHereMax),
      readers_(readers),
      events_(events),
      settings_(std::move(settings)),
      router_(route_table()),
      log_watch_(loop.io()),
      started_(loop.pipeline().clock().now()),
      unix_acceptor_(loop.io()),
      tcp_acceptor_(loop.io()),
      accept_pause_(loop.io()),
      sweep_timer_(loop.io()),
      read_buffer_(std::make_unique<char[]>(base::kHttpReadBytes)) {}

HttpDoor::~HttpDoor() = default;

base::Result<void> HttpDoor::listen() {
  RQ_TRY(listen_unix());
  if (!settings_.address.empty()) RQ_TRY(listen_tcp());
  accept(unix_acceptor_, true);
  if (tcp_acceptor_.is_open()) accept(tcp_acceptor_, false);
  schedule_sweep();
  return {};
}

base::Result<void> HttpDoor::listen_unix() {
  const std::filesystem::path path = settings_.dir / "run" / "rq.sock";
  const auto failed = [&](const boost::system::error_code& error) {
    return fail(Code::internal,
                fmt::format("cannot listen on {}: {}", path.string(), error.message()),
                "check the rights of the directory");
  };
  if (path.native().size() >= sizeof(sockaddr_un::sun_path)) {
    return fail(
        Code::bad_value, fmt::format("the path of the socket is too long: {}", path.string()),
        fmt::format("choose a directory with a shorter name; {} bytes are the system's limit",
                    sizeof(sockaddr_un::sun_path) - 1));
  }
  boost::system::error_code error;
  // The lock of the directory is ours, so a socket that is there is left over.
  ::unlink(path.c_str());
  unix_acceptor_.open(Unix{}, error);
  if (error) return failed(error);
  unix_acceptor_.bind(Unix::endpoint{path.string()}, error);
  if (error) return failed(error);
  if (::chmod(path.c_str(), 0660) != 0) {
    return failed({errno, boost::system::system_category()});
  }
  unix_acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return failed(error);
  return {};
}

base::Result<void> HttpDoor::listen_tcp() {
  RQ_TRY_ASSIGN(endpoint, parse_address(settings_.address));
  boost::system::error_code error;
  const auto attempt = [&](auto&& step) {
    if (!error) step();
  };
  attempt([&] { tcp_acceptor_.open(endpoint.protocol(), error); });
  attempt([&] { tcp_acceptor_.set_option(Tcp::acceptor::reuse_address(true), error); });
  attempt([&] { tcp_acceptor_.bind(endpoint, error); });
  attempt([&] { tcp_acceptor_.listen(asio::socket_base::max_listen_connections, error); });
  if (!error) endpoint = tcp_acceptor_.local_endpoint(error);
  if (error) {
    return fail(Code::internal,
                fmt::format("cannot listen on {}: {}", settings_.address, error.message()),
                "give another port with --http ADDRESS:PORT, or end what uses this one");
  }
  const std::string host = endpoint.address().is_v6()
                               ? fmt::format("[{}]", endpoint.address().to_string())
                               : endpoint.address().to_string();
  bound_address_ = fmt::format("{}:{}", host, endpoint.port());
  // For whoever let the system pick the port.
  std::ofstream{settings_.dir / "run" / "http.addr"} << bound_address_ << '\n';
  for (const std::string& name :
       {host, std::string{"localhost"}, std::string{"127.0.0.1"}, std::string{"[::1]"}}) {
    hosts_.push_back(fmt::format("{}:{}", name, endpoint.port()));
    if (endpoint.port() == 80) hosts_.push_back(name);
  }
  return {};
}

template <typename Acceptor>
void HttpDoor::accept(Acceptor& acceptor, bool unix_socket) {
  acceptor.async_accept([this, &acceptor, unix_socket](const boost::system::error_code& error,
                                                       auto socket) {
    if (closing_down_ || error == asio::error::operation_aborted) return;
    if (error) {
      // Out of descriptors, most likely: trying again at once would only burn the processor.
      accept_pause_.expires_after(kAcceptPause);
      accept_pause_.async_wait([this, &acceptor, unix_socket](const boost::system::error_code& e) {
        if (!e) accept(acceptor, unix_socket);
      });
      return;
    }
    if constexpr (std::is_same_v<Acceptor, Tcp::acceptor>) {
      boost::system::error_code ignored;
      socket.set_option(Tcp::no_delay(true), ignored);
    }
    add(Connection::Socket(std::move(socket)), unix_socket);
    accept(acceptor, unix_socket);
  });
}

void HttpDoor::add(Connection::Socket&& socket, bool unix_socket) {
  if (static_cast<std::size_t>(open_count_) >= base::kConnectionsMax) {
    spdlog::warn("http: {} connections are open, one more is refused", open_count_);
    return;  // the socket closes itself
  }
  if (free_places_.empty()) {
    free_places_.push_back(static_cast<std::uint32_t>(connections_.size()));
    connections_.emplace_back();
  }
  const std::uint32_t place = free_places_.back();
  free_places_.pop_back();
  const std::uint64_t id = ++serial_ << kPlaceBits | place;
  connections_[place] = std::make_unique<Connection>(*this, std::move(socket), id, unix_socket);
  ++open_count_;
  connections_[place]->start();
}

Connection* HttpDoor::find(std::uint64_t connection) {
  const std::size_t place = connection & ((1U << kPlaceBits) - 1U);
  if (place >= connections_.size()) return nullptr;
  Connection* found = connections_[place].get();
  return found != nullptr && found->id() == connection ? found : nullptr;
}

void HttpDoor::remove(Connection& connection) {
  const auto place = static_cast<std::uint32_t>(connection.id() & ((1U << kPlaceBits) - 1U));
  connections_[place].reset();
  free_places_.push_back(place);
  --open_count_;
  if (closing_down_ && open_count_ == 0 && closed_down_) std::exchange(closed_down_, nullptr)();
}

void HttpDoor::touch(Connection& connection) {
  if (connection.dirty) return;
  connection.dirty = true;
  dirty_.push_back(&connection);
}

void HttpDoor::flush_dirty() {
  // By index: flushing one may let it read on, and that makes more to flush.
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    dirty_[i]->dirty = false;
    dirty_[i]->flush();
  }
  dirty_.clear();
}

void HttpDoor::schedule_flush() {
  if (flush_scheduled_) return;
  flush_scheduled_ = true;
  asio::post(loop().io(), [this] {
    flush_scheduled_ = false;
    flush_dirty();
  });
}

void HttpDoor::on_deliveries(std::vector<core::Delivery>& deliveries) {
  for (core::Delivery& delivery : deliveries) {
    Connection* connection = find(delivery.ticket.connection);
    Slot* slot = connection == nullptr ? nullptr : connection->find(delivery.ticket.request);
    if (slot == nullptr) {
      if (auto* reserved = std::get_if<core::Reserved>(&delivery.reply))
        give_back(reserved->messages);
      continue;
    }
    connection->wait_ends(*slot);
    Exchange exchange(*this, *connection, *slot);
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
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      if (connections_[i]) connections_[i]->sweep();
    }
    flush_dirty();
    schedule_sweep();
  });
}

void HttpDoor::close_down(std::function<void()> done) {
  closing_down_ = true;
  boost::system::error_code ignored;
  unix_acceptor_.close(ignored);
  tcp_acceptor_.close(ignored);
  ::unlink((settings_.dir / "run" / "rq.sock").c_str());
  if (open_count_ == 0) {
    done();
    return;
  }
  closed_down_ = std::move(done);
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    if (connections_[i]) connections_[i]->close_when_idle();
  }
}

}  // namespace rq::server::http
