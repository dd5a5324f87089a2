#include "pipeline/clock.h"

#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/check.h"

namespace rq::pipeline {
namespace {

std::chrono::nanoseconds read_clock(clockid_t id) {
  timespec ts{};
  RQ_CHECK(::clock_gettime(id, &ts) == 0);
  return std::chrono::seconds{ts.tv_sec} + std::chrono::nanoseconds{ts.tv_nsec};
}

std::int64_t ms(std::chrono::nanoseconds t) {
  return std::chrono::duration_cast<base::Millis>(t).count();
}

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
  offset_ms_ = ms(machine_.wall()) - ms(boottime_at_last_);
  now_ms_ = ms(boottime_at_last_) + offset_ms_;
}

Clock::Reading Clock::read() {
  if (mode_ == Mode::manual) return {.now = now(), .step = {}, .stopped = {}};
  const std::chrono::nanoseconds boottime = machine_.since_boot();
  std::optional<base::Millis> step;
  base::Millis stopped{};
  const auto since = boottime - boottime_at_last_;
  if (since >= kLookEvery) {
    boottime_at_last_ = boottime;
    if (since >= kStoppedMin) stopped = base::Millis{ms(since)};
    const std::int64_t apart = ms(machine_.wall()) - (ms(boottime) + offset_ms_);
    if (std::abs(apart) >= kStepMin.count()) {
      offset_ms_ += apart;
      step = base::Millis{apart};
    } else {
      const std::int64_t most = std::max<std::int64_t>(1, ms(since) / kSlewPart);
      offset_ms_ += std::clamp(apart, -most, most);
    }
  }
  std::int64_t now = ms(boottime) + offset_ms_;
  // Slewing back never makes time run backwards; a step does, and says so.
  if (!step) now = std::max(now, now_ms_.load(std::memory_order_relaxed));
  now_ms_.store(now, std::memory_order_relaxed);
  return {.now = base::from_ms(now), .step = step, .stopped = stopped};
}

base::Instant Clock::now() const { return base::from_ms(now_ms_.load(std::memory_order_relaxed)); }

base::Instant Clock::advance(base::Millis by) {
  RQ_CHECK(mode_ == Mode::manual);
  return base::from_ms(now_ms_.fetch_add(by.count()) + by.count());
}

}  // namespace rq::pipeline
