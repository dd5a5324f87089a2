#include "server/beanstalk/door.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>

#include "base/check.h"
#include "base/limits.h"
#include "server/beanstalk/stats.h"

namespace rq::server::beanstalk {
namespace {

using base::Code;
using base::fail;
using base::kBeanstalkReadBytes;

// 50 connections with one command each: 27,000 lives a second with 64, 24,000 with 8.
constexpr std::size_t kRunHereMax = 64;
constexpr std::uint64_t kListenerId = 0;
constexpr unsigned kPlaceBits = 20;  // of an id: the place in links_; above it the generation
constexpr std::uint64_t kPlaceMask = (std::uint64_t{1} << kPlaceBits) - 1;
static_assert(base::kConnectionsMax <= kPlaceMask);
constexpr int kBacklog = 1024;
constexpr std::size_t kEventsPerTurn = 512;
// Looking on: one connection with one command, 3,320 lives without, 3,480 with.
constexpr std::chrono::microseconds kLinger{40};
constexpr int kLingerPause = 32;  // turns, after one that was in vain
constexpr int kLooksPerTurn =
    4;  // 50 connections with one command each: 29,900 lives, 26,800 with 1
// Below this much room behind what is there already, the scratch buffer is not worth the copy.
constexpr std::size_t kRoomMin = 64 * base::kKiB;
constexpr std::size_t kBufferKept = 4 * base::kKiB;  // by a connection with nothing to do
static_assert(kBeanstalkReadBytes > 2 * kRoomMin);

base::Error no_address(std::string_view address, std::string_view why) {
  return fail(Code::bad_value, fmt::format("beanstalk address '{}': {}", address, why),
              "give ADDR:PORT, for example 127.0.0.1:11300");
}

// The server's clock may be slewed; what was read once is believed a thousandth less each second.
constexpr std::int64_t kDriftPart = 1000;

std::int64_t steady_ms() {
  return std::chrono::duration_cast<base::Millis>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string make_run_id() {
  // Tells two runs of a server apart, as beanstalkd's own does: 8 bytes in hex.
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const auto mixed =
      (static_cast<std::uint64_t>(now) ^ (static_cast<std::uint64_t>(getpid()) << 40U)) *
      0x9E3779B97F4A7C15ULL;
  return fmt::format("{:016x}", mixed);
}

}  // namespace

BeanstalkDoor::BeanstalkDoor(Loop& loop, DoorOptions options)
    : LoopDoor(loop, kRunHereMax),
      options_{.body_bytes_max = std::min(options.body_bytes_max, base::kPayloadBytesMax)},
      run_id_(make_run_id()),
      clock_(loop.pipeline().clock()),
      started_(clock_.now()),
      epoll_(loop.io()) {
  ahead_ms_ = base::to_ms(started_) - steady_ms();
  // Place 0 is the listener's: no connection has its id.
  links_.emplace_back();
}

BeanstalkDoor::~BeanstalkDoor() {
  for (const auto& link : links_) {
    if (link != nullptr) ::close(link->fd);
  }
  if (listener_ >= 0) ::close(listener_);
}

base::Result<void> BeanstalkDoor::listen(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return no_address(address, "there is no port");
  std::string_view host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  const std::string digits(address.substr(colon + 1));
  const bool number = !digits.empty() && digits.size() <= 5 &&
                      digits.find_first_not_of("0123456789") == std::string::npos;
  if (!number || std::stoi(digits) > 65535) return no_address(address, "the port is no port");
  boost::system::error_code error;
  const auto ip = boost::asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
  if (error) return no_address(address, "this is no IP address");
  if (!ip.is_loopback()) {
    return fail(Code::forbidden,
                fmt::format("beanstalk address '{}' is open to other machines", address),
                "use 127.0.0.1: the protocol knows no passwords");
  }

  sockaddr_storage bound{};
  socklen_t length = 0;
  const auto port = htons(static_cast<std::uint16_t>(std::stoi(digits)));
  if (ip.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = port;
    v4.sin_addr.s_addr = htonl(ip.to_v4().to_uint());
    std::memcpy(&bound, &v4, sizeof v4);
    length = sizeof v4;
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = port;
    const auto bytes = ip.to_v6().to_bytes();
    std::memcpy(&v6.sin6_addr, bytes.data(), bytes.size());
    std::memcpy(&bound, &v6, sizeof v6);
    length = sizeof v6;
  }
  const auto failed = [&](std::string_view what) {
    return fail(Code::internal,
                fmt::format("beanstalk address '{}': {}: {}", address, what, std::strerror(errno)),
                "choose another port, or stop what listens there");
  };
  listener_ = ::socket(bound.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener_ < 0) return failed("no socket");
  const int on = 1;
  ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto* name = reinterpret_cast<const sockaddr*>(&bound);
  if (::bind(listener_, name, length) != 0) return failed("cannot be bound");
  if (::listen(listener_, kBacklog) != 0) return failed("cannot be listened on");
  socklen_t size = sizeof bound;
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &size);
  sockaddr_in with_port{};
  std::memcpy(&with_port, &bound, sizeof with_port);  // the port stands at one place in both forms
  port_ = ntohs(with_port.sin_port);

  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return failed("no epoll");
  epoll_.assign(epoll);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kListenerId;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, listener_, &event) != 0) return failed("no epoll");
  scratch_.resize(kBeanstalkReadBytes);
  wait();
  return {};
}

