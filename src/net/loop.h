#pragma once
// The loop: one boost::asio::io_context on one thread, and its turns.
//
// A turn is one pass over what has arrived: many connections are read, and what they ask for is
// gathered. At its end one listener is told, who does all of it in one piece.
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace rq::net {

// Told when a turn of the loop is over.
class TurnEnd {
 public:
  virtual ~TurnEnd() = default;
  // Loop thread.
  virtual void on_turn_end() = 0;
};

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  [[nodiscard]] boost::asio::io_context& io() { return io_; }
  // True on the loop's own thread, while it runs.
  [[nodiscard]] bool is_here() { return io_.get_executor().running_in_this_thread(); }

  // Before start(). The one listener for the end of turns; it must outlive the loop's thread.
  void tell_turn_end(TurnEnd& listener);

  // Runs the loop on a thread of its own until stop().
  void start();
  // Any thread but the loop's. Ends the loop after the handler that runs now, and joins the thread.
  void stop();

  // Loop thread. Runs `work` as one turn and tells its end, for a handler that reads from many
  // connections.
  template <typename Work>
  void turn(Work work) {
    in_turn_ = true;
    work();
    in_turn_ = false;
    end_turn();
  }
  // Loop thread. Asks for the end of a turn to be told: by the turn that runs now, else after the
  // handler that runs now.
  void end_turn_soon() {
    if (in_turn_ || end_posted_) return;
    end_posted_ = true;
    boost::asio::post(io_, [this] { end_turn(); });
  }

 private:
  void end_turn();

  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  TurnEnd* listener_ = nullptr;
  std::thread thread_;

  // Loop thread:
  bool in_turn_ = false;
  bool end_posted_ = false;
};

}  // namespace rq::net
