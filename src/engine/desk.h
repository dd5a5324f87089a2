#pragma once
// What the families of commands share: the store, the queues, those who wait, and the batch that
// runs.
//
// A family is a file with two functions for each of its commands:
//
//   void needs(Desk&, const Command&, Needs&)      what it will look at, before anything is decided
//   Result<Step> decide(Desk&, Command&)           the rule: looks, changes, answers
//
// A refusal is returned as an error and changes nothing. Thread: whoever has the engine's turn.
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/result.h"
#include "core/command.h"
#include "core/store.h"
#include "engine/connections.h"
#include "engine/ledger.h"
#include "engine/turns.h"
#include "engine/waiters.h"

namespace rq::engine {

// What a command came to.
enum class Step : std::uint8_t {
  done,     // it is answered, waits in memory, or wants no answer
  lacks,    // it has done nothing: what it lacks is in Batch::wanted, for the next round
  goes_on,  // it has done its share of this batch, and goes on in the next one
};

// Messages whose leases end, which fall due, or timers handled in one batch, at most of each.
inline constexpr std::int64_t kDueMax = 1000;

// Payloads that one batch has in hand, about: with more, whoever has large messages goes on in the
// next one. Replies hold copies of them, and render them.
inline constexpr std::size_t kBatchPayloadBytes = 32 * base::kMiB;

// A queue of a reserve, and what take_best knows of its line.
struct Source {
  Entry* entry = nullptr;
  std::int64_t left = 0;       // so many more may be taken from it
  LineKey key = kBehindAll;    // the best one; kBehindAll: there is none
  LineKey known = kBehindAll;  // all better ones than this are known
};

struct Desk {
  Desk(Store& the_store, std::size_t queues_max)
      : store(the_store), ledger(the_store, batch, waiters, queues_max) {}
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  template <typename Answer>
  void answer(const Ticket& to, Answer&& reply) {
    using Kind = std::remove_cvref_t<Answer>;
    batch.replies.push_back({to, Reply{std::in_place_type<Kind>, std::forward<Answer>(reply)}});
  }
  // To whoever asked the command that runs.
  template <typename Answer>
  void answer(Answer&& reply) {
    answer(ticket, std::forward<Answer>(reply));
  }

  // The batch has this message in hand.
  void has(const Message& message) { batch.payload_bytes += message.payload.size(); }
  // It has had enough: what can wait goes on in the next one.
  [[nodiscard]] bool full() const { return batch.payload_bytes >= kBatchPayloadBytes; }

  Store& store;
  Batch batch;
  Waiters waiters;
  Ledger ledger;
  Turns turns;
  Connections connections;

  Ticket ticket{};           // of the command that runs
  std::uint64_t rounds = 0;  // walks over the queues of a reserve, to see each queue once
  // Of the reserve that is looked at (find_watched): its queues, and those that have something.
  std::vector<Source> watched;
  std::vector<Source> sources;

  // Who wants to hear that a queue is deleted.
  struct Deletion {
    QueueId queue = 0;
    Ticket ticket;
  };
  std::vector<Deletion> deletions;

  // Since the start.
  std::int64_t commands = 0;
  std::int64_t batches = 0;
  std::int64_t syncs = 0;
  Seq last_seq = 0;  // of the last message put
};

// A command that looks at no message. The families have their own for those that do.
template <typename Looks>
void needs(Desk& /*desk*/, const Looks& /*command*/, Needs& /*out*/) {}

// Does `one` to each item of a command that lists its messages, over several batches when they are
// large. `done` is what has been done so far, and then the answer.
template <typename Item, typename Done, typename One>
base::Result<Step> each_item(Desk& desk, std::vector<Item>& items, Done& done, One one) {
  done.items.reserve(items.size());
  while (done.items.size() < items.size()) {
    if (desk.full()) return Step::goes_on;
    auto result = one(items[done.items.size()]);
    if (!result && base::is_fault(result.error())) return std::move(result).error();
    done.items.push_back(std::move(result));
  }
  desk.answer(std::move(done));
  return Step::done;
}

// The message, or a refusal that says it is not there, as no_message().
[[nodiscard]] base::Error no_message(Seq seq);
[[nodiscard]] base::Result<Record*> need_message(Desk& desk, Seq seq);

}  // namespace rq::engine
