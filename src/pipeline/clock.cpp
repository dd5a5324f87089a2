#include "pipeline/clock.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace rq::pipeline {
namespace {

std::chrono::nanoseconds read_clock(clockid_t id) {
  timespec ts{};
  RQ_CHECK(::clock_gettime(id, &ts) == 0);
  return std::chrono::seconds{ts.tv_sec} + std::chrono::nanoseconds{ts.tv_nsec};
}

constexpr std::int64_t kDoubtNs = std::chrono::nanoseconds{kDoubt}.count();

}  // namespace

MachineClocks machine_clocks() {
  return {.since_boot = [] { return read_clock(CLOCK_BOOTTIME); },
          .wall = [] { return read_clock(CLOCK_REALTIME); }};
}

Clock::Clock(Mode mode, base::Instant manual_start)
    : mode_(mode),
      machine_(mode == Mode::wall ? machine_clocks() : MachineClocks{}),
      now_ms_(base::to_ms(manual_start)) {
  if (mode_ == Mode::wall) follow_wall();
}

Clock::Clock(MachineClocks machine) : mode_(Mode::wall), machine_(std::move(machine)), now_ms_(0) {
  follow_wall();
}

void Clock::follow_wall() {
  boottime_at_last_ = machine_.since_boot();
  offset_ns_ = (machine_.wall() - boottime_at_last_).count();
  now_ms_ = base::to_ms(at(boottime_at_last_));
}

base::Instant Clock::at(std::chrono::nanoseconds boottime) const {
  const std::chrono::nanoseconds offset{offset_ns_.load(std::memory_order_relaxed)};
  return base::from_ms(std::chrono::floor<base::Millis>(boottime + offset).count());
}

Clock::Mark Clock::mark() const {
  RQ_CHECK(mode_ == Mode::wall);
  const std::chrono::nanoseconds boottime = machine_.since_boot();
  const std::chrono::nanoseconds offset{offset_ns_.load(std::memory_order_relaxed)};
  return {.since_boot = boottime,
          .time = boottime + offset,
          .followed = std::chrono::nanoseconds{followed_ns_.load(std::memory_order_relaxed)},
          .followed_ago =
              boottime - std::chrono::nanoseconds{followed_at_ns_.load(std::memory_order_relaxed)}};
}

void Clock::go_on_from(const Mark& before, bool same_run) {
  const Mark here = mark();
  if (same_run && before.since_boot > here.since_boot) return;  // never so
  const std::chrono::nanoseconds by_wall = here.time - before.time;
  const std::chrono::nanoseconds away = same_run ? here.since_boot - before.since_boot
                                                 : std::max(by_wall, std::chrono::nanoseconds{});
  away_ = std::chrono::duration_cast<base::Millis>(away);
  // What the wall clock was stepped by meanwhile shows as a difference at the first reading.
  offset_ns_ = (before.time + away - here.since_boot).count();
  now_ms_ = base::to_ms(at(here.since_boot));
  boottime_at_last_ = here.since_boot - kLookEvery;
  followed_ns_ = before.followed.count();
  followed_at_ns_ = (here.since_boot - away - before.followed_ago).count();
}

bool Clock::is_in_doubt(std::chrono::nanoseconds apart, Reading& reading) {
  if (boottime_at_last_.count() - followed_at_ns_.load() >= kDoubtNs) followed_ns_ = 0;
  if (std::chrono::abs(std::chrono::nanoseconds{followed_ns_.load()} + apart) < kDoubtMin) {
    doubted_.reset();
    return false;
  }
  if (!doubted_ || std::chrono::abs(*doubted_ - apart) >= kStepMin) {
    doubted_ = apart;
    doubted_since_ = boottime_at_last_;
    reading.doubt = std::chrono::duration_cast<base::Millis>(apart);
  }
  if (boottime_at_last_ - doubted_since_ < kDoubt) return true;
  doubted_.reset();
  followed_ns_ = -apart.count();  // it has stood for long enough: this step is not counted
  return false;
}

Clock::Reading Clock::read() {
  Reading reading;
  if (mode_ == Mode::manual) {
    reading.now = now();
    return reading;
  }
  const std::chrono::nanoseconds boottime = machine_.since_boot();
  reading.stopped = std::exchange(away_, base::Millis{0});
  const auto since = boottime - boottime_at_last_;
  if (since >= kLookEvery) {
    boottime_at_last_ = boottime;
    if (since >= kStoppedMin) reading.stopped += std::chrono::duration_cast<base::Millis>(since);
    const std::chrono::nanoseconds offset{offset_ns_.load(std::memory_order_relaxed)};
    const std::chrono::nanoseconds apart = machine_.wall() - (boottime + offset);
    const bool in_doubt = is_in_doubt(apart, reading);
    doubt_ms_ = in_doubt ? std::chrono::duration_cast<base::Millis>(apart).count() : 0;
    if (in_doubt) {
      // The server's time goes on as it was.
    } else if (std::chrono::abs(apart) >= kStepMin) {
      // In whole milliseconds, so that what is shifted by it keeps its distance.
      reading.step = std::chrono::duration_cast<base::Millis>(apart);
      offset_ns_ = (offset + *reading.step).count();
      followed_ns_ += std::chrono::nanoseconds{*reading.step}.count();
      followed_at_ns_ = boottime.count();
    } else {
      const std::chrono::nanoseconds most = since / kSlewPart;
      offset_ns_ = (offset + std::clamp(apart, -most, most)).count();
    }
  }
  std::int64_t now = base::to_ms(at(boottime));
  // Slewing back never makes time run backwards; a step does, and says so.
  if (!reading.step) now = std::max(now, now_ms_.load(std::memory_order_relaxed));
  now_ms_.store(now, std::memory_order_relaxed);
  reading.now = base::from_ms(now);
  return reading;
}

base::Instant Clock::live() const { return manual() ? now() : at(machine_.since_boot()); }

base::Instant Clock::now() const { return base::from_ms(now_ms_.load(std::memory_order_relaxed)); }

base::Instant Clock::advance(base::Millis by) {
  RQ_CHECK(mode_ == Mode::manual);
  return base::from_ms(now_ms_.fetch_add(by.count()) + by.count());
}

}  // namespace rq::pipeline
