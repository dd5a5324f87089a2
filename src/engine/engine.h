#pragma once
// The engine: a function over the store, in batches (docs/ARCHITECTURE.md).
//
//   load -> decide -> save -> commit -> reply
//
// It decides by the rules of this folder and keeps nothing that it could not lose: queues with
// their settings and counters are read from the store at the start, waiting reserves are asked for
// again by their clients. Same store, same commands, same times: same result.
//
// Thread: one. Errors: a refusal refuses its command alone; a fault of the store fails the batch.
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "core/command.h"
#include "core/lifecycle.h"
#include "core/store.h"
#include "engine/waiters.h"

namespace rq::engine {

using namespace core;  // the engine speaks of the words that core defines

class Engine {
 public:
  explicit Engine(core::Store& store);

  // Reads the queues and gives back the leases of connections that ended with an earlier boot.
  // Again after a fault.
  [[nodiscard]] base::Result<void> open(Instant now);

  // One batch: first all that is due at `now`, then the commands in their order, then the commit.
  // Every command gets one delivery (a waiting reserve, and what is behind it in turn, in a later
  // batch; Reserve::each up to one a message; Disconnect and StopWaiting none). On a
  // fault all get it as their answer, the engine must be opened again, and the fault is returned.
  //
  // `answer`, when there is one, is called before the commit if `out` promises nothing that the
  // store must hold: leases that end with their connection, and so with this process. It takes the
  // deliveries; should the commit then fail, these leases are lost, as if their time were over.
  [[nodiscard]] base::Result<void> run(std::span<Envelope> batch, Instant now, bool want_notices,
                                       Outbox& out, const std::function<void()>& answer = {});

  // When run() must be called next though nobody asks; Instant::max() for never.
  [[nodiscard]] base::Result<Instant> next_wake();

 private:
  using Record = core::Record;

  // Timers of a queue. All can be told from the queue and its messages.
  enum class QueueTimer : std::uint8_t { keep_done, keep_err, resume, idle };

  struct Entry {
    Queue queue;
    bool counters_changed = false;
    bool offered = false;             // in offered_
    std::uint64_t round = 0;          // of rounds_, that named it last
    std::array<Instant, 4> timers{};  // epoch: not set
  };

  using Connection = std::pair<std::uint32_t, std::uint64_t>;  // and its door first
  struct Held {
    Envelope envelope;
    Instant since{};
  };

  // engine.cpp
  [[nodiscard]] base::Result<void> run_in_transaction(std::span<Envelope> batch,
                                                      const std::function<void()>& answer);
  [[nodiscard]] bool promises_nothing() const;
  [[nodiscard]] base::Result<void> run_one(Envelope& envelope);
  [[nodiscard]] base::Result<void> run_released();
  [[nodiscard]] bool holds(const Ticket& ticket) const;
  void release(const Ticket& ticket);
  void fail_batch(std::span<Envelope> batch, std::size_t first_delivery,
                  std::uint64_t first_arrival, const base::Error& fault);
  [[nodiscard]] base::Result<void> run_timers();
  [[nodiscard]] base::Result<void> run_queue_timer(Entry& entry, QueueTimer timer);
  [[nodiscard]] base::Result<void> sweep_finished(Entry& entry, bool err);
  [[nodiscard]] base::Result<void> commit();
  [[nodiscard]] base::Result<Reply> apply(Command& command);
  [[nodiscard]] base::Result<Reply> dispatch(Put& put);
  [[nodiscard]] base::Result<Reply> dispatch(PutMany& many);
  [[nodiscard]] base::Result<PutDone> put_one(Put& put);

  // engine_lease.cpp
  [[nodiscard]] base::Result<Reply> dispatch(Reserve& reserve);
  [[nodiscard]] base::Result<Reply> dispatch(Disconnect& disconnect);
  [[nodiscard]] base::Result<Reply> dispatch(StopWaiting& stop);
  [[nodiscard]] base::Result<Reply> dispatch(Heartbeat& heartbeat);
  [[nodiscard]] base::Result<Reply> dispatch(Finish& finish);
  [[nodiscard]] base::Result<Reply> dispatch(Duplicate& duplicate);
  [[nodiscard]] base::Result<Message> reserve_only(const Ticket& ticket, const Reserve& reserve);
  [[nodiscard]] base::Result<void> collect(const Ticket& ticket, const Reserve& reserve,
                                           std::vector<Message>& out);
  [[nodiscard]] bool tell_part(Ticket& ticket, Reserve& reserve, Reserved& reserved);
  [[nodiscard]] base::Result<bool> wait(const Ticket& ticket, Reserve&& reserve,
                                        std::vector<QueueId>&& queues);
  [[nodiscard]] Message lease_to(Record& record, const Ticket& ticket, const Reserve& reserve);
  [[nodiscard]] base::Result<void> serve_offered();
  [[nodiscard]] base::Result<Record*> find_leased(const Token& token);
  [[nodiscard]] base::Result<HeartbeatDone::Item> heartbeat_one(Heartbeat::Item& item);
  [[nodiscard]] base::Result<State> finish_one(Finish::Item& item);
  void end_attempt(Record& record, std::string_view outcome, std::string&& reason,
                   std::string&& post_mortem);
  [[nodiscard]] State fail_attempt(Record& record, Mark mark);
  [[nodiscard]] State stop_attempt(Record& record);
  [[nodiscard]] State send_back(Record& record, Millis delay);
  [[nodiscard]] State finish_as(Record& record, Event event, Mark mark);
  void lose_lease(Record& record);

