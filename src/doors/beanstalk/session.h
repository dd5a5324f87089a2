#pragma once
// One connection's side of the protocol: requests in, commands to the engine, replies in the order
// of the requests. No socket: bytes come in through feed() and go out through out().
//
// Requests are served as if one after the other. They are sent to the engine at once, neighbours of
// one kind as one command; there, what is behind a reserve that waits waits too (Ticket::in_turn).
// Unread stays what would change tubes, or hold too much, behind a reserve that may wait.
//
// Thread: the loop's.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/time.h"
#include "core/command.h"
#include "doors/beanstalk/reserved_jobs.h"
#include "doors/beanstalk/tubes.h"
#include "wire/beanstalk.h"

namespace rq::doors::beanstalk {

// Since the server's start, over all connections.
struct Totals {
  std::array<std::int64_t, wire::beanstalk::kVerbCount> commands{};
  std::int64_t connections = 0;  // ever
  std::int64_t open = 0;
  std::int64_t producers = 0;  // open ones that have put
  std::int64_t workers = 0;    // open ones that have reserved
};

// What a session needs of the door.
class Host {
 public:
  virtual ~Host() = default;
  virtual void submit(const core::Ticket& ticket, core::Command&& command) = 0;
  [[nodiscard]] virtual base::Instant now() const = 0;
  [[nodiscard]] virtual bool draining() const = 0;
  // The text of `stats`.
  [[nodiscard]] virtual std::string stats(const core::EngineStatsDone& engine) const = 0;

  Tubes tubes;
  Totals totals;
};

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

  void deliver(core::Delivery& delivery);

  // The client sends no more. Reserves that find nothing at once give up; replies still go out.
  void end_of_input();
  // The client said quit, and all is answered: close when unsent() is empty.
  [[nodiscard]] bool finished() const { return ending_ && slots_.empty(); }
  // No request waits for its reply.
  [[nodiscard]] bool idle() const { return slots_.empty(); }
  // The connection is gone: leases that hang on it are given back.
  void disconnect();

  // Replies to be sent; the door takes from the front.
  [[nodiscard]] std::string& out() { return out_; }
  void out_sent(std::size_t bytes);
  [[nodiscard]] std::string_view unsent() const { return std::string_view(out_).substr(sent_); }

 private:
  using Verb = wire::beanstalk::Verb;
  using Request = wire::beanstalk::Request;

  // A request that has no reply yet, or whose reply waits for those before it.
  struct Slot {
    Verb verb = Verb::quit;
    bool answered = false;
    bool waits = false;         // a reserve that may block
    std::uint32_t group = 0;    // of the first of neighbours sent as one command: how many
    std::uint32_t delay_s = 0;  // pause-tube
    std::uint64_t bytes = 0;    // put: of the body
    core::Token token;          // or only its seq
    std::string text;           // reply, or the tube of a stats-tube or pause-tube
    std::unique_ptr<core::Peeked> peeked;
  };
  // Neighbours that become one command.
  enum class Group : std::uint8_t { none, put, reserve, finish, touch };

  [[nodiscard]] bool must_wait(const Request& request);
  void handle(const Request& request);
  void put(const Request& request);
  void reserve(const Request& request);
  void reserve_job(const Request& request);
  void finish(const Request& request);
  void touch(const Request& request);
  void look(const Request& request);
  void use(std::string_view name);
  void watch(std::string_view name);
  void ignore(std::string_view name);
  void list_watched();

  Slot& add_slot(Verb verb);
  [[nodiscard]] std::uint64_t last_request() const { return next_request_ - 1; }
  [[nodiscard]] Slot* slot_of(std::uint64_t request);
  void say(std::string_view line);    // the reply of a request that needs no engine
  std::string& reply_of(Slot& slot);  // where to write it
  void answered(Slot& slot);
  void advance();
  void submit(std::uint64_t request, core::Command&& command);
  // What a request needs besides, after a first reply: not behind what came after it.
  void submit_more(std::uint64_t request, core::Command&& command);
  void flush_group();
  void open_group(Group group);
  void submit_reserve(std::uint64_t request, std::uint32_t count);
  [[nodiscard]] std::optional<base::Instant> deadline_soon();

  void on(std::uint64_t request, core::PutDone& reply);
  void on(std::uint64_t request, core::PutManyDone& reply);
  void on(std::uint64_t request, core::Reserved& reply);
  void on(std::uint64_t request, core::FinishDone& reply);
  void on(std::uint64_t request, core::HeartbeatDone& reply);
  void on(std::uint64_t request, base::Error& reply);
  void on(std::uint64_t request, core::Ok& reply);
  void on(std::uint64_t request, core::ActDone& reply);
  void on(std::uint64_t request, core::RunEarlyDone& reply);
  void on(std::uint64_t request, core::Peeked& reply);
  void on(std::uint64_t request, core::QueueShown& reply);
  void on(std::uint64_t request, core::QueuesListed& reply);
  void on(std::uint64_t request, core::EngineStatsDone& reply);
  template <typename Other>
  void on(std::uint64_t request, Other& reply);
  void fail(Slot& slot, base::Code code);
  void finished_one(Slot& slot, const base::Result<core::State>& state, std::uint64_t request);
  void reserved_one(Slot& slot, const core::Message& message);
  void job_stats(Slot& slot, std::optional<base::Millis> queue_lease);
  void make_and_pause(std::uint64_t request, Slot& slot);

  Host& host_;
  const std::uint64_t connection_;
  wire::beanstalk::Parser parser_;
  std::size_t wanted_ = 1;
  bool blocked_ = false;
  bool ending_ = false;
  bool gone_ = false;
  bool input_ended_ = false;  // the client sends no more: nothing waits
  bool is_producer_ = false;
  bool is_worker_ = false;

  Tube* used_;
  std::vector<Tube*> watched_;
  std::shared_ptr<const std::vector<core::ReserveQueue>> watch_list_;  // null: to be made
  ReservedJobs reserved_;

  std::vector<Slot> slots_;  // from head_: without a reply, or behind one without
  std::size_t head_ = 0;
  std::uint64_t next_request_ = 1;  // the one after the last slot
  std::uint32_t waiting_ = 0;       // reserves without a reply that may block
  std::uint32_t reserving_ = 0;     // reserves without a reply
  std::uint32_t bodies_ = 0;        // requests without a reply whose reply has a body
  std::size_t body_seen_ = 0;       // a body's size, of late the largest
  std::uint64_t put_bytes_ = 0;     // of puts without a reply

  Group group_ = Group::none;
  std::uint64_t group_request_ = 0;
  core::PutMany puts_;
  core::Finish finishes_;
  core::Heartbeat touches_;
  std::uint32_t reserves_ = 0;
  std::optional<base::Instant> reserve_until_;

  std::string out_;
  std::size_t sent_ = 0;
};

}  // namespace rq::doors::beanstalk
