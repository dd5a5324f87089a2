#pragma once
// For tests: a pipeline over a real store in a folder of its own, and doors that keep what they
// get.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/mailbox.h"
#include "base/temp_dir_rig.h"
#include "pipeline/broken_store_rig.h"
#include "pipeline/pipeline.h"
#include "store/sqlite/open.h"

namespace rq::pipeline::test {

using base::Code;
using base::Instant;
using base::Millis;
using core::Command;
using core::Delivery;
using core::Envelope;
using core::Reply;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// What takes longer than this has failed. Nothing is expected to take it.
inline constexpr seconds kPatience{30};

// Keeps the deliveries in their order; take() waits for them.
class TestDoor final : public Door {
 public:
  // Whoever has the engine's turn, before a delivery can be taken.
  std::function<void(const Delivery&)> looks_at;

  void deliver(std::vector<Delivery>&& deliveries) override {
    for (Delivery& delivery : deliveries) {
      if (looks_at) looks_at(delivery);
      RQ_CHECK(arrived_.post(std::move(delivery)));
    }
  }

  // The next delivery that arrives; fails when there is none.
  [[nodiscard]] Delivery next() {
    if (taken_ == here_.size() && !drain(std::chrono::steady_clock::now() + kPatience)) {
      ADD_FAILURE() << "no delivery";
      return {.ticket = {}, .reply = core::Ok{}};
    }
    return std::move(here_[taken_++]);
  }
  // What has arrived so far and was not taken.
  [[nodiscard]] std::vector<Delivery> rest() {
    std::vector<Delivery> rest;
    do {
      while (taken_ < here_.size()) rest.push_back(std::move(here_[taken_++]));
    } while (drain(std::chrono::steady_clock::time_point{}));
    return rest;
  }

 private:
  bool drain(std::chrono::steady_clock::time_point until) {
    here_.clear();
    taken_ = 0;
    static_cast<void>(arrived_.drain_until(here_, std::optional{until}));
    return !here_.empty();
  }

  base::Mailbox<Delivery> arrived_{1'000'000};
  std::vector<Delivery> here_;
  std::size_t taken_ = 0;
};

// A machine whose clocks stand still until the test moves them. A reader sees both at one moment:
// since_boot is read first.
class Machine {
 public:
  [[nodiscard]] MachineClocks clocks() {
    return {.since_boot =
                [this] {
                  const std::scoped_lock lock(mutex_);
                  seen_ = wall_;
                  return boot_;
                },
            .wall =
                [this] {
                  const std::scoped_lock lock(mutex_);
                  return seen_;
                }};
  }
  // Time passes, and the wall clock is stepped by `step` besides.
  void pass(nanoseconds time, nanoseconds step = nanoseconds{0}) {
    const std::scoped_lock lock(mutex_);
    boot_ += time;
    wall_ += time + step;
  }

