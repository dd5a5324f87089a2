#pragma once
// The engine: a function over the store, in batches (docs/ARCHITECTURE.md).
//
//   load -> decide -> save -> commit -> reply
//
// It decides by the rules of this folder and keeps nothing that it could not lose: queues with
// their settings and counters are read from the store at the start, waiting reserves are asked for
// again by their clients. Same store, same commands, same times: same result.
//
// Thread: one at a time. Errors: a refusal refuses its command alone; a fault of the store fails
// the batch.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/command.h"
#include "core/store.h"
#include "engine/desk.h"

namespace rq::engine {

// When a batch runs, and how.
struct Moment {
  Instant now{};
  Millis shift{};    // the wall clock was stepped by so much: what lasts keeps its length
  Millis stopped{};  // nobody could be heard for so long: leases end so much later
  bool want_notices = false;
  Millis tick{};  // what a reading of the clock may be short by: the true time is before now + tick
};

class Engine {
 public:
  explicit Engine(Store& store, std::size_t queues_max = kQueuesMax);

  // Opens the store, with a new boot, and reads the queues. At the start, and after a fault.
  [[nodiscard]] base::Result<void> open();

  // One batch: what is due, then the commands in their order, then the commit. `out` is filled
  // after the commit and not before. Every command gets one answer (a waiting reserve, and what is
  // behind it in turn, in a later batch; Reserve::each up to one a message; Disconnect and
  // StopWaiting none).
  // If the result is not yes, everybody who had a part in the batch gets the fault as the answer,
  // and open() must be called next; after `deposed` this engine ends.
  [[nodiscard]] Committed run(std::span<Envelope> batch, const Moment& moment, Outbox& out);

  // When run() must be called next though nobody asks; Instant::max() for never.
  [[nodiscard]] Instant next_wake();

 private:
  void begin(const Moment& moment);
  [[nodiscard]] base::Result<void> decide_all(std::span<Envelope> batch);
  [[nodiscard]] base::Result<void> load_first(std::span<Envelope> batch);
  [[nodiscard]] base::Result<void> load_more();
  [[nodiscard]] base::Result<void> load(const Needs& needs);
  void add_needs(const Envelope& envelope, Needs& out);
  [[nodiscard]] base::Result<void> take(Envelope& envelope);
  [[nodiscard]] base::Result<void> step(Envelope& envelope, Instant since);
  [[nodiscard]] base::Result<void> try_ready();
  [[nodiscard]] base::Result<void> fire_left_over();
  [[nodiscard]] base::Result<void> fire_timers();
  [[nodiscard]] Committed commit();
  void fail(std::span<Envelope> batch, const base::Error& why);
  void repeat(const Ticket& ticket, Command&& command);

  Store& store_;
  Desk desk_;
  bool opened_ = false;              // false: what it knows may not be what the store holds
  std::optional<base::Error> full_;  // why it could not be opened: the disk was full
  Millis shift_{};                   // of the clock; the store has not committed it yet
  Millis lease_shift_{};             // likewise, with the time that this server was stopped
  std::vector<Timer> left_over_;     // due in the batch before, which had no round left for them

  // Of the batch that runs:
  std::vector<Timer> timers_;         // fired, and not looked at yet
  std::size_t taken_ = 0;             // commands of the batch that were taken up
  std::uint64_t first_arrival_ = 0;   // reserves that waited before
  std::size_t first_deletion_ = 0;    // deletes of queues that were begun before
  std::vector<Ticket> disconnected_;  // they must not be forgotten when the commit fails
};

}  // namespace rq::engine