  // engine_act.cpp
  [[nodiscard]] base::Result<Reply> dispatch(Act& act);
  [[nodiscard]] base::Result<Reply> dispatch(Kick& kick);
  [[nodiscard]] base::Result<Reply> dispatch(KickOne& kick);
  [[nodiscard]] base::Result<Reply> dispatch(Peek& peek);
  [[nodiscard]] base::Result<ActDone::Item> act_one(const Act& act, Seq seq);
  [[nodiscard]] base::Result<ActDone::Item> stop_one(const Act& act, Record& record);
  [[nodiscard]] base::Result<ActDone::Item> clone_one(const Act& act, const Record& record);
  [[nodiscard]] base::Result<void> move_one(const Act& act, Record& record);
  void restart(Record& record);
  void kick_one(Record& record);

  // engine_queue.cpp
  [[nodiscard]] base::Result<Reply> dispatch(ShowQueue& show);
  [[nodiscard]] base::Result<Reply> dispatch(ListQueues& list);
  [[nodiscard]] base::Result<Reply> dispatch(EngineStats& stats);
  [[nodiscard]] base::Result<Reply> dispatch(DefineQueue& define);
  [[nodiscard]] base::Result<Reply> dispatch(SetAdmin& set);
  [[nodiscard]] base::Result<Reply> dispatch(DeleteQueue& remove);
  [[nodiscard]] base::Result<Reply> dispatch(SetScriptError& set);
  [[nodiscard]] base::Result<Reply> dispatch(ShiftLeases& shift);
  [[nodiscard]] base::Result<Reply> dispatch(ForgetWaste& forget);
  [[nodiscard]] base::Result<Entry*> make_on_demand(std::string_view name);
  [[nodiscard]] base::Result<Entry*> insert_queue(Queue&& queue);
  [[nodiscard]] base::Result<void> remove_queue(Entry& entry);
  void settings_changed(Entry& entry);

  // engine_state.cpp: the one place that moves a message, its counters and its notices together.
  void arrive(Record& record);  // a new message
  // REQUIRES: the move is legal.
  void advance(Record& record, Event event, Mark mark = Mark::none);
  void remove(Record& record);
  void keep_or_remove(Record& record);  // it has just finished
  // Counts it in (1) or out (-1), as it is now: before and after each change of what is counted.
  void tally(Entry& entry, const Message& message, std::int64_t by);
  void set_priority(Message& message, std::int64_t priority);
  void note(Notice::What what, const Message& message, State from, std::string_view text = {});
  void note_queue(Notice::What what, const Queue& queue);
  void count(Entry& entry) {
    if (entry.counters_changed) return;
    entry.counters_changed = true;
    counted_.push_back(entry.queue.id);
  }
  void offer(Entry& entry);  // something is ready in it
  void set_timer(Entry& entry, QueueTimer timer, Instant at);
  void clear_timer(Entry& entry, QueueTimer timer);
  void sync(const Entry& entry);                        // its sync class wants this batch on disk
  [[nodiscard]] bool starts(const Entry& entry) const;  // may its messages be leased
  [[nodiscard]] Entry& entry_of(const Message& message);
  [[nodiscard]] Entry* find_queue(std::string_view name);
  [[nodiscard]] base::Result<Entry*> need_queue(std::string_view name);
  [[nodiscard]] base::Result<Record*> need_message(Seq seq);

  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  struct ConnectionHash {
    std::size_t operator()(const Connection& c) const {
      return std::hash<std::uint64_t>{}(c.second * 31 + c.first);
    }
  };

  core::Store& store_;

  // Read from the store at open():
  std::unordered_map<QueueId, std::unique_ptr<Entry>> queues_;
  std::unordered_map<std::string, Entry*, NameHash, std::equal_to<>> by_name_;
  std::set<std::tuple<Instant, QueueId, QueueTimer>> queue_timers_;

  // May be lost:
  Waiters waiters_;
  // What came behind a reserve that waits, of each connection; in the order it came.
  std::unordered_map<Connection, std::deque<Held>, ConnectionHash> held_;
  std::vector<Connection> released_;  // of these the reserve has been answered
  std::unordered_map<Connection, std::unordered_set<Seq>, ConnectionHash> leases_of_connection_;
  std::unordered_map<Seq, Connection> connection_of_lease_;
  Counters gone_;             // totals of queues that were deleted since the start
  bool opened_ = false;       // false: what it knows may not be what the store holds
  std::uint64_t rounds_ = 0;  // walks over the queues of a reserve, to see each queue once
  std::int64_t commands_ = 0;
  std::int64_t batches_ = 0;
  std::int64_t syncs_ = 0;
  Seq last_seq_ = 0;
  Instant relaxed_sync_at_ = Instant::max();

  // Of the batch that runs:
  Instant now_{};
  bool want_notices_ = false;
  bool needs_disk_ = false;
  Outbox* out_ = nullptr;
  Ticket ticket_{};
  std::vector<QueueId> counted_;
  std::vector<QueueId> offered_;
};

}  // namespace rq::engine