 private:
  std::mutex mutex_;
  nanoseconds boot_ = hours{5};
  nanoseconds wall_ = seconds{1'700'000'000};
  nanoseconds seen_{};
};

class Rig {
 public:
  explicit Rig(std::unique_ptr<Clock> clock =
                   std::make_unique<Clock>(Clock::Mode::manual, base::from_ms(1'700'000'000'000)),
               std::size_t mailbox_max = 100'000)
      : clock_(std::move(clock)) {
    open(mailbox_max);
  }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;
  ~Rig() { pipeline_.reset(); }

  void start() { pipeline_->start(); }
  // The server ends; then the test does what happens meanwhile, and it starts again.
  void restart(const std::function<void()>& meanwhile) {
    pipeline_.reset();
    meanwhile();
    open(100'000);
    start();
  }
  [[nodiscard]] Pipeline& pipeline() { return *pipeline_; }
  [[nodiscard]] Clock& clock() { return *clock_; }
  [[nodiscard]] std::filesystem::path file() const { return dir_.path() / "rq.db"; }
  [[nodiscard]] std::unique_ptr<core::Reader> reader() const {
    auto opened = store::sqlite::open_reader(file());
    RQ_CHECK(opened.has_value());
    return std::move(*opened);
  }

  [[nodiscard]] Envelope envelope(Command command, std::uint32_t door = 0) {
    return {.ticket = {.door = door, .connection = 1, .request = ++requests_},
            .command = std::move(command)};
  }
  // Posts it; the number of the request.
  std::uint64_t post(Command command, std::uint32_t door = 0) {
    Envelope one = envelope(std::move(command), door);
    const std::uint64_t request = one.ticket.request;
    RQ_CHECK(pipeline_->submit(std::move(one)));
    return request;
  }
  // Posts it and waits for its answer, which must be the next one of door 0.
  template <typename T>
  [[nodiscard]] T ask(Command command) {
    const std::uint64_t request = post(std::move(command));
    Delivery delivery = doors[0].next();
    EXPECT_EQ(delivery.ticket.request, request);
    return as<T>(std::move(delivery.reply));
  }
  template <typename T>
  [[nodiscard]] static T as(Reply&& reply) {
    if (T* value = std::get_if<T>(&reply)) return std::move(*value);
    const base::Error* error = std::get_if<base::Error>(&reply);
    ADD_FAILURE() << (error != nullptr ? error->message : "another kind of answer");
    return T{};
  }

  void define(const std::string& queue, Millis lease) {
    core::QueueSettings settings;
    settings.lease = lease;
    static_cast<void>(ask<core::QueueShown>(core::DefineQueue{
        .queue = queue, .mode = core::DefineQueue::Mode::replace, .settings = settings}));
  }
  [[nodiscard]] static core::Put put_of(const std::string& queue) {
    core::Put put;
    put.queue = queue;
    put.message.payload = "x";
    return put;
  }
  [[nodiscard]] static core::Reserve reserve_of(const std::string& queue) {
    core::Reserve reserve;
    reserve.queues = std::make_shared<const std::vector<core::ReserveQueue>>(
        std::vector<core::ReserveQueue>{{.queue = queue}});
    reserve.worker = "w";
    return reserve;
  }
  // A reserve that waits so long, by the server's clock of now, has begun to wait; its request.
  std::uint64_t wait_for(const std::string& queue, Millis wait, std::uint32_t door) {
    const auto waiting = [this] {
      return ask<core::EngineStatsDone>(core::EngineStats{}).waiting_reserves;
    };
    const std::int64_t before = waiting();
    core::Reserve reserve = reserve_of(queue);
    reserve.wait_until = clock_->now() + wait;
    const std::uint64_t request = post(std::move(reserve), door);
    EXPECT_EQ(waiting(), before + 1);
    return request;
  }
  [[nodiscard]] base::Result<core::HeartbeatDone::Item> look_at_lease(const core::Message& m) {
    auto done = ask<core::HeartbeatDone>(core::Heartbeat{
        .items = {{.token = {.seq = m.seq, .attempt = m.lease->attempt, .boot = m.lease->boot},
                   .extend = false}}});
    if (done.items.size() != 1) return base::fail(Code::internal, "no item");
    return std::move(done.items.front());
  }

  Fates fates;
  TestDoor doors[2];

 private:
  void open(std::size_t mailbox_max) {
    pipeline_ = std::make_unique<Pipeline>(
        std::make_unique<BrokenStore>(store::sqlite::make_store(file()), fates), *clock_,
        mailbox_max);
    const auto opened = pipeline_->open();
    RQ_CHECK(opened.has_value());
    for (TestDoor& door : doors) RQ_CHECK(pipeline_->add_door(door) < std::size(doors));
  }

  const base::test::TempDir dir_;
  const std::unique_ptr<Clock> clock_;
  std::unique_ptr<Pipeline> pipeline_;
  std::uint64_t requests_ = 0;
};

// Keeps the engine's thread busy with the delivery of one command, to door 1, until release().
// REQUIRES: the rig is started.
class Hold {
 public:
  explicit Hold(Rig& rig) {
    rig.doors[1].looks_at = [this](const Delivery&) {
      held_.set_value();
      EXPECT_EQ(free_.get_future().wait_for(kPatience), std::future_status::ready);
    };
    rig.post(core::EngineStats{}, 1);
    EXPECT_EQ(held_.get_future().wait_for(kPatience), std::future_status::ready);
  }
  void release() { free_.set_value(); }

 private:
  std::promise<void> held_;
  std::promise<void> free_;
};

}  // namespace rq::pipeline::test
