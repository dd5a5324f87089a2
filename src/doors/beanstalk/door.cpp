#include "doors/beanstalk/door.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/limits.h"
#include "doors/beanstalk/limits.h"
#include "doors/beanstalk/stats.h"
#include "net/listener.h"

namespace rq::doors::beanstalk {
namespace {

// Below this much room behind what is there already, the scratch buffer is not worth the copy.
constexpr std::size_t kRoomMin = 64 * base::kKiB;
// Connections whose replies are written at once: the first clients go on while the others' replies
// are still made.
constexpr std::size_t kFlushEvery = 12;
constexpr std::size_t kBufferKept = 4 * base::kKiB;  // by a connection with nothing to do
static_assert(kReadBytes > 2 * kRoomMin);

std::string make_run_id() {
  // Tells two runs of a server apart, as beanstalkd's own does: 8 bytes in hex.
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const auto mixed =
      (static_cast<std::uint64_t>(now) ^ (static_cast<std::uint64_t>(getpid()) << 40U)) *
      0x9E3779B97F4A7C15ULL;
  return fmt::format("{:016x}", mixed);
}

}  // namespace

class BeanstalkDoor::Connection final : public net::Link {
 public:
  Connection(BeanstalkDoor& door, net::Arrival&& arrival)
      : Link(std::move(arrival)), door_(door), session_(door, id, door.options_.body_bytes_max) {}

  [[nodiscard]] Session& session() { return session_; }

 private:
  [[nodiscard]] bool wants_to_read() const override { return !session_.blocked(); }
  void read() override;
  void flush() override;

  void read_small();
  void read_large();
  void feed_rest();
  void settle();
  [[nodiscard]] bool is_idle() const override {
    return session_.idle() && !session_.holds() && rest_.empty() && session_.unsent().empty();
  }
  void close() override;

  BeanstalkDoor& door_;
  Session session_;
  std::string rest_;  // read, and not yet taken by the session
};

// --- Reading ---

void BeanstalkDoor::Connection::read() {
  if (has_rest()) {
    feed_rest();
  } else if (rest_.size() + kRoomMin <= door_.scratch_.size()) {
    read_small();
  } else {
    read_large();
  }
}

// What was left over is a part of one command as a rule: it moves to the scratch buffer, the new
// bytes go behind it, and what is then left over moves back.
void BeanstalkDoor::Connection::read_small() {
  std::string& scratch = door_.scratch_;
  const std::size_t kept = rest_.size();
  std::memcpy(scratch.data(), rest_.data(), kept);
  const std::size_t room = scratch.size() - kept;
  const std::size_t bytes = receive(scratch.data() + kept, room);
  if (bytes == 0) return;
  const std::string_view in(scratch.data(), kept + bytes);
  const std::size_t taken = session_.feed(in);
  rest_.assign(in.substr(taken));
  keep_rest(session_.yielded());
}

// The body of a large job grows where it is.
void BeanstalkDoor::Connection::read_large() {
  const std::size_t kept = rest_.size();
  rest_.resize(kept + kReadBytes);
  const std::size_t bytes = receive(rest_.data() + kept, kReadBytes);
  rest_.resize(kept + bytes);
  if (bytes > 0) feed_rest();
}

void BeanstalkDoor::Connection::feed_rest() {
  const std::size_t taken = session_.feed(rest_);
  if (taken == rest_.size()) {
    rest_.clear();
  } else {
    rest_.erase(0, taken);
  }
  keep_rest(session_.yielded());
}

// --- Writing ---

void BeanstalkDoor::Connection::flush() {
  session_.out_sent(send(session_.unsent()));
  if (broken()) return close();
  settle();
}

// After its replies are on their way: a connection that was held back goes on, one that is at its
// end is closed, one with nothing to do gives its buffers back.
void BeanstalkDoor::Connection::settle() {
  if (hung_up()) session_.end_of_input();
  if (session_.blocked()) {
    const std::size_t before = rest_.size();
    const std::size_t unsent = session_.unsent().size();
    feed_rest();
    door_.links_.make_ready(*this);
    if (session_.unsent().size() != unsent || rest_.size() != before) {
      door_.links_.mark_dirty(*this);
      return;
    }
  }
  const bool quiet = session_.unsent().empty();
  const bool goes_on = session_.blocked() || session_.yielded();
  const bool at_end = session_.finished() || (ended() && session_.idle() && !goes_on);
  if (quiet && at_end) return close();
  if (quiet && session_.out().capacity() > kBufferKept && session_.idle()) {
    std::string().swap(session_.out());
  }
  if (rest_.empty() && rest_.capacity() > kBufferKept) std::string().swap(rest_);
}

void BeanstalkDoor::Connection::close() {
  session_.disconnect();
  door_.links_.remove(*this);
}

BeanstalkDoor::BeanstalkDoor(pipeline::Desk& to, DoorOptions options)
    : LoopDoor(to),
      links_(to.loop(), *this),
      options_{.body_bytes_max = std::min(options.body_bytes_max, base::kPayloadBytesMax)},
      run_id_(make_run_id()),
      clock_(to.pipeline().clock()),
      started_(clock_.now()) {
  scratch_.resize(kReadBytes);
}

// Links first: their sessions use the door.
BeanstalkDoor::~BeanstalkDoor() { links_.clear(); }

base::Result<void> BeanstalkDoor::listen(const std::string& address) {
  RQ_TRY_ASSIGN(listener, net::listen_tcp("beanstalk", address));
  port_ = listener.port;
  return links_.listen(std::move(listener));
}

bool BeanstalkDoor::adopt(std::unique_ptr<net::Channel> channel) {
  return links_.adopt(std::move(channel)) != nullptr;
}

std::unique_ptr<net::Link> BeanstalkDoor::make_link(net::Arrival&& arrival) {
  return std::make_unique<Connection>(*this, std::move(arrival));
}

// --- Host ---

void BeanstalkDoor::submit(const core::Ticket& ticket, core::Command&& command) {
  core::Ticket full = ticket;
  full.door = door_number();
  desk().submit(full, std::move(command));
}

std::string BeanstalkDoor::stats(const core::EngineStatsDone& engine) const {
  const auto up = std::chrono::floor<std::chrono::seconds>(clock_.live() - started_);
  return stats_of_server(engine, totals, tubes,
                         {.uptime_s = std::max<std::int64_t>(0, up.count()),
                          .body_bytes_max = options_.body_bytes_max,
                          .draining = draining_,
                          .id = run_id_});
}

// --- Replies ---

void BeanstalkDoor::on_deliveries(std::vector<core::Delivery>& deliveries) {
  std::uint64_t last = 0;
  std::size_t answered = 0;
  for (core::Delivery& delivery : deliveries) {
    const std::uint64_t connection = delivery.ticket.connection;
    if (std::exchange(last, connection) != connection && ++answered % kFlushEvery == 0) {
      links_.flush_dirty();
    }
    net::Link* link = links_.find(connection);
    if (link == nullptr) continue;
    static_cast<Connection*>(link)->session().deliver(delivery);
    links_.mark_dirty(*link);
  }
  links_.flush_dirty();
}

}  // namespace rq::doors::beanstalk
