#pragma once
// The desk: commands of one turn of the loop go to the engine in one piece; replies of one batch
// come back to their doors in one piece.
#include <cstdint>
#include <utility>
#include <vector>

#include "core/command.h"
#include "net/loop.h"
#include "pipeline/pipeline.h"

namespace rq::pipeline {

class LoopDoor;

class Desk final : private net::TurnEnd {
 public:
  Desk(net::Loop& loop, Pipeline& pipeline);
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  [[nodiscard]] net::Loop& loop() { return loop_; }
  [[nodiscard]] Pipeline& pipeline() { return pipeline_; }

  // Before Loop::start(). Gives the number for Ticket::door. `door` must outlive the loop's thread.
  [[nodiscard]] std::uint32_t add_door(LoopDoor& door);

  // Loop thread. Takes the command into the piece that goes to the engine when this turn of the
  // loop is over. When the engine's mailbox is full, the door gets Code::busy for each of them, in
  // on_deliveries(), later, never from inside submit().
  void submit(core::Envelope&& envelope) {
    pending_.push_back(std::move(envelope));
    loop_.end_turn_soon();
  }
  void submit(const core::Ticket& ticket, core::Command&& command) {
    submit(core::Envelope{ticket, std::move(command)});
  }

 private:
  void on_turn_end() override;
  void refuse(const std::vector<core::Envelope>& commands);

  net::Loop& loop_;
  Pipeline& pipeline_;
  std::vector<std::pair<std::uint32_t, LoopDoor*>> doors_;

  // Loop thread:
  std::vector<core::Envelope> pending_;
  std::vector<core::Envelope> leaving_;  // on their way to the engine
};

// A door whose connections live on the loop.
class LoopDoor : public Door {
 public:
  explicit LoopDoor(Desk& desk) : desk_(desk), number_(desk.add_door(*this)) {}
  LoopDoor(const LoopDoor&) = delete;
  LoopDoor& operator=(const LoopDoor&) = delete;

  // Whoever runs the batch: on the loop's thread it answers at once, from another one the replies
  // move to the loop with one wake-up.
  void deliver(std::vector<core::Delivery>&& deliveries) final;

  // Loop thread. The replies of one batch for this door (or refusals by a full mailbox). Append
  // them to the out buffers first and write each buffer once.
  virtual void on_deliveries(std::vector<core::Delivery>& deliveries) = 0;

 protected:
  [[nodiscard]] Desk& desk() { return desk_; }
  // Of the ticket.
  [[nodiscard]] std::uint32_t door_number() const { return number_; }

 private:
  Desk& desk_;
  const std::uint32_t number_;
};

}  // namespace rq::pipeline
