#include "pipeline/pipeline.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/check.h"
#include "engine/engine.h"

namespace rq::pipeline {

using base::Instant;
using base::Result;
using core::Delivery;
using core::Envelope;

namespace {

// The longest sleep: the wall clock may be stepped, and sleep is measured by another one.
constexpr std::chrono::seconds kSleepMax{1};
// Up to this a batch is small, and its time tells how quick the disk is (ARCHITECTURE.md has the
// figures).
constexpr std::size_t kSmallBatchMessages = 256;
// A disk that lets the loop go on soon. On a slower one the loop reads and writes while the engine
// thread waits.
constexpr std::chrono::milliseconds kSmallBatchTime{1};
// Commands in one commit: with many more, engine and clients take turns.
constexpr std::size_t kBatchCommandsMax = 1200;
// After a fault: tries to open the store again, and the pauses between.
constexpr int kReopenTries = 10;
constexpr std::chrono::milliseconds kReopenPause{200};
// While the disk is full it is tried for as long as that lasts.
constexpr std::chrono::seconds kFullPause{1};

bool is_small(std::span<const Envelope> batch) {
  std::size_t messages = 0;
  for (const Envelope& envelope : batch) {
    messages += core::messages_of(envelope.command);
    if (messages > kSmallBatchMessages) return false;
  }
  return true;
}

void tell_of_clock(const Clock::Reading& reading) {
  if (reading.step) {
    spdlog::warn(
        "the wall clock was stepped by {} ms: leases and waits keep their length, "
        "delays and due times are by the clock",
        reading.step->count());
  }
  if (reading.doubt) {
    spdlog::warn(
        "the wall clock was stepped by {} ms, to another day: if it stands for {} minutes the "
        "server follows it; until then its time goes on as it was",
        reading.doubt->count(), kDoubt.count());
  }
  if (reading.stopped > base::Millis{0}) {
    spdlog::log(reading.stopped < kStoppedMin ? spdlog::level::info : spdlog::level::warn,
                "no server was at work for {} ms: leases end so much later",
                reading.stopped.count());
  }
}

}  // namespace

struct Pipeline::Impl {
  Impl(std::unique_ptr<core::Store> opened, Clock& server_clock, std::size_t mailbox_max)
      : store(std::move(opened)), engine(*store), clock(server_clock), mailbox(mailbox_max) {}

  void run();
  void run_batch(std::span<Envelope> batch);
  [[nodiscard]] std::chrono::steady_clock::time_point sleep_until();
  void tell_what_happened();
  void deliver(std::vector<Delivery>& deliveries);
  void finish_advances();
  void mend();
  [[nodiscard]] bool reopen();
  [[nodiscard]] bool waits_for_room() const { return broken && !failed && !deposed; }
  void log_reports() const;

  std::unique_ptr<core::Store> store;
  engine::Engine engine;
  Clock& clock;
  base::Mailbox<Envelope> mailbox;
  std::vector<Door*> doors;
  std::vector<NoticeSink*> sinks;
  std::function<void()> waste;
  std::function<void()> alive;
  std::function<void()> failure;
  std::function<void()> damage;
  std::thread thread;
  std::atomic<bool> failed{false};

  struct Advance {
    base::Millis by;
    std::function<void(Instant)> done;
  };
  base::Mailbox<Advance> advances{kAdvancesMax};

