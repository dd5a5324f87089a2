#pragma once
// For tests: the engine over a store of any kind, with made-up time.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/engine.h"
#include "engine/timers.h"
#include "store/contract/home_rig.h"

namespace rq::store::contract {

using base::Code;
using base::Error;
using base::Millis;
using core::Command;
using core::Reply;
using core::State;
using core::Token;
using std::chrono::seconds;

// A suite of engine tests: each runs on every store.
class EngineSuite : public testing::TestWithParam<Factory> {};

class Rig {
 public:
  explicit Rig(const Factory& factory, std::size_t queues_max = engine::kQueuesMax)
      : queues_max_(queues_max), home_(factory.make()) {
    open();
  }

  void open() {
    store_ = home_->make();
    engine_ = std::make_unique<engine::Engine>(*store_, queues_max_);
    const auto started = engine_->open();
    if (!started) {
      ADD_FAILURE() << started.error().message;
      std::abort();
    }
  }
  void close() {
    engine_.reset();
    store_.reset();
  }
  // Ends the server and starts it again: a new boot.
  void reopen() {
    close();
    open();
  }
  // The same after kill -9: nothing is closed, a copy of the files is opened.
  void crash() {
    home_->crash();
    close();
    open();
  }

  // --- Asking ---
  // Into the next batch. The number finds the reply.
  std::uint64_t submit(Command command, std::uint64_t connection = 1) {
    const std::uint64_t request = ++requests_;
    core::Ticket ticket;
    ticket.connection = connection;
    ticket.request = request;
    ticket.caller_uid = caller_uid;
    batch_.push_back({.ticket = ticket, .command = std::move(command)});
    return request;
  }
  std::uint64_t submit_in_turn(Command command, std::uint64_t connection) {
    const std::uint64_t request = submit(std::move(command), connection);
    batch_.back().ticket.in_turn = true;
    return request;
  }
  // As if `n` more had been submitted: the numbers of a Reserve::each.
  void skip_requests(std::uint64_t n) { requests_ += n; }
  Committed try_run() {
    core::Outbox out;
    const Committed ran = engine_->run(batch_,
                                       {.now = now,
                                        .shift = std::exchange(shift, Millis{0}),
                                        .stopped = std::exchange(stopped, Millis{0}),
                                        .want_notices = true,
                                        .tick = tick},
                                       out);
    batch_.clear();
    for (core::Delivery& delivery : out.deliveries) {
      served.push_back(delivery.ticket.request);
      const bool first =
          replies_.emplace(delivery.ticket.request, std::move(delivery.reply)).second;
      EXPECT_TRUE(first) << "request " << delivery.ticket.request << " was answered twice";
    }
    for (core::Notice& notice : out.notices) notices.push_back(std::move(notice));
    if (ran.what == Committed::What::yes) store_->maintain();
    return ran;
  }
  void run() {
    const auto ran = try_run();
    ASSERT_EQ(ran.what, Committed::What::yes) << ran.why.message;
  }
  // Time passes; what falls due is done, in as many batches as that takes.
  void pass(Millis by) {
    now += by;
    for (int i = 0; i < 1000; ++i) {
      run();
      if (engine_->next_wake() > now) return;
    }
    FAIL() << "the engine never comes to rest";
  }
  [[nodiscard]] bool answered(std::uint64_t request) const { return replies_.contains(request); }
  // Takes the reply, which must be there and a T.
  template <typename T>
  T reply(std::uint64_t request) {
    const auto found = replies_.find(request);
    if (found == replies_.end()) {
      ADD_FAILURE() << "request " << request << " has no answer";
      return T{};
    }
    if (T* value = std::get_if<T>(&found->second)) {
      T out = std::move(*value);
      return out;
    }
    const Error* error = std::get_if<Error>(&found->second);
    ADD_FAILURE() << "request " << request << ": "
                  << (error != nullptr ? error->message : "another kind of answer");
    return T{};
  }
  template <typename T>
  T ask(Command command, std::uint64_t connection = 1) {
    const auto request = submit(std::move(command), connection);
    run();
    return reply<T>(request);
  }
  // The code of the first refusal, of the command or of its items.
  std::optional<Code> code_of(Command command) {
    const auto request = submit(std::move(command));
    run();
    const Reply& reply = replies_.at(request);
    if (const auto* error = std::get_if<Error>(&reply)) return error->code;
    const auto first = [](const auto& items) -> std::optional<Code> {
      for (const auto& item : items) {
        if (!item) return item.error().code;
      }
      return std::nullopt;
    };
    if (const auto* done = std::get_if<core::ActDone>(&reply)) return first(done->items);
    if (const auto* done = std::get_if<core::FinishDone>(&reply)) return first(done->items);
    return std::nullopt;
  }
  Error refused(Command command) { return ask<Error>(std::move(command)); }

