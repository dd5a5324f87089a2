#include "net/links.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <limits>
#include <utility>

#include <boost/asio/post.hpp>

#include "base/check.h"
#include "base/fd.h"

namespace rq::net {
namespace {

// Of an id: the place in links_; above it the generation, which begins with 1. Smaller ids are the
// numbers of the listeners.
constexpr unsigned kPlaceBits = 20;
constexpr std::uint64_t kPlaceMask = (std::uint64_t{1} << kPlaceBits) - 1;
static_assert(kConnectionsMax <= kPlaceMask);
constexpr std::size_t kEventsPerTurn = 512;
constexpr std::uint32_t kAlwaysWatched = EPOLLIN | EPOLLRDHUP | EPOLLET;  // of a connection
// While some are read, others send: so a turn looks again, and takes more into its batch.
constexpr int kLooksPerTurn = 4;
constexpr std::chrono::milliseconds kAcceptPause{100};  // with no room or no descriptors left

base::Error no_epoll() {
  return base::fail(base::Code::internal, fmt::format("no epoll: {}", base::text_of_errno(errno)),
                    "allow this process more open files");
}

int descriptors_allowed() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::numeric_limits<int>::max();
  return static_cast<int>(
      std::min<rlim_t>(limit.rlim_cur, static_cast<rlim_t>(std::numeric_limits<int>::max())));
}

int kept_of(int all) { return std::min(kDescriptorsKept, all / 4); }

}  // namespace

Links::Links(Loop& loop, LinkMaker& maker)
    : loop_(loop),
      maker_(maker),
      epoll_(loop.io()),
      accept_pause_(loop.io()),
      descriptors_max_(descriptors_allowed()),
      network_max_(descriptors_max_ - kept_of(descriptors_max_)),
      unix_max_(descriptors_max_ - kept_of(descriptors_max_) / 2) {}

Links::~Links() {
  stop_listening();
  clear();
}

void Links::clear() {
  links_.clear();
  free_.clear();
}

base::Result<void> Links::open_epoll() {
  if (epoll_.is_open()) return {};
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return no_epoll();
  epoll_.assign(epoll);
  wait();
  return {};
}

base::Result<void> Links::listen(Listener&& listener) {
  const auto old =
      std::find_if(listeners_.begin(), listeners_.end(), [&listener](const ListeningSocket& other) {
        return listener.unix_socket && other.unix_socket && other.socket.is_open();
      });
  const auto place = static_cast<std::size_t>(old - listeners_.begin());
  const int socket = listener.socket.get();
  if (old == listeners_.end()) {
    listeners_.push_back({std::move(listener.socket), listener.unix_socket});
  } else {
    old->socket = std::move(listener.socket);
  }
  RQ_TRY(open_epoll());
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = place;
  if (::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, socket, &event) != 0) {
    return no_epoll();
  }
  return {};
}

void Links::stop_listening() {
  for (ListeningSocket& listener : listeners_) listener.socket.reset();
}

// --- Turns ---

void Links::wait() {
  epoll_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [this](const boost::system::error_code& error) {
                      if (error) return;
                      loop_.turn([this] { turn(); });
                      wait();
                    });
}

void Links::turn() {
  in_turn_ = true;
  // While some are read, others have something to say: what comes in time goes in the same batch.
  std::size_t served = 0;
  for (int look = 0; look < kLooksPerTurn && read_ready(); ++look) {
    served += serving_.size();
    if (served >= count()) break;  // all have spoken
  }
  flush_dirty();
  in_turn_ = false;
  turn_again();
}

// Some have more than a turn's piece: the others, and what was asked, go first.
void Links::turn_again() {
  if (in_turn_ || ready_.empty() || turn_posted_) return;
  turn_posted_ = true;
  boost::asio::post(loop_.io(), [this] {
    turn_posted_ = false;
    loop_.turn([this] { turn(); });
  });
}

// False when nobody had anything to say.
bool Links::read_ready() {
  std::array<epoll_event, kEventsPerTurn> events;
  const int arrived =
      ::epoll_wait(epoll_.native_handle(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < arrived; ++i) {
    const epoll_event& one = events[static_cast<std::size_t>(i)];
    const std::uint64_t id = one.data.u64;
    if (id < listeners_.size()) {
      accept_all(static_cast<std::size_t>(id));
    } else {
      event(id, one.events);
    }
  }
  serving_.clear();
  serving_.swap(ready_);
  for (const std::uint64_t id : serving_) {
    Link* link = find(id);
    if (link == nullptr) continue;
    link->queued_ = false;
    if (!link->may_read()) continue;
    link->spoke_ = ++spoken_;
    link->read();
    mark_dirty(*link);
    make_ready(*link);
  }
  return !serving_.empty();
}

// The end of the other side, or an error of the socket, is read like its bytes: after them.
void Links::event(std::uint64_t id, std::uint32_t events) {
  Link* link = find(id);
  if (link == nullptr) return;
  if ((events & EPOLLOUT) != 0U && !link->writable_) {
    link->writable_ = true;
    mark_dirty(*link);
  }
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0U && !link->hung_up_) {
    link->hung_up_ = true;
    mark_dirty(*link);
  }
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0U) {
    link->readable_ = true;
    make_ready(*link);
  }
}

void Links::make_ready(Link& link) {
  if (link.queued_ || !link.may_read()) return;
  link.queued_ = true;
  ready_.push_back(link.id);
  turn_again();
}

void Links::mark_dirty(Link& link) {
  if (link.dirty_) return;
  link.dirty_ = true;
  dirty_.push_back(link.id);
}