// --- Host ---

void BeanstalkDoor::submit(const core::Ticket& ticket, core::Command&& command) {
  core::Ticket full = ticket;
  full.door = door_number();
  loop().submit(full, std::move(command));
}

// The server's clock is as old as the last batch; the machine's steady one carries it on.
base::Instant BeanstalkDoor::now() const {
  if (clock_.manual()) return clock_.now();
  return base::from_ms(steady_ms() + ahead_ms_);
}

// After a batch. Its reading is from before its commit, so the largest of late is the truest.
void BeanstalkDoor::read_clock() {
  if (clock_.manual()) return;
  const std::int64_t steady = steady_ms();
  const std::int64_t ahead = base::to_ms(clock_.now()) - steady;
  const std::int64_t drift = (steady - read_at_ms_) / kDriftPart;
  if (ahead >= ahead_ms_ - drift || ahead_ms_ - ahead > kStepMin.count()) {
    ahead_ms_ = ahead;
    read_at_ms_ = steady;
  }
}

std::string BeanstalkDoor::stats(const core::EngineStatsDone& engine) const {
  const auto up = std::chrono::floor<std::chrono::seconds>(now() - started_);
  return stats_of_server(engine, totals, tubes,
                         {.uptime_s = std::max<std::int64_t>(0, up.count()),
                          .body_bytes_max = options_.body_bytes_max,
                          .draining = draining_,
                          .id = run_id_});
}

// --- Turns ---

void BeanstalkDoor::wait() {
  epoll_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [this](const boost::system::error_code& error) {
                      if (error) return;
                      if (loop().gather([this] { turn(); })) linger();
                      wait();
                    });
}

// A client that is quick has its next command here before the loop has gone to sleep and been woken
// again. So the loop looks on for a moment, while nobody else has work; not where that was in vain
// of late.
void BeanstalkDoor::linger() {
  if (in_vain_ > 0) {
    --in_vain_;
    return;
  }
  pollfd next{.fd = epoll_.native_handle(), .events = POLLIN, .revents = 0};
  const auto end = std::chrono::steady_clock::now() + kLinger;
  while (::poll(&next, 1, 0) == 0) {
    if (std::chrono::steady_clock::now() < end) continue;
    in_vain_ = kLingerPause;
    return;
  }
}

void BeanstalkDoor::turn() {
  // While some are read, others have something to say: what comes in time goes in the same batch.
  std::size_t served = 0;
  for (int look = 0; look < kLooksPerTurn && read_ready(); ++look) {
    served += serving_.size();
    if (served >= links_.size() - free_.size() - 1) break;  // all have spoken
  }
  flush_dirty();
  turn_again();
}

// Some have more than a turn's piece: the others, and the engine, go first.
void BeanstalkDoor::turn_again() {
  if (ready_.empty() || turn_posted_) return;
  turn_posted_ = true;
  boost::asio::post(loop().io(), [this] {
    turn_posted_ = false;
    loop().gather([this] { turn(); });
  });
}

