#pragma once
// The requests of a connection that have no reply yet, in their order, and the replies that go out.
// Thread: the loop's.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/command.h"
#include "doors/beanstalk/limits.h"
#include "net/out_buffer.h"
#include "wire/beanstalk.h"

namespace rq::doors::beanstalk {

[[nodiscard]] bool is_reserve(wire::beanstalk::Verb verb);
// Its reply carries a job.
[[nodiscard]] bool has_body(wire::beanstalk::Verb verb);
// Its reply tells what tubes and connections there are, or depends on it: nothing behind it is
// read before it is answered.
[[nodiscard]] bool looks_around(wire::beanstalk::Verb verb);

// What all connections have under way. A reserve that waits for a job costs nobody anything, and is
// not counted.
struct InFlight {
  std::size_t connections = 0;
  std::size_t commands = 0;
  std::uint64_t put_bytes = 0;
};

class ReplySlots {
 public:
  using Verb = wire::beanstalk::Verb;

  // Counts its own among those of all.
  explicit ReplySlots(InFlight& all) : all_(all) { ++all_.connections; }
  ~ReplySlots();
  ReplySlots(const ReplySlots&) = delete;
  ReplySlots& operator=(const ReplySlots&) = delete;

  // A request that has no reply yet, or whose reply waits for those before it.
  struct Slot {
    Verb verb = Verb::quit;
    bool answered = false;
    bool waits = false;         // a reserve that may block
    std::uint32_t group = 0;    // on a group's first slot: how many requests were merged into it
    std::uint32_t delay_s = 0;  // pause-tube
    std::uint64_t bytes = 0;    // put: of the body
    core::Token token;          // or only its seq
    std::string text;           // reply, or the tube of a stats-tube or pause-tube
    std::size_t held = 0;       // bytes of a reply that waits for those before it
    std::unique_ptr<core::Peeked> peeked;
  };

  // No more may be added now: some of those that are under way must be answered first.
  [[nodiscard]] bool full() const;
  Slot& add(Verb verb);
  Slot& add_put(std::uint64_t bytes);
  Slot& add_reserve(Verb verb, bool waits);
  // Null when it has its reply.
  [[nodiscard]] Slot* find(std::uint64_t request);
  [[nodiscard]] std::uint64_t next() const { return next_request_; }
  [[nodiscard]] std::uint64_t last() const { return next_request_ - 1; }
  [[nodiscard]] std::size_t size() const { return slots_.size() - head_; }
  [[nodiscard]] bool empty() const { return size() == 0; }

  // The reply of a request that needs no engine.
  void say(std::string_view line);
  [[nodiscard]] std::string& reply_of(Slot& slot);  // where to write it
  void answered(Slot& slot);
  // A command that has no reply is under way with the others: from begin_aside() to end_aside().
  void begin_aside() { count(); }
  void end_aside() { uncount(); }
  void saw_body(std::size_t bytes);

  // --- Of those without a reply ---
  [[nodiscard]] std::uint32_t waiting() const { return waiting_; }      // reserves that may block
  [[nodiscard]] std::uint32_t reserving() const { return reserving_; }  // reserves
  [[nodiscard]] std::uint32_t bodies() const { return bodies_; }        // whose reply has a body
  [[nodiscard]] std::uint32_t looking() const { return looking_; }      // that look around
  [[nodiscard]] std::uint64_t put_bytes() const { return put_bytes_; }
  // A body's size, of late the largest.
  [[nodiscard]] std::size_t body_seen() const { return body_seen_; }

  // Replies to be sent; the door takes from the front.
  [[nodiscard]] std::string& out() { return out_.bytes(); }
  void out_sent(std::size_t bytes) { out_.sent(bytes); }
  [[nodiscard]] std::string_view unsent() const { return out_.unsent(); }

 private:
  Slot& place(Verb verb);
  // It is under way; or not any more.
  void count();
  void uncount();
  void hold(Slot& slot);  // its reply waits for those before it
  void advance();

  InFlight& all_;
  std::size_t commands_ = 0;  // of its own among those of all
  std::vector<Slot> slots_;   // from head_: without a reply, or behind one without
  std::size_t head_ = 0;
  std::uint64_t next_request_ = 1;  // the one after the last slot
  std::uint32_t waiting_ = 0;
  std::uint32_t reserving_ = 0;
  std::uint32_t bodies_ = 0;
  std::uint32_t looking_ = 0;
  std::size_t body_seen_ = 0;
  std::uint64_t put_bytes_ = 0;
  std::size_t held_bytes_ = 0;  // of replies that wait for those before them
  net::OutBuffer out_{kOutBytesMax};
};

}  // namespace rq::doors::beanstalk
