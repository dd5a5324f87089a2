#pragma once
// For tests: commands that are drawn from a seed, as a server could get them.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/command.h"
#include "store/contract/seeds_rig.h"

namespace rq::store::contract {

using namespace core;
using base::Millis;
using std::chrono::seconds;

inline constexpr std::uint64_t kInTurn = 1;  // the connection whose commands are done in turn
inline constexpr std::uint64_t kConnections = 4;

inline QueueSettings settings_of(Draw& draw) {
  QueueSettings s;
  s.lease = seconds{20};
  s.losses = draw.pick<std::int64_t>({0, 2, 3});
  s.retries = draw.pick<std::int64_t>({0, 1, 2});
  s.backoff = {.kind = BackoffKind::fixed, .base = seconds{5}, .jitter_percent = 20};
  s.keep_done = {.age = seconds{60}, .count = draw.pick<std::int64_t>({0, 2, 100})};
  s.keep_err = {.age = seconds{90}, .count = draw.pick<std::int64_t>({0, 1, 100})};
  s.keep_cancelled = {.age = seconds{80}, .count = draw.pick<std::int64_t>({0, 1, 100})};
  s.sync = draw.below(2) == 0 ? SyncClass::always : SyncClass::relaxed;
  s.messages_max = draw.pick<std::int64_t>({0, 0, 6});
  s.priority = draw.pick<std::int64_t>({0, 2});
  return s;
}

// What commands may be about.
struct View {
  std::vector<Seq> messages;
  std::vector<Token> live;  // of leases
};

// Commands as a server could get them: most of them make sense.
class Commands {
 public:
  Commands(Draw& draw, bool scarce) : draw_(draw), scarce_(scarce) {}

  Envelope next(Instant now, View view) {
    now_ = now;
    view_ = std::move(view);
    connection_ = 1 + draw_.below(kConnections);
    Envelope out;
    out.command = command();
    out.ticket.connection = connection_;
    out.ticket.in_turn = connection_ == kInTurn && draw_.below(4) > 0;
    out.ticket.request = requests_ + 1;
    const auto* reserve = std::get_if<Reserve>(&out.command);
    requests_ += reserve != nullptr && reserve->each
                     ? static_cast<std::uint64_t>(std::max<std::int64_t>(1, reserve->limit))
                     : 1;
    return out;
  }
  void remember(const Token& token) { tokens_.push_back(token); }

 private:
  std::string some_queue() {
    return draw_.pick<std::string>({"a", "a", "b", "c", "d", "e", "nowhere"});
  }
  Seq some_message() {
    const auto& all = view_.messages;
    return all.empty() || draw_.one_in(30) ? 999'999 : all[draw_.below(all.size())];
  }
  Token some_token() {
    const auto& live = view_.live;
    if (!live.empty() && draw_.below(10) > 0) return live[draw_.below(live.size())];
    return tokens_.empty() ? Token{1, 1, 0} : tokens_[draw_.below(tokens_.size())];
  }
  std::string some_text() { return draw_.pick<std::string>({"", "", "so so", "nearly"}); }

  Put put() {
    Put out;
    out.queue = some_queue();
    out.make_queue = out.queue == "d" || out.queue == "e";
    out.message.payload = fmt::format("payload {}", draw_.below(3));
    if (draw_.below(3) == 0) out.message.detail().key = fmt::format("k{}", draw_.below(5));
    if (draw_.below(6) == 0) out.message.detail().tags = {"t"};
    if (draw_.below(6) == 0) out.message.detail().param1 = "p";
    if (draw_.below(6) == 0) out.message.detail().retries = 1;
    if (draw_.below(4) == 0) out.message.lease_length = seconds{7};
    if (draw_.below(2) == 0) out.priority = draw_.pick<std::int64_t>({-1, 0, 1, -5000});
    if (draw_.below(8) == 0) out.max_count = 2;
    switch (draw_.below(6)) {
      case 0:
        out.delay = draw_.pick<Millis>({Millis{1}, seconds{3}, seconds{30}});
        break;
      case 1:
        out.due = now_ + draw_.pick<Millis>({seconds{-50}, Millis{0}, seconds{9}});
        break;
      default:
        break;
    }
    out.prep = draw_.below(10) == 0;
    return out;
  }

