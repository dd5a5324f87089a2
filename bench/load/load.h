#pragma once
// The load itself: one thread, one epoll, every reply checked. What it costs is taken from the
// server beside it, so a connection reads all there is, then answers with one write.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "load/buffers.h"
#include "load/histogram.h"
#include "load/plan.h"
#include "load/stops.h"
#include "load/system.h"

namespace rq::load {

struct Report {
  std::uint64_t puts = 0;   // answered in the window
  std::uint64_t lives = 0;  // finished in the window
  double seconds = 0;       // length of the window
  Histogram put_latency;    // of those in the window; from the intended time if there was one
  std::uint64_t first = 0;  // number of the first message put
  std::uint64_t next = 0;   // the number after the last one
  std::uint64_t total_puts = 0;
  std::uint64_t total_lives = 0;
  // At a given rate: those of put_latency that were answered at other times than in the wake of a
  // stop of the machine, how much of the time that was, and the stops.
  Histogram undisturbed;
  double undisturbed_share = 0;
  bool stops_watched = false;
  std::int64_t stops = 0;
  double stopped_s = 0;
  double late_max_s = 0;  // how late this program itself was with the load it had planned
};

// Each message must come back once.
class Seen {
 public:
  void add(std::uint64_t number) {
    constexpr std::uint64_t kNumbersMax = 1ULL << 33;  // 1 GiB of bits
    if (number >= kNumbersMax) fail("a message with number {} was never put", number);
    const std::size_t word = number / 64;
    if (word >= bits_.size()) bits_.resize(std::max(word + 1, bits_.size() * 2));
    const std::uint64_t bit = 1ULL << number % 64;
    if ((bits_[word] & bit) != 0) fail("message {} was handed out twice", number);
    bits_[word] |= bit;
  }

 private:
  std::vector<std::uint64_t> bits_;
};

template <typename Protocol>
class Load {
 public:
  explicit Load(const Plan& plan) : plan_(plan), epoll_(make_epoll()) {
    report_.first = next_number_ = plan.first;
    if (plan.rate > 0) stops_ = std::make_unique<Stops>();
    connections_.reserve(plan.connections);
    for (std::size_t i = 0; i < plan.connections; ++i) {
      connections_.push_back(std::make_unique<Connection>(plan, i));
      watch(*connections_.back(), EPOLL_CTL_ADD);
    }
  }

  [[nodiscard]] Report run() {
    greet();
    start_ns_ = last_reply_ns_ = now_ns_ = clock_ns();
    std::int64_t end_ns = INT64_MAX;
    bool in_window = false;
    bool window_over = false;
    for (auto& connection : connections_) fill(*connection);
    while (in_flight_ > 0 || !window_over) {
      const bool more = !window_over && !all_put();
      wait(more && plan_.rate > 0 ? next_tick_ns_ : now_ns_ + kIdleNs);
      if (!in_window && warm()) {
        in_window = true;
        window_start_ns_ = counted_from_ns_ = now_ns_;
        if (plan_.count == 0) end_ns = now_ns_ + to_ns(plan_.seconds);
        at_start_ = total_;
      }
      if (in_window && !window_over && (now_ns_ >= end_ns || (plan_.count != 0 && done()))) {
        window_over = true;
        counted_to_ns_ = now_ns_;
        report_.seconds = static_cast<double>(now_ns_ - window_start_ns_) / 1e9;
        report_.puts = total_.puts - at_start_.puts;
        report_.lives = total_.lives - at_start_.lives;
        ending_ = true;
        if (plan_.leave) break;
      }
      measuring_ = in_window && !window_over;
      if (measuring_ && plan_.rate > 0 && now_ns_ >= slice_end_ns_) end_slice();
      if (plan_.rate > 0 && !ending_) start_due();
      handle_events();
      if (now_ns_ - last_reply_ns_ > to_ns(plan_.stall_s) && in_flight_ > 0) {
        fail("no reply for {} s with {} commands in flight", plan_.stall_s, in_flight_);
      }
    }
    if (stops_) end_slice();
    if (plan_.work == Work::lives && !plan_.leave && total_.puts != total_.lives) {
      fail("{} messages put, {} finished", total_.puts, total_.lives);
    }
    report_.next = next_number_;
    report_.total_puts = total_.puts;
    report_.total_lives = total_.lives;
    if (stops_) {
      report_.undisturbed_share =
          static_cast<double>(undisturbed_slices_) / static_cast<double>(slices_);
      report_.stops_watched = stops_->watched();
      report_.stops = stops_->count();
      report_.stopped_s = static_cast<double>(stops_->total_ns()) / 1e9;
    }
    return report_;
  }

