#pragma once
// The queues with their counters, and how a message moves. Its state, the counters and the notices
// change together, here and nowhere else. The family whose command moves it tells the store
// (Store::changed), and asks for the sync of its queue where the reply promises one.
// Thread: whoever has the engine's turn.
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "core/command.h"
#include "core/lifecycle.h"
#include "core/store.h"
#include "engine/waiters.h"

namespace rq::engine {

using namespace core;  // the engine speaks of the words that core defines

// An empty queue that was made on demand goes when nobody has used it for so long.
inline constexpr std::chrono::minutes kOnDemandIdle{10};
// Queues there may be: all are in memory.
inline constexpr std::size_t kQueuesMax = 100'000;
// When there are so many, unused ones that were made on demand go, so many at once; when there was
// none to go, nobody looks again for a while.
inline constexpr std::size_t kRoomStep = 100;
inline constexpr std::chrono::seconds kRoomPause{1};

// The batch that runs. Nothing of it leaves the engine before the commit.
struct Batch {
  std::uint64_t number = 0;
  Instant now{};   // not after the true time: what is due by now is due
  Instant from{};  // not before it: what lasts begins here, so that nothing ends early
  Sync sync = Sync::none;
  bool no_room = false;  // the disk is full: what needs more of it is refused
  bool want_notices = false;
  std::vector<Delivery> replies;
  std::vector<Notice> notices;
  bool waste = false;
  std::vector<SetAside> set_aside;
  std::vector<Miscount> miscounts;  // to be corrected at its end
  std::vector<QueueId> offered;     // something has become ready in them
  Needs wanted;                     // of the next round
  std::int64_t caller_uid = -1;     // of the command that runs
  std::size_t payload_bytes = 0;    // of the messages that it has had in hand
};

struct Entry {
  Queue queue;
  QueueName name;  // shared with replies

  // In memory only:
  Instant used{};  // when it was last used; kept for queues made on demand
  std::array<Instant, std::size(kKeeps)> armed{};  // of each Keep; epoch: not known
  std::uint64_t round = 0;        // the last reserve that visited this queue; skips duplicates
  bool counters_changed = false;  // in this batch
  bool offered = false;           // it is in Batch::offered
  std::uint64_t touched = 0;      // the batch that first changed its counters
  std::int64_t ready_before = 0;  // of that batch: in que before it
  std::uint64_t asked = 0;        // the batch that loaded the front of its line
  std::int64_t asked_n = 0;       // of that batch: so many of it
};

// Each kind of finished message that retention tells apart has a place and a timer.
[[nodiscard]] Place place_of(Keep keep);
[[nodiscard]] Timer::What timer_of(Keep keep);

enum class Removal : std::uint8_t { asked, retention };

class Ledger {
 public:
  Ledger(Store& store, Batch& batch, const Waiters& waiters, std::size_t queues_max)
      : store_(store), batch_(batch), waiters_(waiters), queues_max_(queues_max) {}

  // --- Queues ---
  // Reads all of them from the store, which has just been opened.
  [[nodiscard]] base::Result<void> open();
  [[nodiscard]] Entry* find(std::string_view name);
  [[nodiscard]] Entry* find(QueueId id);
  // Refuses when there is none.
  [[nodiscard]] base::Result<Entry*> need(std::string_view name);
  [[nodiscard]] Entry& of(const Message& message);
  [[nodiscard]] const std::unordered_map<QueueId, std::unique_ptr<Entry>>& all() const {
    return queues_;
  }
  [[nodiscard]] base::Result<Entry*> make(Queue&& queue);
  // A queue as its first use makes it, for make(). Refuses a bad name, and when there is no room
  // for it beside `others` that are to be made as well.
  [[nodiscard]] base::Result<Queue> on_demand(std::string_view name, std::size_t others = 0);
  // Settings, admin state or script error are other ones now. `what`: which, for people.
  void changed(Entry& entry, std::string&& what);
  // REQUIRES: no messages in it. The entry is gone after it.
  void remove(Entry& entry);
  // All that there are and that were deleted since the start.
  [[nodiscard]] Counters totals() const;

  // --- Messages ---
  void arrive(Record& record);
  // REQUIRES: the move is legal. `outcome`: of the attempt that this move ends; empty when it ends
  // none.
  void advance(Record& record, Event event, Mark mark = Mark::none, std::string_view outcome = {});
  void move(Record& record, Entry& to);
  void remove(Record& record, Removal why = Removal::asked);
  // It has just finished: its retention begins, or it goes.
  void keep_or_remove(Record& record);
  void set_priority(Record& record, std::int64_t priority);
  // Where it will stand in the line when it is ready: by its due time.
  void line_up(Message& message);
  void note(Notice::What what, const Message& message, State from, std::string_view text = {});

  // --- The batch ---
  // Its sync class decides what a commit must do before anybody hears of it.
  void sync(const Entry& entry);
  void sync_disk() { batch_.sync = Sync::disk; }
  void offer(Entry& entry);  // something is ready in it, and may start
  void forget_offers();
  // `gone`: what the store has set aside counts no more. Miscounts are corrected.
  void save_counters(const std::vector<SetAside>& gone);
  // Ready messages before the first change of this batch.
  [[nodiscard]] std::int64_t ready_before(const Entry& entry) const;
  void arm(Entry& entry, Timer::What what, Instant at);
  void disarm(Entry& entry, Timer::What what);
  void arm(Entry& entry, Keep keep, std::optional<Instant> at);  // absent: disarms it
  void use(Entry& entry) { entry.used = batch_.now; }
  // The wall clock was stepped: a pause keeps its length.
  void shift_pauses(Millis by);

 private:
  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };

  // Refuses when there may not be so many more, of which `name` is one. Unused ones go before.
  [[nodiscard]] base::Result<void> check_room(std::string_view name, std::size_t more);
  // Its counters, for a change of them: they are written with this batch.
  Counters& change_counters(Entry& entry);
  void note(const Entry& entry, Notice::What what, std::string&& text = {});
  // Removes unused queues that were made on demand, the longest unused first. False: there is none.
  [[nodiscard]] bool make_room();

  Store& store_;
  Batch& batch_;
  const Waiters& waiters_;
  const std::size_t queues_max_;
  Instant no_room_until_{};
  std::unordered_map<QueueId, std::unique_ptr<Entry>> queues_;
  std::unordered_map<std::string_view, Entry*, NameHash, std::equal_to<>> by_name_;
  Entry* last_ = nullptr;         // found by its id last
  std::vector<QueueId> counted_;  // in this batch
  Counters gone_;                 // of queues that were deleted since the start
};

}  // namespace rq::engine
