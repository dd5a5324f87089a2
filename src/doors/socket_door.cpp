#include "doors/socket_door.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <boost/asio/post.hpp>

#include "base/limits.h"

namespace rq::doors {
namespace {

// Of an id: the place in links_; above it the generation, which begins with 1. Smaller ids are the
// numbers of the listeners.
constexpr unsigned kPlaceBits = 20;
constexpr std::uint64_t kPlaceMask = (std::uint64_t{1} << kPlaceBits) - 1;
static_assert(base::kConnectionsMax <= kPlaceMask);
constexpr std::size_t kEventsPerTurn = 512;
// Looking on: one connection with one command, 3,320 lives without, 3,480 with.
constexpr std::chrono::microseconds kLinger{40};
constexpr int kLingerPause = 32;  // turns, after one that was in vain
// 50 connections with one command each: 29,900 lives, 26,800 with 1.
constexpr int kLooksPerTurn = 4;
constexpr std::chrono::milliseconds kAcceptPause{100};  // with no room or no descriptors left

}  // namespace

// --- A link ---

std::size_t SocketDoor::Link::receive(char* into, std::size_t room) {
  const auto bytes = ::recv(fd_, into, room, MSG_DONTWAIT);
  if (bytes > 0) {
    // With all room taken there may be more. Else an edge comes with the next bytes; one that has
    // come already for the end does not again.
    if (static_cast<std::size_t>(bytes) < room) readable_ = hung_up_;
    return static_cast<std::size_t>(bytes);
  }
  if (bytes < 0 && errno == EINTR) return 0;
  readable_ = false;
  if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
  hung_up_ = true;
  ended_ = true;
  broken_ = bytes < 0;
  return 0;
}

std::size_t SocketDoor::Link::send(std::string_view bytes) {
  std::size_t done = 0;
  while (writable_ && done < bytes.size()) {
    const auto sent =
        ::send(fd_, bytes.data() + done, bytes.size() - done, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      done += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      writable_ = false;
    } else if (errno != EINTR) {
      broken_ = true;
      break;
    }
  }
  return done;
}

void SocketDoor::Link::end_sending() { ::shutdown(fd_, SHUT_WR); }

void SocketDoor::Link::close_socket() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

// --- The door ---

SocketDoor::SocketDoor(pipeline::Loop& loop)
    : pipeline::LoopDoor(loop), epoll_(loop.io()), accept_pause_(loop.io()) {}

SocketDoor::~SocketDoor() { stop_listening(); }

void SocketDoor::drop_links() {
  links_.clear();
  free_.clear();
}

base::Result<void> SocketDoor::accept_from(int listener, int kind) {
  const auto failed = [] {
    return base::fail(base::Code::internal, fmt::format("no epoll: {}", std::strerror(errno)),
                      "allow this process more open files");
  };
  listeners_.push_back({.fd = listener, .kind = kind});
  if (!epoll_.is_open()) {
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return failed();
    epoll_.assign(epoll);
    wait();
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = listeners_.size() - 1;
  if (::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, listener, &event) != 0) return failed();
  return {};
}

void SocketDoor::stop_listening() {
  for (ListeningSocket& listener : listeners_) {
    if (listener.fd >= 0) ::close(std::exchange(listener.fd, -1));
  }
}

// --- Turns ---

void SocketDoor::wait() {
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
void SocketDoor::linger() {
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

void SocketDoor::turn() {
  in_turn_ = true;
  // While some are read, others have something to say: what comes in time goes in the same batch.
  std::size_t served = 0;
  for (int look = 0; look < kLooksPerTurn && read_ready(); ++look) {
    served += serving_.size();
    if (served >= open_count()) break;  // all have spoken
  }
  flush_dirty();
  in_turn_ = false;
  turn_again();
}

// Some have more than a turn's piece: the others, and the engine, go first.
void SocketDoor::turn_again() {
  if (in_turn_ || ready_.empty() || turn_posted_) return;
  turn_posted_ = true;
  boost::asio::post(loop().io(), [this] {
    turn_posted_ = false;
    loop().gather([this] { turn(); });
  });
}

// False when nobody had anything to say.
bool SocketDoor::read_ready() {
  std::array<epoll_event, kEventsPerTurn> events;
  const int count =
      ::epoll_wait(epoll_.native_handle(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
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
    if (!link->readable_ || !link->wants_to_read()) continue;
    link->read();
    mark_dirty(*link);
    make_ready(*link);
  }
  return !serving_.empty();
}

// The end of the other side, or an error of the socket, is read like its bytes: after them.
void SocketDoor::event(std::uint64_t id, std::uint32_t events) {
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

void SocketDoor::make_ready(Link& link) {
  if (link.queued_ || !link.readable_ || !link.wants_to_read()) return;
  link.queued_ = true;
  ready_.push_back(link.id);
  turn_again();
}

void SocketDoor::mark_dirty(Link& link) {
  if (link.dirty_) return;
  link.dirty_ = true;
  dirty_.push_back(link.id);
}

void SocketDoor::flush_dirty() {
  // Grows while it runs: a connection that was held back may have something to say at once.
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    Link* link = find(dirty_[i]);
    if (link == nullptr) continue;
    link->dirty_ = false;
    link->flush();
  }
  dirty_.clear();
}

void SocketDoor::schedule_flush() {
  if (flush_posted_) return;
  flush_posted_ = true;
  boost::asio::post(loop().io(), [this] {
    flush_posted_ = false;
    flush_dirty();
  });
}

// --- Links come and go ---

void SocketDoor::accept_all(std::size_t listener) {
  if (listeners_[listener].fd < 0) return;
  while (open_count() < base::kConnectionsMax) {
    const int fd =
        ::accept4(listeners_[listener].fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        full_told_ = false;
        return;
      }
      break;
    }
    const int on = 1;  // a unix socket refuses it, and needs none
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (free_.empty()) {
      free_.push_back(static_cast<std::uint32_t>(links_.size()));
      links_.emplace_back();
    }
    const std::uint32_t place = free_.back();
    free_.pop_back();
    const std::uint64_t id = (++generation_ << kPlaceBits) | place;
    links_[place] = make_link(id, fd, listeners_[listener].kind);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = id;
    if (::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, fd, &event) != 0) remove(*links_[place]);
  }
  accept_later();
}

// No room, or no descriptors: who knocks waits in the backlog for a while.
void SocketDoor::accept_later() {
  if (std::exchange(accept_paused_, true)) return;
  if (!std::exchange(full_told_, true)) {
    spdlog::warn("{} connections are open, and there is no room for one more: who comes now waits",
                 open_count());
  }
  listen_for(0);
  accept_pause_.expires_after(kAcceptPause);
  accept_pause_.async_wait([this](const boost::system::error_code& error) {
    accept_paused_ = false;
    if (!error) listen_for(EPOLLIN);
  });
}

void SocketDoor::listen_for(std::uint32_t events) {
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (listeners_[i].fd < 0) continue;
    epoll_event event{};
    event.events = events;
    event.data.u64 = i;
    ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_MOD, listeners_[i].fd, &event);
  }
}

SocketDoor::Link* SocketDoor::find(std::uint64_t id) {
  const std::uint64_t place = id & kPlaceMask;
  if (place >= links_.size()) return nullptr;
  Link* link = links_[static_cast<std::size_t>(place)].get();
  return link != nullptr && link->id == id ? link : nullptr;
}

void SocketDoor::remove(Link& link) {
  const auto place = static_cast<std::uint32_t>(link.id & kPlaceMask);
  links_[place].reset();
  free_.push_back(place);
}

}  // namespace rq::doors
