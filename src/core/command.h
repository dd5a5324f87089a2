#pragma once
// What one can ask of the engine, and what it answers. Plain values: they cross threads.
// A command is applied as if alone, in the order of arrival; its reply leaves after the commit.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/boxed.h"
#include "base/result.h"
#include "core/health.h"
#include "core/lifecycle.h"
#include "core/message.h"
#include "core/queue.h"

namespace rq::core {

using QueueName = std::shared_ptr<const std::string>;

// Who asked. Handed back with the reply. The engine reads `door`, `connection`, `in_turn` and
// `caller_uid`, and counts `request` up for each message of a Reserve::each.
struct Ticket {
  std::uint32_t door = 0;        // which door of the server
  std::uint64_t connection = 0;  // of that door, never reused while the server runs
  std::uint64_t request = 0;     // the door's own
  // While a reserve of this connection waits, this command waits behind it.
  bool in_turn = false;
  // The uid at the other end of a unix socket; -1: nobody says who calls.
  std::int64_t caller_uid = -1;
};

// Whose commands run in the order they came.
struct Connection {
  std::uint32_t door = 0;
  std::uint64_t id = 0;
  friend bool operator==(const Connection&, const Connection&) = default;
};
[[nodiscard]] inline Connection connection_of(const Ticket& ticket) {
  return {.door = ticket.door, .id = ticket.connection};
}
struct ConnectionHash {
  std::size_t operator()(const Connection& c) const {
    return std::hash<std::uint64_t>{}(c.id * 31 + c.door);
  }
};

// --- Putting ---
// A new message. Of `message` the fields that a sender may set are used; what is absent in the
// optionals comes from the queue's settings.
struct Put {
  std::string queue;  // name
  Message message;
  std::optional<std::int64_t> priority;
  std::optional<std::int32_t> max_count;
  std::optional<Millis> delay;  // from now; at most one of delay and due
  std::optional<Instant> due;
  bool prep = false;        // wait for Commit
  bool make_queue = false;  // a queue that is not there is made on demand
};
struct PutMany {
  std::vector<Put> puts;  // one commit; each refused alone
};
struct PutDone {
  Seq seq = 0;
  Instant created{};
  State state = State::que;
  bool repeated = false;  // the client key was there already: this is the first one
};
struct PutManyDone {
  std::vector<base::Result<PutDone>> puts;  // in the order given
};

// --- Leasing ---
struct ReserveQueue {
  std::string queue;
  std::int64_t limit = 0;  // at most so many from this queue; 0: no bound of its own
};
// Takes up to `limit` messages, best first (priority, order, number) over all queues; fewer, but
// one at least, when their payloads are large (engine::kBatchPayloadBytes). With none there it
// waits till `wait_until`; waiting reserves are served in the order they came.
struct Reserve {
  std::shared_ptr<const std::vector<ReserveQueue>> queues;
  std::int64_t limit = 1;
  // The same as `limit` single reserves with consecutive request numbers. Messages that are there
  // are answered now, the rest later.
  bool each = false;
  std::optional<Instant> wait_until;  // absent: do not wait. Instant::max(): for ever
  // Above 0: the wait ends this long before the first lease of this connection ends.
  Millis lease_guard{0};
  std::string worker;
  std::optional<Millis> lease;
  LeaseEnd end = LeaseEnd::deadline;
  bool folder = false;  // the worker runs scripts: give the message a folder
  bool make_queue = false;
  bool names = false;       // tell with each message the name of its queue
  std::optional<Seq> only;  // this very message, if it waits or is held
};
struct Reserved {
  std::vector<Message> messages;  // copies, each with its lease; empty when the time is over
  std::vector<QueueName> queues;  // of each message, the name of its queue; if it was asked for
};
// The connection is gone: forget its waiting reserves, give back its LeaseEnd::connection leases.
struct Disconnect {};
// Ends the waiting reserve of the connection with no message; the commands behind it then run. No
// reply of its own.
struct StopWaiting {};

struct HeartbeatDone {
  struct Item {
    Instant until{};
    StopRequest stop = StopRequest::none;  // somebody wants the attempt ended
  };
  std::vector<base::Result<Item>> items;
};
struct Heartbeat {
  struct Item {
    Token token;
    std::optional<std::string> progress;  // status text, replaces the last one
    bool extend = true;                   // to max(until, now + length)
    std::optional<Millis> lease;          // a new length
  };
  std::vector<Item> items;
  HeartbeatDone done;  // set by the engine only, while the command goes on over several batches
};

enum class Outcome : std::uint8_t {
  done,
  relayed,
  err,        // final, whatever the retries
  failed,     // counts against the retries: back with backoff, or err
  timed_out,  // as failed, stopped at its time limit
  resend,     // RQ's word: count + 1, back after `delay`; err when max_count is reached
  release,    // handed back untouched, after `delay`
  hold,       // err with the mark held
  stopped,    // ended because of a StopRequest: cancelled, or err with the mark killed
  lost,       // its worker died: a lost lease, as if its time had run out
};
[[nodiscard]] std::string_view name_of(Outcome outcome);
[[nodiscard]] std::optional<Outcome> outcome_of(std::string_view name);

struct FinishDone {
  std::vector<base::Result<State>> items;  // the state it went to
};
// Ends leases.
struct Finish {
  struct Item {
    Token token;
    Outcome outcome = Outcome::done;
    // Status text, replaces the last one, also with nothing. Absent: the last one stays.
    std::optional<std::string> reason;
    std::optional<std::string> result;
    std::string post_mortem;               // JSON object; may be empty
    Millis delay{0};                       // resend, release
    std::optional<std::int64_t> priority;  // release, hold
    bool remove = false;                   // done: the message goes at once, whatever the retention
  };
  std::vector<Item> items;
  FinishDone done;  // as in Heartbeat
};

// A copy of a leased message into a queue (RQ's dup): params, payload and so on, count 0.
struct Duplicate {
  Token token;
  std::string queue;
  Millis delay{0};
  std::string key;   // client key of the copy: a repeat of the command finds it; may be empty
  std::string host;  // "http://HOST:PORT/" of full ids
};

// --- Acting on messages ---
enum class Action : std::uint8_t {
  commit,  // prep: now it is work
  // Finished: back to the line; failures, losses and count start at 0, attempts go on.
  retry,
  requeue,   // finished or running (the lease is taken away): to be had at once
  run_now,   // scheduled: do not wait; que: before all others of its priority
  cancel,    // not finished, or err: cancelled; a running script is told to stop
  kill,      // running: stop the script; ends in err
  clone,     // finished: a new message like it
  move,      // not running: to another queue, in the state it has
  remove,    // not running: gone for good
  priority,  // not finished
};
[[nodiscard]] std::string_view name_of(Action action);
[[nodiscard]] std::optional<Action> action_of(std::string_view name);
// The states of messages that it may be done to.
[[nodiscard]] StateSet states_of(Action action);
// Of them those that are meant when nobody says which: what has ended well is not done again, and
// what somebody has yet to read is not taken away. Empty: they must be named.
[[nodiscard]] StateSet usual_states_of(Action action);
struct ActDone {
  struct Item {
    Seq seq = 0;  // of the message; of the new one for clone
    Instant created{};
    State state = State::que;       // after it. remove: before it
    std::optional<State> was = {};  // before it; clone: none
  };
  std::vector<base::Result<Item>> items;
};
struct Act {
  Action action = Action::cancel;
  std::vector<Seq> messages;
  std::string queue;  // move, clone (empty: the same)
  std::int64_t priority = 0;
  bool if_unfinished = false;  // remove: what has finished and is not held is none
  std::string host;            // clone: as in Duplicate
  std::string reason;          // status text; what a stopped script says comes after
  ActDone done;                // as in Heartbeat
};
// Up to `bound` held messages of the queue, or if there are none scheduled ones, become ready now.
struct RunEarly {
  std::string queue;
  std::int64_t bound = 1;
  // Set by the engine only, while the command goes on over several batches.
  std::int64_t done = 0;
  bool held = false;  // it began with held ones
};
struct RunEarlyDone {
  std::int64_t count = 0;
};
struct RunEarlyOne {
  Seq seq = 0;  // held or scheduled
};

// --- Looking ---
enum class PeekWhat : std::uint8_t { message, ready, scheduled, held };
struct Peek {
  PeekWhat what = PeekWhat::message;
  Seq seq = 0;        // what == message
  std::string queue;  // else: the next one of this queue
};
struct Peeked {
  base::Boxed<Message> message;
  std::string queue;
};
struct ShowQueue {
  std::string queue;
};
struct ListQueues {};
struct QueueShown {
  base::Boxed<Queue> queue;
  std::int64_t waiting_reserves = 0;
};
struct QueuesListed {
  std::vector<QueueShown> queues;  // by name
};
struct EngineStats {
  bool names = false;  // tell which queues are in use
};
struct EngineStatsDone {
  Boot boot = 0;
  std::int64_t queues = 0;
  base::Boxed<Counters> totals;  // over all queues, also deleted ones since the start
  std::int64_t commands = 0;     // since the start
  std::int64_t batches = 0;
  std::int64_t syncs = 0;
  std::int64_t waiting_reserves = 0;
  // Ready messages that only a worker that runs scripts will take: their queues have one, give what
  // is ready, and nobody waits for it there.
  std::int64_t ready_for_scripts = 0;
  Seq last_seq = 0;
  bool no_room = false;           // the disk is full: puts are refused
  std::vector<QueueName> in_use;  // all but those made on demand that hold nothing
  std::int64_t set_aside = 0;     // damaged rows that the store keeps apart
};

// --- Queues ---
struct DefineQueue {
  enum class Mode : std::uint8_t { create, replace, change };
  std::string queue;
  Mode mode = Mode::create;  // create: `exists` when there with other settings. change: must exist
  base::Boxed<QueueSettings> settings;   // whole: the door merges changes before
  std::optional<std::int64_t> revision;  // refuse (wrong_state) when the queue has moved on
  // As its first use would make it: the settings are those of such queues, whatever is given. One
  // that is there stays as it is.
  bool on_demand = false;
};
struct SetAdmin {
  std::string queue;
  Admin admin = Admin::up;
  std::optional<Millis> lasts;  // pause: resumes by itself
  // A pause by a client and not by the operator: a queue that is drained or down stays so, and a
  // pause of no time ends another one.
  bool by_client = false;
};
struct DeleteQueue {
  std::string queue;
  bool force = false;  // with the messages in it, finished ones too; none may be running
  // Only if it was made on demand, holds nothing and nobody waits there; else nothing is done.
  bool if_unused = false;
};
// From the worker: what is wrong with the script; empty when mended.
struct SetScriptError {
  std::string queue;
  std::string error;
};
struct ForgetWaste {  // these folders of removed messages are gone from the disk
  std::vector<std::string> folders;
};
// Messages that look damaged: the store looks again, mends them or sets them aside. Or all of it is
// to be rebuilt.
struct Examine {
  std::vector<Suspect> suspects;  // those that are still to be looked at
  std::optional<RebuildWhen> rebuild;
  std::vector<Miscount> miscounts{};
};

using Command =
    std::variant<Put, PutMany, Reserve, Disconnect, StopWaiting, Heartbeat, Finish, Duplicate, Act,
                 RunEarly, RunEarlyOne, Peek, ShowQueue, ListQueues, EngineStats, DefineQueue,
                 SetAdmin, DeleteQueue, SetScriptError, ForgetWaste, Examine>;

// RunEarly, DeleteQueue and the end of a connection change at most so many messages in a batch and
// go on in the next. A command that lists its messages is done in one, unless they are large.
inline constexpr std::int64_t kStepMax = 1000;
// Examine looks at most at so many: each costs some twenty statements.
inline constexpr std::int64_t kExaminedMax = 100;

// How many messages the command puts, takes or changes at most, one at least: so much it costs.
[[nodiscard]] std::size_t messages_of(const Command& command);

struct Ok {};
using Reply =
    std::variant<base::Error, Ok, PutDone, PutManyDone, Reserved, HeartbeatDone, FinishDone,
                 ActDone, RunEarlyDone, Peeked, QueueShown, QueuesListed, EngineStatsDone>;

struct Envelope {
  Ticket ticket;
  Command command;
};
struct Delivery {
  Ticket ticket;
  Reply reply;
};

// The one record of what happened: whoever counts, shows, follows or tells it reads this. Published
// after the commit.
struct Notice {
  enum class What : std::uint8_t {
    put,       // `to` is the state that it was put in, and so is `from`
    message,   // its state changed by `event`
    moved,     // to `queue`, in the state it has
    progress,  // its text changed
    stop,      // a running one shall stop
    removed,   // in the state `from`
    queue,     // settings, admin state or script error changed
    queue_removed,
  };
  static constexpr std::size_t kWhatCount = static_cast<std::size_t>(What::queue_removed) + 1;
  What what = What::message;
  Instant at{};
  std::string queue;
  std::string from_queue;  // moved
  Seq seq = 0;
  Instant created{};
  State from = State::que;
  State to = State::que;
  Mark mark = Mark::none;
  std::string text;
  std::optional<Event> event;  // message
  // When it came into the state that it left, as far as the message tells: its due time, the start
  // of its lease, the time it finished.
  Instant since{};
  std::int64_t attempt = 0;  // of the lease that began, ended or is meant; 0: none
  Boot boot = 0;             // with seq and attempt the token
  std::string worker;        // likewise
  std::string outcome;       // of the attempt that ended; empty: none did
  std::int64_t caller_uid = -1;
};

struct Outbox {
  std::vector<Delivery> deliveries;
  std::vector<Notice> notices;
  bool waste = false;  // messages that had a folder are gone
  std::vector<SetAside> set_aside;
};

}  // namespace rq::core