 private:
  enum class Op : std::uint8_t { hello, put, take, finish };
  struct Sent {
    Op op{};
    std::int64_t since_ns = 0;  // sent, or meant to be sent
  };
  // Puts that were due at one tick of the clock.
  struct Due {
    std::int64_t at_ns = 0;
    std::uint64_t count = 0;
  };
  struct Totals {
    std::uint64_t puts = 0;
    std::uint64_t lives = 0;
  };
  // Arrivals come in ticks: often enough to be a stream, seldom enough to leave the server its CPU.
  static constexpr std::int64_t kTickNs = 200'000;
  // Time is judged in slices: one that began so soon after a stop of the machine is in its wake. (A
  // stop of 8 ms at half load leaves work for as long again.)
  static constexpr std::int64_t kSliceNs = 20'000'000;
  static constexpr std::int64_t kWakeNs = 50'000'000;
  static constexpr std::int64_t kWarmupMaxNs = 30'000'000'000;
  static constexpr std::int64_t kIdleNs = 100'000'000;
  static constexpr std::size_t kDueMax = 65'536;
  static constexpr std::size_t kReadBytes = 64 * 1024;
  static constexpr std::size_t kEventsMax = 256;

  struct Connection {
    Connection(const Plan& plan, std::size_t index)
        : socket(connect_to(plan.host, plan.port)),
          protocol(plan, index),
          in(2 * kReadBytes),
          out(kReadBytes),
          sent(std::max(plan.depth, Protocol::kHelloReplies)),
          taken(plan.depth),
          due(plan.rate > 0 ? kDueMax : 1) {}
    Socket socket;
    Protocol protocol;
    Bytes in;
    Bytes out;
    Ring<Sent> sent;
    Ring<typename Protocol::Handle> taken;  // to be finished
    Ring<Due> due;
    std::uint64_t untaken = 0;  // own puts sent less takes sent: above 0, a take cannot wait
    std::size_t row = 0;        // rows: lives of this row that are not finished
    bool row_put = false;       // rows: all of them have been put
    std::size_t hellos = 0;     // replies to the greeting so far
    bool blocked = false;       // waits until it may write again
  };

  void watch(Connection& c, int how) {
    epoll_event event{};
    event.events = c.blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.ptr = &c;
    if (::epoll_ctl(epoll_.fd(), how, c.socket.fd(), &event) != 0) fail_errno("epoll_ctl");
  }

  void greet() {
    last_reply_ns_ = clock_ns();
    for (auto& c : connections_) {
      c->protocol.hello(c->out);
      for (std::size_t i = 0; i < Protocol::kHelloReplies; ++i) push(*c, Op::hello, 0);
      flush(*c);
    }
    ending_ = true;  // nothing but the greeting yet
    while (in_flight_ > 0) {
      wait(now_ns_ + kIdleNs);
      handle_events();
      if (now_ns_ - last_reply_ns_ > to_ns(plan_.stall_s)) fail("no answer to the greeting");
    }
    ending_ = false;
  }

  // Fills events_ and reads the clock.
  void wait(std::int64_t until_ns) {
    events_ready_ = wait_until(epoll_.fd(), events_, kEventsMax, until_ns - clock_ns());
    now_ns_ = clock_ns();
  }

  void handle_events() {
    for (std::size_t i = 0; i < events_ready_; ++i) {
      auto& c = *static_cast<Connection*>(events_[i].data.ptr);
      if ((events_[i].events & EPOLLOUT) != 0) flush(c);
      if ((events_[i].events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) {
        read_some(c);
        fill(c);
      }
    }
  }

  void read_some(Connection& c) {
    char* const room = c.in.room(kReadBytes);
    const ssize_t got = ::recv(c.socket.fd(), room, c.in.free_bytes(), 0);
    if (got == 0) fail("the server closed a connection with {} in flight", c.sent.size());
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      fail_errno("recv");
    }
    c.in.added(static_cast<std::size_t>(got));
    last_reply_ns_ = now_ns_;
    while (!c.in.empty()) {
      if (c.sent.empty()) fail("a reply to no command: '{}'", quoted(c.in.view()));
      const std::size_t used = read_reply(c, c.sent.front());
      if (used == 0) break;
      c.in.used(used);
      c.sent.pop();
      --in_flight_;
    }
  }