// False when nobody had anything to say.
bool BeanstalkDoor::read_ready() {
  std::array<epoll_event, kEventsPerTurn> events;
  const int count =
      ::epoll_wait(epoll_.native_handle(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& one = events[static_cast<std::size_t>(i)];
    const std::uint64_t id = one.data.u64;
    if (id == kListenerId) {
      accept_all();
    } else {
      event(id, one.events);
    }
  }
  serving_.clear();
  serving_.swap(ready_);
  for (const std::uint64_t id : serving_) {
    Link* link = find(id);
    if (link == nullptr) continue;
    link->queued = false;
    serve(*link);
  }
  return !serving_.empty();
}

void BeanstalkDoor::event(std::uint64_t id, std::uint32_t events) {
  Link* link = find(id);
  if (link == nullptr) return;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0U) return close(*link);
  if ((events & EPOLLOUT) != 0U && !link->writable) {
    link->writable = true;
    mark_dirty(*link);
  }
  if ((events & EPOLLRDHUP) != 0U && !link->hung_up) {
    link->hung_up = true;
    mark_dirty(*link);
  }
  if ((events & (EPOLLIN | EPOLLRDHUP)) != 0U) {
    link->readable = true;
    make_ready(*link);
  }
}

void BeanstalkDoor::accept_all() {
  while (links_.size() - free_.size() - 1 < base::kConnectionsMax) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      break;
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::uint32_t place = 0;
    if (free_.empty()) {
      place = static_cast<std::uint32_t>(links_.size());
      links_.emplace_back();
    } else {
      place = free_.back();
      free_.pop_back();
    }
    const std::uint64_t id = (++generation_ << kPlaceBits) | place;
    Host& host = *this;
    links_[place] = std::make_unique<Link>(host, id, fd, options_.body_bytes_max);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = id;
    if (::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, fd, &event) != 0) close(*links_[place]);
  }
  // No room, or no descriptors: who knocks waits in the backlog until somebody goes.
  listener_full_ = true;
  epoll_event none{};
  none.data.u64 = kListenerId;
  ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_MOD, listener_, &none);
}

BeanstalkDoor::Link* BeanstalkDoor::find(std::uint64_t id) {
  const std::uint64_t place = id & kPlaceMask;
  if (place >= links_.size()) return nullptr;
  Link* link = links_[static_cast<std::size_t>(place)].get();
  return link != nullptr && link->id == id ? link : nullptr;
}

// --- Reading ---

void BeanstalkDoor::make_ready(Link& link) {
  if (link.queued || !link.readable || link.session.blocked()) return;
  link.queued = true;
  ready_.push_back(link.id);
}

void BeanstalkDoor::serve(Link& link) {
  if (link.session.blocked()) return;
  if (link.rest.size() + kRoomMin <= scratch_.size()) {
    read_small(link);
  } else {
    read_large(link);
  }
  mark_dirty(link);
}

// What was left over is a part of one command as a rule: it moves to the scratch buffer, the new
// bytes go behind it, and what is then left over moves back.
void BeanstalkDoor::read_small(Link& link) {
  const std::size_t kept = link.rest.size();
  std::memcpy(scratch_.data(), link.rest.data(), kept);
  const std::size_t room = scratch_.size() - kept;
  const auto bytes = ::recv(link.fd, scratch_.data() + kept, room, 0);
  if (!received(link, bytes, room)) return;
  const std::string_view in(scratch_.data(), kept + static_cast<std::size_t>(bytes));
  const std::size_t taken = link.session.feed(in);
  link.rest.assign(in.substr(taken));
}

// The body of a large job grows where it is.
void BeanstalkDoor::read_large(Link& link) {
  const std::size_t kept = link.rest.size();
  const std::size_t room = kBeanstalkReadBytes;
  link.rest.resize(kept + room);
  const auto bytes = ::recv(link.fd, link.rest.data() + kept, room, 0);
  link.rest.resize(kept + (bytes > 0 ? static_cast<std::size_t>(bytes) : 0));
  if (!received(link, bytes, room)) return;
  feed_rest(link);
}

