#pragma once
// The port between the engine and whoever keeps its truth. One batch at a time:
//
//   load (once or more) -> looks and changes -> commit or abort
//
// The engine says what it needs before it decides anything, in one request, so that a store over a
// network answers a whole batch in a few trips. One engine writes a store at a time: each open()
// takes a new boot, and a commit holds only while that boot is the newest.
//
// Thread: whoever has the engine's turn. What Needs points to lives until load() returns. Rows
// belong to the store and are valid until commit() or abort() returns.
// Visible: to the looks of the batch, its changes at once; to readers all together, at the latest
// when commit() returns yes.
// Errors: faults only; that something is not there is an answer. After a fault nothing may be
// called but open().
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/health.h"
#include "core/message.h"
#include "core/place.h"
#include "core/queue.h"

namespace rq::core {

using base::Result;

// What one round of a batch looks at. Any list may come back short: known() and more() say so.
struct Needs {
  struct Number {
    Seq seq = 0;
    bool payload = false;
  };
  struct Line {  // the first n of the queue's line
    QueueId queue = 0;
    std::int64_t n = 0;
  };
  struct First {  // the first n of the queue in that place
    QueueId queue = 0;
    Place place = Place::any;
    std::int64_t n = 0;
    bool payload = false;
  };
  Instant now{};
  std::vector<Number> numbers;         // messages by number (ids and tokens name them)
  std::vector<std::string_view> keys;  // messages by client key, with their payloads
  std::vector<Line> lines;
  std::vector<First> firsts;
  std::int64_t due = 0;  // up to so many each: ended leases, due messages, due timers
  Millis shift{};        // applied first: the end of every lease moves later by this much
};

// A message in the hands of the engine. Its payload is there only if it was asked for, or if the
// message came with a line or was due.
struct Record {
  Message message;
};

enum class Change : std::uint8_t {
  place,  // only state, place in the line and lease
  whole,
};

// Rows of attempts that are kept of a message: the last ones.
inline constexpr std::int64_t kAttemptsKept = 100;

// A timer only wakes the engine; the rule reads the row that it is about and decides. One for each
// (what, queue, seq).
struct Timer {
  enum class What : std::uint8_t {
    keep_done,  // finished messages have been kept for long enough
    keep_err,
    keep_cancelled,
    resume,    // a pause ends
    idle,      // a queue made on demand may be unused
    deletion,  // a queue is being deleted, in steps
  };
  What what = What::keep_done;
  Instant at{};
  QueueId queue = 0;
  Seq seq = 0;
};

enum class Sync : std::uint8_t {
  none,  // survives a crash of the process, perhaps not one of the machine
  soon,  // the store syncs it within kSoon, by itself
  disk,  // on disk when commit() returns
};
inline constexpr std::chrono::seconds kSoon{1};

struct Committed {
  enum class What : std::uint8_t {
    yes,
    no,       // nothing of it is there
    unknown,  // all of it or nothing
    deposed,  // somebody opened the store after us; nothing of it is there. The looks of such a
              // batch may have found nothing
  };
  What what = What::yes;
  base::Error why{};    // unless yes
  bool synced = false;  // all that was ever committed is on disk now
};

struct Condition {
  bool wants_maintenance = false;
  bool no_room = false;  // the disk is full, or nearly so: what is left is for what frees room
};
// What a server keeps on the disk for what frees room. The log of the store begins anew in the file
// it has; beyond that a removal needs a few pages.
inline constexpr std::int64_t kRoomBytes = 16LL * 1024 * 1024;
// A disk that was full counts as free again with this, so that it is not full again after a few
// messages. `kept`: what was given up.
[[nodiscard]] constexpr std::int64_t room_again(std::int64_t kept) { return 2 * kept; }
inline constexpr std::int64_t kRoomAgainMiB = room_again(kRoomBytes) / (1024 * 1024);

class Store : public Mending {
 public:
  // First of all, and after a fault. Forgets the batch and all that it knew, takes a new boot,
  // becomes the only writer.
  [[nodiscard]] virtual Result<void> open() = 0;
  // In every token and every commit from now on; never used twice.
  [[nodiscard]] virtual Boot boot() const = 0;
  // Looks may go beyond what was loaded, as the store is in the process: the engine need not list.
  [[nodiscard]] virtual bool late() const = 0;
  // Loads of one batch, at most.
  [[nodiscard]] virtual int rounds_max() const = 0;
  // After open(), outside a batch: all of them, with their counters.
  [[nodiscard]] virtual Result<std::vector<Queue>> queues() = 0;