  std::size_t read_reply(Connection& c, const Sent& sent) {
    const std::string_view in = c.in.view();
    std::size_t used = 0;
    switch (sent.op) {
      case Op::hello:
        used = c.protocol.hello_reply(in, c.hellos);
        if (used != 0) ++c.hellos;
        break;
      case Op::put:
        used = c.protocol.put_reply(in);
        if (used == 0) break;
        total_.puts += plan_.batch;
        if (counts(sent.since_ns)) {
          report_.put_latency.add(now_ns_ - sent.since_ns);
          slice_.add(now_ns_ - sent.since_ns);
        }
        break;
      case Op::take: {
        typename Protocol::Handle handle{};
        std::uint64_t number = 0;
        used = c.protocol.take_reply(in, handle, number);
        if (used == 0) break;
        seen_.add(number);
        c.taken.push(handle);
        break;
      }
      case Op::finish:
        used = c.protocol.finish_reply(in);
        if (used != 0) ++total_.lives;
        break;
    }
    return used;
  }

  // Sends as many commands as may be in flight.
  void fill(Connection& c) {
    const bool rows = plan_.rows && plan_.work == Work::lives && plan_.rate <= 0;
    while (c.sent.size() < plan_.depth && (rows ? send_in_rows(c) : send_mixed(c))) {
    }
    flush(c);
  }

  // The end of a life before its middle before a new one; false: nothing to send now.
  bool send_mixed(Connection& c) {
    if (!c.taken.empty()) {
      send_finish(c);
    } else if (may_take(c)) {
      send_take(c);
    } else if (may_put(c)) {
      send_put(c);
    } else {
      return false;
    }
    return true;
  }

  // `depth` puts, then as many takes, then as many finishes, each sent as soon as a reply has made
  // room for it: always `depth` in flight, and always neighbours of one kind.
  bool send_in_rows(Connection& c) {
    if (!c.row_put) {
      if (c.row < plan_.depth && may_put(c)) {
        send_put(c);
        ++c.row;
        return true;
      }
      if (c.row == 0) return false;
      c.row_put = true;
    }
    if (may_take(c)) {
      send_take(c);
      return true;
    }
    if (c.taken.empty()) return false;
    send_finish(c);
    c.row_put = --c.row > 0;
    return true;
  }

  void send_put(Connection& c) {
    std::int64_t since_ns = now_ns_;
    if (plan_.rate > 0) {
      since_ns = c.due.front().at_ns;
      if (--c.due.front().count == 0) c.due.pop();
    }
    c.protocol.put(c.out, next_number_);
    next_number_ += plan_.batch;
    if (plan_.work == Work::lives) ++c.untaken;
    push(c, Op::put, since_ns);
  }
  void send_take(Connection& c) {
    if (plan_.work == Work::takes) {
      ++takes_sent_;
    } else {
      --c.untaken;
    }
    c.protocol.take(c.out);
    push(c, Op::take, now_ns_);
  }
  void send_finish(Connection& c) {
    c.protocol.finish(c.out, c.taken.front());
    c.taken.pop();
    push(c, Op::finish, now_ns_);
  }

  // A take must find a message, or the connection would wait for ever.
  [[nodiscard]] bool may_take(const Connection& c) const {
    if (plan_.work != Work::takes) return c.untaken > 0;
    return !ending_ && (plan_.count == 0 || takes_sent_ < plan_.count);
  }
  // What is due at a given rate is put even when the time is over.
  [[nodiscard]] bool may_put(const Connection& c) const {
    if (plan_.work == Work::takes || all_put()) return false;
    return plan_.rate > 0 ? !c.due.empty() : !ending_;
  }
  // All that was in flight at first has been answered, and the time is over: then speed is steady.
  // A server with slow syncs needs longer for the first part.
  [[nodiscard]] bool warm() const {
    if (plan_.count != 0) return true;
    const std::int64_t since_ns = now_ns_ - start_ns_;
    if (since_ns < to_ns(plan_.warmup_s)) return false;
    const std::uint64_t first_commands = plan_.connections * plan_.depth;
    const std::uint64_t answered = total_.puts + 2 * total_.lives;
    return plan_.rate > 0 || answered >= first_commands || since_ns > kWarmupMaxNs;
  }
  // Whether a put belongs into the latencies. At a given rate that is decided by the time when it
  // was due, however late its answer: a server that falls behind must not look good by it.
  [[nodiscard]] bool counts(std::int64_t since_ns) const {
    if (plan_.rate <= 0) return measuring_;
    return since_ns >= counted_from_ns_ && since_ns < counted_to_ns_;
  }
  [[nodiscard]] bool all_put() const {
    return plan_.count != 0 && next_number_ - plan_.first >= plan_.count;
  }
  [[nodiscard]] bool done() const {
    return (plan_.work == Work::puts ? total_.puts : total_.lives) >= plan_.count;
  }

