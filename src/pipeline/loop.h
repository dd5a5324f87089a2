#pragma once
// The loop: one boost::asio::io_context on one thread, where all doors have their sockets and
// parsers. Commands of one turn of the loop go to the engine in one piece; replies of one batch
// come back in one piece.
#include <cstdint>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "core/command.h"
#include "pipeline/pipeline.h"

namespace rq::pipeline {

class LoopDoor;

class Loop {
 public:
  explicit Loop(Pipeline& pipeline);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  [[nodiscard]] boost::asio::io_context& io() { return io_; }
  [[nodiscard]] Pipeline& pipeline() { return pipeline_; }

  // Before start(). Gives the number for Ticket::door. `door` must outlive the loop's thread.
  [[nodiscard]] std::uint32_t add_door(LoopDoor& door);

  // Runs the loop on a thread of its own until stop().
  void start();
  // Any thread but the loop's. Ends the loop after the handler that runs now, and joins the thread.
  void stop();

  // Loop thread. Takes the command into the piece that goes to the engine when this turn of the
  // loop is over. When the engine's mailbox is full, the door gets Code::busy for each of them, in
  // on_deliveries(), later, never from inside submit().
  void submit(core::Envelope&& envelope) {
    pending_.push_back(std::move(envelope));
    if (gathering_ || flush_posted_) return;
    flush_posted_ = true;
    boost::asio::post(io_, [this] { flush(); });
  }
  void submit(const core::Ticket& ticket, core::Command&& command) {
    submit(core::Envelope{ticket, std::move(command)});
  }
  // Loop thread. What is submitted meanwhile goes to the engine right after: for a handler that
  // reads from many connections, and so is a turn by itself. True when all of it has run here.
  template <typename Read>
  bool gather(Read read) {
    gathering_ = true;
    read();
    gathering_ = false;
    return flush();
  }

 private:
  bool flush();
  void refuse(const std::vector<core::Envelope>& commands);

  Pipeline& pipeline_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::vector<std::pair<std::uint32_t, LoopDoor*>> doors_;
  std::thread thread_;

  // Loop thread:
  std::vector<core::Envelope> pending_;
  std::vector<core::Envelope> leaving_;  // on their way to the engine
  bool flush_posted_ = false;
  bool gathering_ = false;
};

// A door whose sockets live on the loop.
class LoopDoor : public Door {
 public:
  explicit LoopDoor(Loop& loop) : loop_(loop), number_(loop.add_door(*this)) {}
  LoopDoor(const LoopDoor&) = delete;
  LoopDoor& operator=(const LoopDoor&) = delete;

  // Whoever runs the batch: on the loop's thread it answers at once, from another one the replies
  // move to the loop with one wake-up.
  void deliver(std::vector<core::Delivery>&& deliveries) final;

  // Loop thread. The replies of one batch for this door (or refusals by a full mailbox). Append
  // them to the out buffers first and write each buffer once.
  virtual void on_deliveries(std::vector<core::Delivery>& deliveries) = 0;

 protected:
  [[nodiscard]] Loop& loop() { return loop_; }
  // Of the ticket.
  [[nodiscard]] std::uint32_t door_number() const { return number_; }

 private:
  Loop& loop_;
  const std::uint32_t number_;
};

}  // namespace rq::pipeline