// What recv() said. True: there are bytes.
bool BeanstalkDoor::received(Link& link, std::int64_t bytes, std::size_t room) {
  if (bytes > 0) {
    if (static_cast<std::size_t>(bytes) == room) {
      // Perhaps there is more: again in the next turn.
      if (!link.queued) {
        link.queued = true;
        ready_.push_back(link.id);
      }
    } else {
      // An edge comes with the next bytes; one that has come already for the end does not again.
      link.readable = link.hung_up;
      if (link.hung_up && !link.queued) {
        link.queued = true;
        ready_.push_back(link.id);
      }
    }
    return true;
  }
  if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    link.readable = false;
    return false;
  }
  if (bytes < 0 && errno == EINTR) {
    make_ready(link);
    return false;
  }
  link.readable = false;
  link.ended = true;
  link.hung_up = true;
  mark_dirty(link);
  return false;
}

void BeanstalkDoor::feed_rest(Link& link) {
  if (!link.rest.empty()) {
    const std::size_t taken = link.session.feed(link.rest);
    if (taken == link.rest.size()) {
      link.rest.clear();
    } else {
      link.rest.erase(0, taken);
    }
  }
  mark_dirty(link);
}

// --- Replies ---

void BeanstalkDoor::on_deliveries(std::vector<core::Delivery>& deliveries) {
  read_clock();
  for (core::Delivery& delivery : deliveries) {
    Link* link = find(delivery.ticket.connection);
    if (link == nullptr) continue;
    link->session.deliver(delivery);
    mark_dirty(*link);
  }
  flush_dirty();
  turn_again();
}

void BeanstalkDoor::mark_dirty(Link& link) {
  if (link.dirty) return;
  link.dirty = true;
  dirty_.push_back(link.id);
}

void BeanstalkDoor::flush_dirty() {
  // Grows while it runs: a connection that was held back may have something to say at once.
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    Link* link = find(dirty_[i]);
    if (link == nullptr) continue;
    link->dirty = false;
    flush(*link);
  }
  dirty_.clear();
}

void BeanstalkDoor::flush(Link& link) {
  while (link.writable && !link.session.unsent().empty()) {
    const std::string_view unsent = link.session.unsent();
    const auto bytes = ::send(link.fd, unsent.data(), unsent.size(), MSG_NOSIGNAL);
    if (bytes >= 0) {
      link.session.out_sent(static_cast<std::size_t>(bytes));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      link.writable = false;
    } else if (errno != EINTR) {
      return close(link);
    }
  }
  settle(link);
}

// After its replies are on their way: a connection that was held back goes on, one that is at its
// end is closed, one with nothing to do gives its buffers back.
void BeanstalkDoor::settle(Link& link) {
  if (link.hung_up) link.session.end_of_input();
  if (link.session.blocked()) {
    const std::size_t before = link.rest.size();
    const std::size_t unsent = link.session.unsent().size();
    const std::size_t taken = link.session.feed(link.rest);
    link.rest.erase(0, taken);
    if (!link.session.blocked()) make_ready(link);
    if (link.session.unsent().size() != unsent || link.rest.size() != before) {
      mark_dirty(link);
      return;
    }
  }
  const bool quiet = link.session.unsent().empty();
  const bool at_end =
      link.session.finished() || (link.ended && link.session.idle() && !link.session.blocked());
  if (quiet && at_end) return close(link);
  if (quiet && link.session.out().capacity() > kBufferKept && link.session.idle()) {
    std::string().swap(link.session.out());
  }
  if (link.rest.empty() && link.rest.capacity() > kBufferKept) std::string().swap(link.rest);
}

void BeanstalkDoor::close(Link& link) {
  link.session.disconnect();
  ::close(link.fd);
  const auto place = static_cast<std::uint32_t>(link.id & kPlaceMask);
  links_[place].reset();
  free_.push_back(place);
  if (listener_full_) {
    listener_full_ = false;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kListenerId;
    ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_MOD, listener_, &event);
  }
}

}  // namespace rq::server::beanstalk