  // --- The batch ---
  // One request. The first begins the batch, others add to it.
  [[nodiscard]] virtual Result<void> load(const Needs& needs) = 0;
  // On anything but yes the batch is forgotten as by abort(), and open() must be called next.
  [[nodiscard]] virtual Committed commit(Sync sync) = 0;
  // Forgets the batch; open() must be called next.
  virtual void abort() = 0;

  // --- Looks. REQUIRES: asked for in this batch, or made by it, or late(). ---
  // Null when there is none.
  [[nodiscard]] virtual Result<Record*> find(Seq seq) = 0;
  [[nodiscard]] virtual Result<Record*> find_key(std::string_view client_key) = 0;
  // The best of the line that was loaded, or made ready by this batch.
  [[nodiscard]] virtual Result<std::optional<LineKey>> peek(QueueId queue) = 0;
  // The one that peek told; null when its row turns out to be damaged: peek again. REQUIRES: it
  // told one.
  [[nodiscard]] virtual Result<Record*> take(QueueId queue) = 0;
  // The line is known up to here; kBehindAll: all of it, and always in a late store.
  [[nodiscard]] virtual LineKey known(QueueId queue) const = 0;
  // The first of those that were loaded or have come there in this batch. Null when they are used
  // up, or when one that is not loaded may stand before them; then more() says that the place has
  // others.
  [[nodiscard]] virtual Result<Record*> first(QueueId queue, Place place) = 0;
  [[nodiscard]] virtual Result<bool> more(QueueId queue, Place place) = 0;
  // Of those that `due` asked for, one after the other; null when they are used up. The caller
  // moves each one on before it asks for the next. Those that it does not ask for are due still.
  // A lease is over when its end has come, or when it ends with its connection and is of a boot
  // before the first one of this object.
  [[nodiscard]] virtual Result<Record*> next_ended() = 0;
  [[nodiscard]] virtual Result<Record*> next_due() = 0;
  [[nodiscard]] virtual std::vector<Timer> due_timers() = 0;  // by time; they stay until disarmed

  // --- Changes. They stay in memory; commit() writes them. ---
  // Grows; gaps are allowed. Numbers are set aside in blocks, and a block is synced before one of
  // its numbers is told.
  [[nodiscard]] virtual Seq next_number() = 0;
  // REQUIRES: message.seq from next_number() of this batch.
  virtual Record& insert(Message&& message) = 0;
  // The engine has changed record.message. Key and number never change.
  virtual void changed(Record& record, Change change) = 0;
  // Attempts and tags go with it; its folder is noted as waste.
  virtual void erase(Record& record) = 0;
  virtual QueueId insert(const Queue& queue) = 0;  // gives it its id
  virtual void changed(const Queue& queue) = 0;    // all but the counters
  virtual void counted(const Queue& queue) = 0;    // its counters
  virtual void erase(const Queue& queue) = 0;      // REQUIRES: no messages in it
  virtual void append(Attempt&& attempt) = 0;
  virtual void arm(const Timer& timer) = 0;  // instead of the one before, if there is one
  virtual void disarm(const Timer& timer) = 0;
  // These folders are gone from the disk.
  virtual void forget_waste(const std::vector<std::string>& folders) = 0;