  // Whoever has the turn of the mailbox's reader:
  std::chrono::steady_clock::time_point sleeps_until;  // the engine thread, at most
  std::chrono::steady_clock::duration small_batch{};   // how long one takes, a moving mean
  Instant alive_next{};                                // when that is told again
  bool broken = false;                                 // the store wants to be opened again
  bool deposed = false;  // somebody else has opened it: this engine is at its end
  std::chrono::steady_clock::time_point reopens_at;  // the disk was full; not before
  core::Outbox outbox;
  std::vector<std::vector<Delivery>> by_door;
  std::vector<Advance> advancing;
  std::atomic<bool> running{false};  // somebody has the turn and runs a batch
};

Pipeline::Pipeline(std::unique_ptr<core::Store> store, Clock& clock, std::size_t mailbox_max)
    : clock_(clock), impl_(std::make_unique<Impl>(std::move(store), clock, mailbox_max)) {}

Pipeline::~Pipeline() { stop(); }

std::uint32_t Pipeline::add_door(Door& door) {
  impl_->doors.push_back(&door);
  return static_cast<std::uint32_t>(impl_->doors.size() - 1);
}

void Pipeline::add_sink(NoticeSink& sink) { impl_->sinks.push_back(&sink); }

void Pipeline::on_failure(std::function<void()> call) { impl_->failure = std::move(call); }

void Pipeline::on_alive(std::function<void()> call) { impl_->alive = std::move(call); }

void Pipeline::on_damage(std::function<void()> call) { impl_->damage = std::move(call); }

void Pipeline::on_waste(std::function<void()> call) { impl_->waste = std::move(call); }

Result<core::Boot> Pipeline::open() {
  const auto opened = impl_->engine.open();
  impl_->log_reports();
  RQ_TRY(opened);
  return impl_->store->boot();
}

void Pipeline::start() {
  impl_->by_door.resize(impl_->doors.size());
  impl_->thread = std::thread([this] { impl_->run(); });
}

void Pipeline::stop() {
  impl_->mailbox.close();
  if (impl_->thread.joinable()) impl_->thread.join();
}

bool Pipeline::submit(std::vector<Envelope>& commands) { return impl_->mailbox.post_all(commands); }

bool Pipeline::submit(Envelope&& command) { return impl_->mailbox.post(std::move(command)); }

bool Pipeline::run_here(std::vector<Envelope>& commands) {
  Impl& impl = *impl_;
  if (!is_small(commands) || !impl.mailbox.borrow()) return false;
  const bool here = !impl.broken && impl.small_batch <= kSmallBatchTime;
  if (here) {
    impl.run_batch(commands);
    commands.clear();
    // What only the engine thread does, or has to know.
    if (impl.broken || impl.store->condition().wants_maintenance ||
        impl.sleep_until() < impl.sleeps_until) {
      impl.mailbox.poke();
    }
  }
  impl.mailbox.give_back();
  return here;
}

bool Pipeline::failed() const { return impl_->failed.load(std::memory_order_relaxed); }

bool Pipeline::advance_clock(base::Millis by, std::function<void(Instant)> done) {
  Impl::Advance advance{.by = by, .done = std::move(done)};
  if (!impl_->advances.post(std::move(advance))) return false;
  impl_->mailbox.poke();
  return true;
}

// When the engine must run next, even if no command arrives.
std::chrono::steady_clock::time_point Pipeline::Impl::sleep_until() {
  const auto now = std::chrono::steady_clock::now();
  if (waits_for_room()) return now + kFullPause;
  const Instant wake = engine.next_wake();
  if (wake == Instant::max()) return now + kSleepMax;
  const base::Millis wait = wake - clock.now();
  // A manual clock does not advance by itself: there is no deadline to wait for.
  if (clock.manual() && wait > base::Millis{0}) return now + kSleepMax;
  return now + std::clamp<base::Millis>(wait, base::Millis{0}, kSleepMax);
}

void Pipeline::Impl::run() {
  std::vector<Envelope> arrived;
  for (bool open = true; open;) {
    arrived.clear();
    sleeps_until = sleep_until();
    open = mailbox.drain_until(arrived, std::optional{sleeps_until});
    mend();
    // A batch is bounded so that its replies do not wait for ever.
    std::span<Envelope> rest{arrived};
    do {
      const std::size_t n = std::min(rest.size(), kBatchCommandsMax);
      run_batch(rest.subspan(0, n));
      mend();
      rest = rest.subspan(n);
    } while (!rest.empty());
    finish_advances();
    if (!broken) store->maintain();
    log_reports();
  }
}

// Moves the manual clock, and lets everything fall due before it says so.
void Pipeline::Impl::finish_advances() {
  advancing.clear();
  static_cast<void>(
      advances.drain_until(advancing, std::optional{std::chrono::steady_clock::time_point{}}));
  for (const Advance& advance : advancing) {
    const Instant now = clock.advance(advance.by);
    for (;;) {
      run_batch({});
      mend();
      if (broken || engine.next_wake() > now) break;
    }
    advance.done(now);
  }
}

void Pipeline::Impl::run_batch(std::span<Envelope> batch) {
  // Two with the turn at once would tear the engine apart.
  RQ_CHECK(!running.exchange(true, std::memory_order_acquire));
  const Clock::Reading reading = clock.read();
  tell_of_clock(reading);
  const bool wanted =
      std::any_of(sinks.begin(), sinks.end(), [](const NoticeSink* s) { return s->wanted(); });
  const bool timed = !batch.empty() && is_small(batch);
  const auto start = std::chrono::steady_clock::now();
  const core::Committed ran = engine.run(batch,
                                         {.now = reading.now,
                                          .shift = reading.step.value_or(base::Millis{0}),
                                          .stopped = reading.stopped,
                                          .want_notices = wanted,
                                          .tick = clock.tick()},
                                         outbox);
  // What the clock has done is in the store now. Where the next server goes on from is told after
  // that: were it before, what a failed commit lost would never be made good.
  if (reading.step || reading.stopped > base::Millis{0}) alive_next = Instant{};
  if (alive && ran.what == core::Committed::What::yes && reading.now >= alive_next) {
    alive();
    alive_next = reading.now + kSleepMax;
  }
  if (timed) small_batch += (std::chrono::steady_clock::now() - start - small_batch) / 8;
  deliver(outbox.deliveries);
  tell_what_happened();
  log_reports();
  if (ran.what != core::Committed::What::yes) {
    if (!broken) spdlog::error("a batch of {} commands failed: {}", batch.size(), ran.why.message);
    broken = true;
    deposed = ran.what == core::Committed::What::deposed;
  }
  running.store(false, std::memory_order_release);
}

void Pipeline::Impl::tell_what_happened() {
  if (!outbox.notices.empty()) {
    const auto notices =
        std::make_shared<const std::vector<core::Notice>>(std::move(outbox.notices));
    for (NoticeSink* sink : sinks) sink->publish(notices);
    outbox.notices.clear();
  }
  if (outbox.waste && waste) waste();
  for (const core::SetAside& gone : outbox.set_aside) {
    spdlog::error("message {} was set aside, see table corrupt of the store: {}", gone.seq,
                  gone.why);
  }
}

void Pipeline::Impl::deliver(std::vector<Delivery>& deliveries) {
  for (Delivery& delivery : deliveries) {
    if (delivery.ticket.door < by_door.size()) {
      by_door[delivery.ticket.door].push_back(std::move(delivery));
    }
  }
  for (std::size_t door = 0; door < by_door.size(); ++door) {
    if (by_door[door].empty()) continue;
    doors[door]->deliver(std::move(by_door[door]));
    by_door[door].clear();
  }
  deliveries.clear();
}

// The engine's own thread: it may take its time.
void Pipeline::Impl::mend() {
  if (failed || !broken || (!deposed && reopen())) return;
  spdlog::critical(deposed ? "another server has opened the store; this one ends"
                           : "the store cannot be used any more; the server ends");
  failed = true;
  if (failure) failure();
}

void Pipeline::Impl::log_reports() const {
  const std::vector<std::string> reports = store->take_reports();
  for (const std::string& report : reports) spdlog::error("{}", report);
  if (!reports.empty() && damage) damage();
}

// The store has gone back to its last commit; the engine reads what it knows from there. False: it
// cannot be opened, and waiting does not help.
bool Pipeline::Impl::reopen() {
  if (std::chrono::steady_clock::now() < reopens_at) return true;
  std::string said;
  for (int i = 0; i < kReopenTries; ++i) {
    const auto opened = engine.open();
    log_reports();
    if (opened) {
      if (std::exchange(reopens_at, {}) != decltype(reopens_at){}) {
        spdlog::info("the store is open again");
      }
      broken = false;
      return true;
    }
    const bool full = opened.error().code == base::Code::disk_full || store->condition().no_room;
    const auto pause_ends = std::chrono::steady_clock::now() + kFullPause;
    if (full && std::exchange(reopens_at, pause_ends) != decltype(reopens_at){}) return true;
    if (opened.error().message != std::exchange(said, opened.error().message)) {
      spdlog::error("opening the store again: {}{}", opened.error().message,
                    full ? "; the disk is full: it is tried again until there is room" : "");
    }
    if (full) return true;
    std::this_thread::sleep_for(kReopenPause);
  }
  return false;
}

}  // namespace rq::pipeline
