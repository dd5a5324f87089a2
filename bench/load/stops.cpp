#include "load/stops.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <ctime>

#include "load/system.h"

namespace rq::load {
namespace {

constexpr std::int64_t kPeriodNs = 1'000'000;

// The calling thread on one processor only, before all that is not real-time.
bool take_place(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_param parameters{};
  parameters.sched_priority = 1;
  return ::pthread_setaffinity_np(::pthread_self(), sizeof(set), &set) == 0 &&
         ::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &parameters) == 0;
}

}  // namespace

Stops::Stops() {
  const unsigned cpus = std::max(1U, std::thread::hardware_concurrency());
  for (unsigned cpu = 0; cpu < cpus; ++cpu) threads_.emplace_back([this, cpu] { watch(cpu); });
  while (watching_ + refused_ < static_cast<int>(cpus)) std::this_thread::yield();
  watched_ = refused_ == 0;
}

Stops::~Stops() {
  ending_ = true;
  for (std::thread& thread : threads_) thread.join();
}

void Stops::watch(unsigned cpu) {
  if (!take_place(cpu)) {
    ++refused_;
    return;
  }
  ++watching_;
  for (std::int64_t due = clock_ns() + kPeriodNs; !ending_; due += kPeriodNs) {
    constexpr std::int64_t kSecondNs = 1'000'000'000;
    const timespec until{.tv_sec = due / kSecondNs, .tv_nsec = due % kSecondNs};
    if (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) != 0) continue;
    const std::int64_t now = clock_ns();
    if (now - due < kStopNs) continue;
    last_end_ns_ = now;
    total_ns_ += now - due;
    ++count_;
    due = now;
  }
}

}  // namespace rq::load