  void push(Connection& c, Op op, std::int64_t since_ns) {
    c.sent.push({.op = op, .since_ns = since_ns});
    ++in_flight_;
  }

  void flush(Connection& c) {
    while (!c.out.empty()) {
      const std::string_view out = c.out.view();
      const ssize_t put = ::send(c.socket.fd(), out.data(), out.size(), MSG_NOSIGNAL);
      if (put >= 0) {
        c.out.used(static_cast<std::size_t>(put));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN) fail_errno("send");
      break;
    }
    if (c.blocked == c.out.empty()) {
      c.blocked = !c.out.empty();
      watch(c, EPOLL_CTL_MOD);
    }
  }

  void end_slice() {
    ++slices_;
    if (stops_->last_end_ns() < now_ns_ - kSliceNs - kWakeNs) {
      report_.undisturbed.add(slice_);
      ++undisturbed_slices_;
    }
    slice_ = Histogram{};
    slice_end_ns_ = now_ns_ + kSliceNs;
  }

  // Open loop: what is due is sent, whether or not earlier commands have been answered. All puts of
  // one tick go to one connection, the next tick to the next.
  void start_due() {
    const double per_tick = plan_.rate * static_cast<double>(kTickNs) / 1e9;
    if (next_tick_ns_ == 0) next_tick_ns_ = start_ns_;
    if (now_ns_ >= next_tick_ns_) {
      report_.late_max_s =
          std::max(report_.late_max_s, static_cast<double>(now_ns_ - next_tick_ns_) / 1e9);
    }
    for (; next_tick_ns_ <= now_ns_; next_tick_ns_ += kTickNs, ++ticks_) {
      const auto due = static_cast<std::uint64_t>(per_tick * static_cast<double>(ticks_ + 1));
      if (due == due_so_far_) continue;
      Connection& c = *connections_[next_connection_];
      next_connection_ = (next_connection_ + 1) % connections_.size();
      if (c.due.full()) fail("the server does not keep up with {} a second", plan_.rate);
      c.due.push({.at_ns = next_tick_ns_, .count = due - due_so_far_});
      due_so_far_ = due;
      fill(c);
    }
  }

  const Plan& plan_;
  Socket epoll_;
  std::vector<std::unique_ptr<Connection>> connections_;
  epoll_event events_[kEventsMax] = {};
  std::size_t events_ready_ = 0;

  std::int64_t now_ns_ = 0;
  std::int64_t start_ns_ = 0;
  std::int64_t window_start_ns_ = 0;
  std::int64_t counted_from_ns_ = INT64_MAX;
  std::int64_t counted_to_ns_ = INT64_MAX;
  std::int64_t last_reply_ns_ = 0;
  bool measuring_ = false;
  bool ending_ = false;  // starts no new life
  std::uint64_t next_number_ = 0;
  std::uint64_t takes_sent_ = 0;
  std::uint64_t in_flight_ = 0;
  Totals total_;
  Totals at_start_;
  Seen seen_;
  Report report_;

  std::unique_ptr<Stops> stops_;  // at a given rate
  Histogram slice_;
  std::int64_t slice_end_ns_ = 0;
  std::uint64_t slices_ = 0;
  std::uint64_t undisturbed_slices_ = 0;

  std::int64_t next_tick_ns_ = 0;
  std::uint64_t ticks_ = 0;
  std::uint64_t due_so_far_ = 0;
  std::size_t next_connection_ = 0;
};

}  // namespace rq::load
