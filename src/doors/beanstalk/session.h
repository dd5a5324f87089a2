#pragma once
// One connection's side of the protocol: requests in, commands to the engine, replies in the order
// of the requests. No socket: bytes come in through feed() and go out through out().
//
// Requests are served as if one after the other. They are sent to the engine at once, neighbours of
// one kind as one command; there, what is behind a reserve that waits waits too (Ticket::in_turn).
// Requests that would change tubes, or hold too much, stay unparsed while a reserve may block.
//
// Thread: the loop's.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "core/command.h"
#include "doors/beanstalk/answers.h"
#include "doors/beanstalk/host.h"
#include "doors/beanstalk/neighbours.h"
#include "doors/beanstalk/reply_slots.h"
#include "doors/beanstalk/reserved_jobs.h"
#include "doors/beanstalk/tube_set.h"
#include "wire/beanstalk.h"

namespace rq::doors::beanstalk {

class Session {
 public:
  Session(Host& host, std::uint64_t connection, std::size_t body_bytes_max);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Takes as many requests as it can now; gives how many bytes are done with. The others must be
  // given again, with more behind them or when blocked() has become false.
  [[nodiscard]] std::size_t feed(std::string_view in);
  // It takes no request now: a reply must come, or be read by the client, first.
  [[nodiscard]] bool blocked() const { return blocked_; }
  // feed() has left the rest for a later turn.
  [[nodiscard]] bool yielded() const { return yielded_; }

  void deliver(core::Delivery& delivery);

  // The client sends no more. Reserves that find nothing at once give up; replies still go out.
  void end_of_input();
  // The client said quit, and all is answered: close when unsent() is empty.
  [[nodiscard]] bool finished() const { return ending_ && slots_.empty(); }
  // No request waits for its reply.
  [[nodiscard]] bool idle() const { return slots_.empty(); }
  // It has jobs in hand.
  [[nodiscard]] bool holds() const { return reserved_.size() > 0; }
  // The connection is gone: leases that hang on it are given back.
  void disconnect();

  // Replies to be sent; the door takes from the front.
  [[nodiscard]] std::string& out() { return slots_.out(); }
  void out_sent(std::size_t bytes) { slots_.out_sent(bytes); }
  [[nodiscard]] std::string_view unsent() const { return slots_.unsent(); }

 private:
  using Verb = wire::beanstalk::Verb;
  using Request = wire::beanstalk::Request;
  using Slot = ReplySlots::Slot;

  [[nodiscard]] bool must_wait(const Request& request);
  void handle(const Request& request);
  void put(const Request& request);
  void count_put(bool body_taken);
  void reserve(const Request& request);
  void reserve_job(const Request& request);
  void finish(const Request& request);
  void touch(const Request& request);
  void look(const Request& request);
  void pause_tube(const Request& request);
  void use(std::string_view name);
  void watch(std::string_view name);
  void ignore(std::string_view name);
  void forget_unused(std::string_view name);
  void list_watched();

  void say(std::string_view line);  // the reply of a request that needs no engine
  void say_watching();
  void becomes_worker();
  // To the engine, as the command of the last request.
  void submit(core::Command&& command);
  // To the engine, with no reply.
  void tell(core::Command&& command);

  Host& host_;
  const std::uint64_t connection_;
  wire::beanstalk::Parser parser_;
  std::size_t wanted_ = 1;
  bool blocked_ = false;
  bool yielded_ = false;
  bool ending_ = false;
  bool gone_ = false;
  bool input_ended_ = false;  // the client sends no more: nothing waits
  bool is_producer_ = false;
  bool is_worker_ = false;
  bool may_hold_ = false;  // it has asked for jobs

  TubeSet tubes_;
  ReservedJobs reserved_;
  ReplySlots slots_;
  Neighbours neighbours_;
  Answers answers_;
};

}  // namespace rq::doors::beanstalk