  // When a batch has something to do though nobody asks; never later than the truth.
  // Instant::max(): never.
  [[nodiscard]] virtual Instant next_deadline() const = 0;
  [[nodiscard]] virtual Condition condition() const = 0;
  // Between batches, when the replies have left: what the store has to do for itself, if it has.
  virtual void maintain() = 0;
};

// --- Reading, beside the engine ---
// Looks things up in what is committed. Each reader thread has its own; it never blocks the store.
struct MessageRow {
  Message message;  // with its lease
  std::string queue;
  // In a list, the payload may be cut: this is its full length. -1: the payload is whole.
  std::int64_t payload_bytes = -1;
};

struct Filter {
  std::string queue;  // empty: all
  StateSet states;    // empty: all
  std::optional<Mark> mark;
  std::string tag;
  std::string key;
  std::string text;         // in payload, params, src, dest, progress, result; case folds
  std::string fingerprint;  // of the reason of a message in err; others have none
  std::optional<Instant> after, before;  // creation time: after <= created < before

  bool operator==(const Filter&) const = default;
};
// Bytes of each payload that a list loads.
inline constexpr std::int64_t kListPayloadBytes = 1024;

struct Page {
  Filter filter;
  Seq cursor = 0;  // 0: from the start
  std::int64_t limit = 100;
  bool newest_first = true;
  bool payloads = true;  // load them (the start of each)
};
struct Listed {
  std::vector<MessageRow> rows;
  std::optional<Seq> cursor;  // for the next page; absent at the end
  bool cut = false;           // a scan bound was reached: the page may be short
};

// For whoever acts on many: numbers and states, by number, the smallest first.
struct Search {
  Filter filter;
  Seq after = 0;  // above this number
  Seq until = 0;  // up to this one; 0: to the newest there is
  std::int64_t limit = 1000;
};
struct Found {
  Seq seq = 0;
  Instant created{};
  QueueId queue = 0;
  State state = State::que;
};
struct FoundPage {
  std::vector<Found> found;
  Seq until = 0;             // for the next page
  std::optional<Seq> after;  // likewise; absent at the end. Before it, a page may be short
};

class Reader {
 public:
  virtual ~Reader() = default;
  // From now on a look-up ends, with timed_out, soon after stop() has come true. It is asked on the
  // thread of the look-up, again and again while that runs.
  virtual void stop_when(std::function<bool()> /*stop*/) {}
  // The next piece of a check of everything. False: that was the last one; the next call begins
  // anew.
  [[nodiscard]] virtual Result<bool> check(std::vector<Finding>& /*found*/) { return false; }
  // Messages that look-ups have found damaged, since the last call.
  [[nodiscard]] virtual std::vector<Suspect> take_damaged() { return {}; }
  // Whether the store is still where it was when it was opened, and whole. A fault when it is not:
  // what is committed then would be lost.
  [[nodiscard]] virtual Result<void> check_still_there() { return {}; }
  [[nodiscard]] virtual Result<std::optional<MessageRow>> message(Seq seq) = 0;
  [[nodiscard]] virtual Result<std::optional<MessageRow>> message_by_key(std::string_view key) = 0;
  [[nodiscard]] virtual Result<std::vector<Attempt>> attempts(Seq seq) = 0;
  [[nodiscard]] virtual Result<Listed> list(const Page& page) = 0;
  [[nodiscard]] virtual Result<FoundPage> find(const Search& search) = 0;
  // How many messages of the queue would be leased before this one; counts to `bound`.
  [[nodiscard]] virtual Result<std::int64_t> ahead_of(const MessageRow& row,
                                                      std::int64_t bound) = 0;
  // Creation time of the ready message that has waited longest.
  [[nodiscard]] virtual Result<std::optional<Instant>> oldest_ready(QueueId queue) = 0;
  // Folders of messages that are gone, relative to the server's directory: the first ones behind
  // `after`, by name. To be deleted from the disk, and then told to the engine (ForgetWaste).
  [[nodiscard]] virtual Result<std::vector<std::string>> waste(std::string_view after,
                                                               std::int64_t limit) = 0;
};

}  // namespace rq::core

namespace rq::store {
using namespace core;  // whoever keeps the port speaks of the words of core
}