  Reserve reserve() {
    Reserve out;
    // A bound of each queue is for one answer: an `each` has several.
    out.each = draw_.below(3) == 0;
    std::vector<ReserveQueue> queues;
    const auto n = 1 + draw_.below(3);
    for (std::uint64_t i = 0; i < n; ++i) {
      queues.push_back({.queue = draw_.pick<std::string>({"a", "b", "c", "d", "e"}),
                        .limit = out.each ? 0 : draw_.pick<std::int64_t>({0, 0, 0, 1, 2})});
    }
    out.queues = std::make_shared<const std::vector<ReserveQueue>>(std::move(queues));
    out.make_queue = draw_.below(8) > 0;
    out.limit = draw_.pick<std::int64_t>({1, 1, 1, 2, 3, 0});
    out.worker = draw_.pick<std::string>({"", "w"});
    if (draw_.below(5) == 0) out.lease = draw_.pick<Millis>({seconds{2}, seconds{50}});
    if (draw_.below(2) == 0) out.end = LeaseEnd::connection;
    out.folder = draw_.below(6) == 0;
    out.names = true;
    if (draw_.below(8) == 0) out.only = some_message();
    if (draw_.below(2) == 0) {
      out.wait_until = draw_.below(3) == 0
                           ? Instant::max()
                           : now_ + draw_.pick<Millis>({seconds{1}, seconds{8}, seconds{40}});
      if (draw_.below(3) == 0) out.lease_guard = seconds{1};
      // With short lists, who gets what is left depends on how short they are.
      if (scarce_ && out.limit > 1) out.wait_until.reset();
    }
    out.each = out.each && !out.only && out.limit > 0;
    return out;
  }

  Finish finish() {
    Finish out;
    const auto n = 1 + draw_.below(2);
    for (std::uint64_t i = 0; i < n; ++i) {
      Finish::Item item;
      item.token = some_token();
      item.outcome = static_cast<Outcome>(draw_.below(10));
      if (draw_.below(4) != 0) item.reason = some_text();
      if (draw_.below(4) == 0) item.result = "result";
      if (draw_.below(4) == 0) item.post_mortem = "{}";
      if (draw_.below(3) == 0) item.delay = seconds{6};
      if (draw_.below(4) == 0) item.priority = draw_.pick<std::int64_t>({-1, 1});
      item.remove = item.outcome == Outcome::done && draw_.below(2) == 0;
      out.items.push_back(std::move(item));
    }
    return out;
  }

  Act act() {
    Act out;
    out.action = static_cast<Action>(draw_.below(10));
    const auto n = 1 + draw_.below(3);
    for (std::uint64_t i = 0; i < n; ++i) out.messages.push_back(some_message());
    if (out.action == Action::move || draw_.below(2) == 0) out.queue = some_queue();
    out.priority = draw_.pick<std::int64_t>({-2, 0, 3});
    out.if_unfinished = draw_.one_in(2);
    out.reason = some_text();
    return out;
  }

  Command command_on_queues() {
    switch (draw_.below(8)) {
      case 0:
      case 1:
        return DefineQueue{.queue = draw_.pick<std::string>({"a", "b", "c", "d"}),
                           .mode = static_cast<DefineQueue::Mode>(draw_.below(3)),
                           .settings = settings_of(draw_)};
      case 2:
      case 3:
      case 4: {
        SetAdmin set{.queue = some_queue(), .admin = static_cast<Admin>(draw_.below(4))};
        if (draw_.below(2) == 0) set.admin = Admin::up;
        if (draw_.below(3) == 0) set.lasts = seconds{15};
        return set;
      }
      case 5:
        return DeleteQueue{.queue = some_queue(), .force = draw_.below(2) == 0};
      case 6:
        return SetScriptError{.queue = some_queue(), .error = some_text()};
      default:
        return draw_.below(2) == 0 ? Command{ListQueues{}} : Command{EngineStats{}};
    }
  }

  Command command() {
    switch (draw_.below(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        return put();
      case 5: {
        PutMany many;
        for (int i = 0; i < 3; ++i) many.puts.push_back(put());
        return many;
      }
      case 6:
      case 7:
      case 8:
      case 9:
        return reserve();
      case 10:
      case 11:
        return finish();
      case 12: {
        Heartbeat heartbeat;
        heartbeat.items.push_back({.token = some_token(), .extend = draw_.below(2) == 0});
        if (draw_.below(3) == 0) heartbeat.items[0].progress = some_text();
        if (draw_.below(3) == 0) heartbeat.items[0].lease = seconds{33};
        return heartbeat;
      }
      case 13:
        if (draw_.below(3) > 0) return act();
        return Duplicate{.token = some_token(),
                         .queue = some_queue(),
                         .delay = draw_.pick<Millis>({Millis{0}, seconds{4}})};
      case 14:
      case 15:
        return act();
      case 16:
        if (draw_.below(2) == 0) return RunEarlyOne{.seq = some_message()};
        return RunEarly{.queue = some_queue(),
                        .bound = scarce_ ? 1 : draw_.pick<std::int64_t>({1, 2, 100})};
      case 17:
        if (draw_.below(2) == 0) return ShowQueue{.queue = some_queue()};
        return Peek{.what = static_cast<PeekWhat>(draw_.below(4)),
                    .seq = some_message(),
                    .queue = some_queue()};
      case 18:
        return command_on_queues();
      default:
        if (draw_.below(3) == 0) return Disconnect{};
        if (draw_.below(3) == 0) return StopWaiting{};
        return command_on_queues();
    }
  }

  Draw& draw_;
  const bool scarce_;
  Instant now_{};
  View view_;
  std::uint64_t connection_ = 0;
  std::uint64_t requests_ = 0;
  std::vector<Token> tokens_;
};

}  // namespace rq::store::contract