void Links::flush_dirty() {
  // Grows while it runs: a connection that was held back may have something to say at once.
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    Link* link = find(dirty_[i]);
    if (link == nullptr) continue;
    link->dirty_ = false;
    link->flush();
    watch_for_room(dirty_[i]);
  }
  dirty_.clear();
}

// Only while one is full: a unix socket tells of room whenever the other side has read.
void Links::watch_for_room(std::uint64_t id) {
  Link* link = find(id);
  if (link == nullptr || !link->channel_ || link->watched_for_room_ != link->writable_) return;
  link->watched_for_room_ = !link->writable_;
  epoll_event event{};
  event.events = kAlwaysWatched | (link->watched_for_room_ ? EPOLLOUT : 0U);
  event.data.u64 = id;
  RQ_CHECK(::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_MOD, link->channel_->descriptor(),
                       &event) == 0);
}

void Links::schedule_flush() {
  if (flush_posted_) return;
  flush_posted_ = true;
  boost::asio::post(loop_.io(), [this] {
    flush_posted_ = false;
    flush_dirty();
  });
}

void Links::flush_later(const Link& link) {
  later_.push_back(link.id);
  if (later_.size() > 1) return;
  boost::asio::post(loop_.io(), [this] {
    std::vector<std::uint64_t> later;
    later.swap(later_);
    for (const std::uint64_t id : later) {
      if (Link* found = find(id)) mark_dirty(*found);
    }
    flush_dirty();
  });
}

// --- Links come and go ---

void Links::accept_all(std::size_t listener) {
  const bool unix_socket = listeners_[listener].unix_socket;
  while (listeners_[listener].socket.is_open()) {
    if (count() >= kConnectionsMax && (!close_idle(unix_socket) || count() >= kConnectionsMax)) {
      break;
    }
    base::Fd fd(::accept4(listeners_[listener].socket.get(), nullptr, nullptr,
                          SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.is_open()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        full_told_ = false;
        return;
      }
      if ((errno == EMFILE || errno == ENFILE) && close_idle(unix_socket)) continue;
      break;
    }
    // The system gives the lowest number that is free.
    if (fd.get() >= (unix_socket ? unix_max_ : network_max_) && !close_idle(unix_socket) &&
        !unix_socket) {
      break;
    }
    const int on = 1;
    if (!unix_socket) ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    static_cast<void>(adopt(plain_channel(fd.release(), unix_socket)));
  }
  accept_later(listener);
}

bool Links::close_idle(bool unix_socket) {
  std::vector<Link*> idle;
  const auto gather = [this, &idle](bool of_unix_socket) {
    for_each([&idle, of_unix_socket](Link& link) {
      if (link.is_idle() && link.caller().unix_socket == of_unix_socket) idle.push_back(&link);
    });
  };
  gather(false);
  if (idle.empty() && unix_socket) gather(true);
  const std::size_t n = std::min(kClosedForRoom, idle.size());
  std::partial_sort(idle.begin(), idle.begin() + static_cast<std::ptrdiff_t>(n), idle.end(),
                    [](const Link* a, const Link* b) { return a->spoke_ < b->spoke_; });
  idle.resize(n);
  for (Link* link : idle) link->close();
  if (n > 0 && !std::exchange(full_told_, true)) {
    spdlog::warn("there is no room for a connection: {} that were idle are closed", n);
  }
  return n > 0;
}

Link* Links::adopt(std::unique_ptr<Channel> channel) {
  if (count() >= kConnectionsMax || !open_epoll()) return nullptr;
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(links_.size()));
    links_.emplace_back();
  }
  const std::uint32_t place = free_.back();
  free_.pop_back();
  const std::uint64_t id = (++generation_ << kPlaceBits) | place;
  const int descriptor = channel->descriptor();
  links_[place] = maker_.make_link({.id = id, .channel = std::move(channel)});
  links_[place]->spoke_ = ++spoken_;
  epoll_event event{};
  event.events = kAlwaysWatched;
  event.data.u64 = id;
  if (::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, descriptor, &event) != 0) {
    remove(*links_[place]);
    return nullptr;
  }
  return links_[place].get();
}

// No room, or no descriptors: who knocks there waits in the backlog for a while.
void Links::accept_later(std::size_t listener) {
  listen_for(listener, 0);
  if (std::exchange(accept_paused_, true)) return;
  if (!std::exchange(full_told_, true)) {
    spdlog::warn(
        "there is no room for one more connection{}: who comes now waits. {} connections of this "
        "protocol are open (at most {}); the process may have {} files open in all",
        listeners_[listener].unix_socket ? " on the unix socket" : "", count(), kConnectionsMax,
        descriptors_max_);
  }
  accept_pause_.expires_after(kAcceptPause);
  accept_pause_.async_wait([this](const boost::system::error_code& error) {
    accept_paused_ = false;
    if (error) return;
    for (std::size_t i = 0; i < listeners_.size(); ++i) listen_for(i, EPOLLIN);
  });
}

void Links::listen_for(std::size_t listener, std::uint32_t events) {
  if (!listeners_[listener].socket.is_open()) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = listener;
  ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_MOD, listeners_[listener].socket.get(), &event);
}

Link* Links::find(std::uint64_t id) {
  const std::uint64_t place = id & kPlaceMask;
  if (place >= links_.size()) return nullptr;
  Link* link = links_[static_cast<std::size_t>(place)].get();
  return link != nullptr && link->id == id ? link : nullptr;
}

void Links::remove(Link& link) {
  const auto place = static_cast<std::uint32_t>(link.id & kPlaceMask);
  links_[place].reset();
  free_.push_back(place);
}

}  // namespace rq::net