  // --- Shorthands ---
  core::QueueShown define(const std::string& name, const core::QueueSettings& settings = {}) {
    return ask<core::QueueShown>(core::DefineQueue{
        .queue = name, .mode = core::DefineQueue::Mode::replace, .settings = settings});
  }
  static core::Put put_of(const std::string& queue, const std::string& payload = "x") {
    core::Put put;
    put.queue = queue;
    put.message.payload = payload;
    return put;
  }
  core::Seq put(const std::string& queue, const std::string& payload = "x") {
    return ask<core::PutDone>(put_of(queue, payload)).seq;
  }
  core::Seq put(const std::string& queue, std::int64_t priority) {
    core::Put p = put_of(queue);
    p.priority = priority;
    return ask<core::PutDone>(std::move(p)).seq;
  }
  static core::Reserve reserve_of(std::vector<core::ReserveQueue> queues, std::int64_t limit = 1) {
    core::Reserve reserve;
    reserve.queues = std::make_shared<const std::vector<core::ReserveQueue>>(std::move(queues));
    reserve.limit = limit;
    reserve.worker = "w";
    return reserve;
  }
  core::Reserve waiting_reserve(std::vector<core::ReserveQueue> queues,
                                base::Instant until = base::Instant::max()) {
    core::Reserve reserve = reserve_of(std::move(queues));
    reserve.wait_until = until;
    return reserve;
  }
  std::vector<core::Message> take(const std::string& queue, std::int64_t limit = 1) {
    return ask<core::Reserved>(reserve_of({{.queue = queue}}, limit)).messages;
  }
  // Leases one message, which must be there.
  core::Message take_one(const std::string& queue) {
    auto messages = take(queue);
    if (messages.size() != 1) {
      ADD_FAILURE() << "queue " << queue << " gave " << messages.size() << " messages";
      return {};
    }
    return std::move(messages.front());
  }
  static Token token_of(const core::Message& m) {
    return m.lease ? Token{.seq = m.seq, .attempt = m.lease->attempt, .boot = m.lease->boot}
                   : Token{};
  }
  base::Result<State> finish(core::Finish::Item item) {
    core::Finish command;
    command.items.push_back(std::move(item));
    auto done = ask<core::FinishDone>(std::move(command));
    if (done.items.size() != 1) return base::fail(Code::internal, "no item");
    return std::move(done.items.front());
  }
  base::Result<State> finish(const core::Message& m, core::Outcome outcome,
                             std::optional<std::string> reason = {}) {
    return finish({.token = token_of(m), .outcome = outcome, .reason = std::move(reason)});
  }
  base::Result<core::ActDone::Item> act(core::Act command) {
    auto done = ask<core::ActDone>(std::move(command));
    if (done.items.size() != 1) return base::fail(Code::internal, "no item");
    return std::move(done.items.front());
  }
  base::Result<core::ActDone::Item> act(core::Action action, core::Seq seq,
                                        const std::string& queue = {}) {
    return act({.action = action, .messages = {seq}, .queue = queue});
  }
  base::Result<core::HeartbeatDone::Item> heartbeat(core::Heartbeat::Item item) {
    core::Heartbeat command;
    command.items.push_back(std::move(item));
    auto done = ask<core::HeartbeatDone>(std::move(command));
    if (done.items.size() != 1) return base::fail(Code::internal, "no item");
    return std::move(done.items.front());
  }
  core::Message show(core::Seq seq) {
    return std::move(
        *ask<core::Peeked>(core::Peek{.what = core::PeekWhat::message, .seq = seq}).message);
  }
  State state(core::Seq seq) { return show(seq).state; }
  [[nodiscard]] bool exists(core::Seq seq) {
    const auto request = submit(core::Peek{.what = core::PeekWhat::message, .seq = seq});
    run();
    return std::holds_alternative<core::Peeked>(replies_.at(request));
  }
  core::QueueShown queue(const std::string& name) {
    return ask<core::QueueShown>(core::ShowQueue{.queue = name});
  }
  core::Counters counters(const std::string& name) { return queue(name).queue->counters; }
  std::vector<core::Attempt> attempts(core::Seq seq) {
    auto out = home_->reader()->attempts(seq);
    RQ_CHECK(out.has_value());
    return std::move(*out);
  }
  // Nothing that doctor would complain of.
  void expect_sound() {
    for (const std::string& finding : home_->findings()) ADD_FAILURE() << finding;
  }

  [[nodiscard]] Home& home() { return *home_; }
  [[nodiscard]] engine::Engine& engine() { return *engine_; }
  [[nodiscard]] Store& store() { return *store_; }

  base::Instant now = base::from_ms(1'700'000'000'000);
  Millis shift{};                // a step of the clock, told with the next batch
  Millis stopped{};              // likewise
  Millis tick{0};                // of the clock: Moment::tick
  std::int64_t caller_uid = -1;  // of what is submitted
  std::vector<core::Notice> notices;
  std::vector<std::uint64_t> served;  // requests, in the order of their answers

 private:
  const std::size_t queues_max_;
  std::unique_ptr<Home> home_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<engine::Engine> engine_;
  std::vector<core::Envelope> batch_;
  std::map<std::uint64_t, Reply> replies_;
  std::uint64_t requests_ = 0;
};

}  // namespace rq::store::contract
