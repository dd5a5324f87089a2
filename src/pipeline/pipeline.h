#pragma once
// mailbox -> batch -> commit -> replies. The engine thread lives here; doors post commands from
// their loops and get the replies of a whole batch in one call.
//
// "Engine thread" below, and in all that the engine owns, is whoever has the turn: the engine's own
// thread, or the loop that has the commands (run_here). The rule of the turn: it belongs to the
// reader of the mailbox, who lends it while it sleeps with nothing to read, for one small batch, on
// a disk that is quick. Two never have it at once, and every batch checks that.
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "base/mailbox.h"
#include "base/result.h"
#include "core/command.h"
#include "core/store.h"
#include "pipeline/clock.h"

namespace rq::pipeline {

// Commands that wait for the engine; with more the doors answer busy.
inline constexpr std::size_t kMailboxMax = 1'000'000;
// Calls of advance_clock() that wait for the engine.
inline constexpr std::size_t kAdvancesMax = 1'000;

// A door gives commands in and takes replies out.
class Door {
 public:
  virtual ~Door() = default;
  // Engine thread, once a batch, after its commit. Must only hand the replies to its own loop.
  virtual void deliver(std::vector<core::Delivery>&& deliveries) = 0;
};

// Hears what happened, batch by batch.
class NoticeSink {
 public:
  virtual ~NoticeSink() = default;
  // Engine thread, after the commit. Must only hand them on.
  virtual void publish(const std::shared_ptr<const std::vector<core::Notice>>& notices) = 0;
  // Engine thread. While nobody wants any, the engine makes none.
  [[nodiscard]] virtual bool wanted() const = 0;
};

class Pipeline {
 public:
  // The store is not open yet.
  Pipeline(std::unique_ptr<core::Store> store, Clock& clock, std::size_t mailbox_max = kMailboxMax);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // First: opens the store, before anybody reads beside it. Gives the boot of this start.
  [[nodiscard]] base::Result<core::Boot> open();
  // Before start(). The number goes into Ticket::door.
  [[nodiscard]] std::uint32_t add_door(Door& door);
  void add_sink(NoticeSink& sink);
  // Called on the engine thread when the store has failed for good, or somebody else has opened it:
  // the process should end, and a new start recovers what the disk holds.
  void on_failure(std::function<void()> call);
  // Called by whoever has the engine's turn, after a commit: about once a second, and at once when
  // the clock has moved by more than the time that has passed.
  void on_alive(std::function<void()> call);
  // Called on the engine thread when the store has told of damage.
  void on_damage(std::function<void()> call);
  // Called on the engine thread when a committed batch left folders to be deleted.
  void on_waste(std::function<void()> call);

  void start();
  // Refuses new commands, finishes those it has, stops the thread. Waiting reserves get no reply.
  void stop();

  // Any thread. False: full (the caller answers busy). Posts all (and empties the vector) or none.
  [[nodiscard]] bool submit(std::vector<core::Envelope>& commands);
  [[nodiscard]] bool submit(core::Envelope&& command);
  // Any thread that may wait for the disk for a moment. Runs the commands at once, here, when they
  // are about few messages, the disk is quick and the engine thread sleeps: two wake-ups
  // between threads less. Then they are done and the vector is empty; else it is untouched:
  // submit() it.
  // The order of commands is that of the calls of one thread, whichever of the two it calls.
  [[nodiscard]] bool run_here(std::vector<core::Envelope>& commands);

  // Any thread; manual clock only. Calls `done` on the engine thread when everything that fell due
  // has been committed. False: too many wait (the caller answers busy), and `done` is not called.
  [[nodiscard]] bool advance_clock(base::Millis by, std::function<void(base::Instant)> done);

  // Any thread. True when the store has failed for good.
  [[nodiscard]] bool failed() const;
  [[nodiscard]] Clock& clock() const { return clock_; }

 private:
  struct Impl;
  Clock& clock_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rq::pipeline
