#pragma once
// The rules of the engine told as plainly as possible: one map of messages, looked through from end
// to end, one command after the other. The engine must give the same replies.
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/command.h"

namespace rq::store::contract {

using namespace core;

// Replies as text, by the number of the request. A reserve `each` has a text for each message.
using Replies = std::map<std::uint64_t, std::string>;

// --- Texts, of the model and of the engine alike ---
[[nodiscard]] std::string text_of(const base::Error& error);
[[nodiscard]] std::string text_of(const Message& message, std::string_view queue);
[[nodiscard]] std::string text_of(const QueueShown& shown);
[[nodiscard]] std::string text_of(const Attempt& attempt);
[[nodiscard]] std::string text_of(const Reply& reply);
// The text of a reserve that got these, each with the name of its queue.
[[nodiscard]] std::string text_of_reserved(const std::vector<std::string>& messages);

// A command in a few words.
[[nodiscard]] std::string text_of(const Envelope& envelope);
[[nodiscard]] Envelope copy_of(const Envelope& envelope);

// What the engine chose where the rules leave it free.
struct Choices {
  Boot boot = 0;
  std::deque<Seq> numbers;                      // of new messages, in their order
  std::map<std::uint64_t, std::int64_t> taken;  // messages that a reserve was given at once
  bool no_room = false;                         // the disk is full
};

class Model {
 public:
  struct Stored {
    std::map<Seq, Message> messages;
    std::map<std::string, Queue> queues;  // by name
    std::map<std::string, Instant> idle;  // when those on demand are looked at
    std::map<Seq, std::vector<Attempt>> attempts;
  };

  // Time passes: what is due is done until nothing is.
  // What happened to the clock since the last one: it was stepped, the server was stopped.
  struct Jump {
    Millis shift{};
    Millis stopped{};
  };
  [[nodiscard]] Replies pass(Instant now, const Jump& jump, const Choices& choices);
  // One command, and what follows of it at once.
  [[nodiscard]] Replies run(const Envelope& envelope, const Choices& choices);
  // The server was ended and started: what was in its memory is gone.
  void restart();

  [[nodiscard]] const Stored& stored() const { return stored_; }
  [[nodiscard]] bool waits(std::uint64_t connection) const;
  [[nodiscard]] bool holds(std::uint64_t connection) const;
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  // All that is stored, as text.
  [[nodiscard]] std::string dump() const;

 private:
  struct Waiting {
    Ticket ticket;
    Reserve reserve;
    std::vector<std::string> queues;
  };
  struct Held {
    Envelope envelope;
    Instant since{};
  };
  struct Lease {
    std::uint64_t connection = 0;
    Token token;
    Instant until{};
  };

  void answer(std::uint64_t request, std::string text);
  void answer(const base::Error& error) { answer(ticket_.request, text_of(error)); }

  // --- What is due ---
  void settle();
  void run_due();
  void serve();
  void end_waits();
  void try_released();
  void fire_timers();
  void keep(Queue& queue, State kind);
  [[nodiscard]] std::string why_ended(const core::Lease& lease) const;
  State lose(Message& message, std::optional<std::string> reason);

  // --- Commands ---
  void take_up(const Envelope& envelope);
  void decide(const Put& put);
  void decide(const PutMany& many);
  void decide(const Reserve& reserve);
  void decide(const Disconnect& disconnect);
  void decide(const StopWaiting& stop);
  void decide(const Heartbeat& heartbeat);
  void decide(const Finish& finish);
  void decide(const Duplicate& duplicate);
  void decide(const Act& act);
  void decide(const RunEarly& early);
  void decide(const RunEarlyOne& early);
  void decide(const Peek& peek);
  void decide(const ShowQueue& show);
  void decide(const ListQueues& list);
  void decide(const EngineStats& stats);
  void decide(const DefineQueue& define);
  void decide(const SetAdmin& set);
  void decide(const DeleteQueue& remove);
  void decide(const SetScriptError& set);
  void decide(const ForgetWaste& forget);
  void decide(const Examine& examine);

  base::Result<PutDone> put_one(const Put& put);
  base::Result<HeartbeatDone::Item> heartbeat_one(const Heartbeat::Item& item);
  base::Result<State> finish_one(const Finish::Item& item);
  base::Result<ActDone::Item> act_one(const Act& act, Seq seq);
  void reserve_one(const Reserve& reserve);
  State end_as(Message& message, const Finish::Item& item);

  // --- Parts of them ---
  [[nodiscard]] Queue* find_queue(std::string_view name);
  [[nodiscard]] Queue& queue_of(const Message& message);
  [[nodiscard]] Message* find(Seq seq);
  [[nodiscard]] base::Result<Message*> need(Seq seq);
  [[nodiscard]] base::Result<Message*> need_leased(const Token& token);
  Queue& make_queue(const std::string& name, bool on_demand, const QueueSettings& settings);
  void use(const Queue& queue) { used_[queue.name] = now_; }
  void changed(Queue& queue) { ++queue.revision; }
  void erase(Message& message);
  void expire(Message& message);  // by retention
  void remove_queue(const std::string& name);
  [[nodiscard]] static bool is_open(const Queue& queue);
  [[nodiscard]] static base::Result<void> takes(const Queue& queue);
  [[nodiscard]] static base::Result<void> works(const Queue& queue);
  [[nodiscard]] QueueShown shown(const Queue& queue) const;
  // Ready messages that the reserve may have, best first.
  [[nodiscard]] std::vector<Seq> best(const Reserve& reserve) const;
  // Leases what there is, or as many as the engine did; true: the reserve goes on with nothing.
  bool give(Ticket& ticket, Reserve& reserve);
  std::string lease(Message& message, const Ticket& ticket, const Reserve& reserve);
  bool wait(const Ticket& ticket, Reserve reserve, std::vector<std::string> queues);
  void end_attempt(Message& message, std::string_view outcome, std::optional<std::string> reason,
                   std::string post_mortem);
  [[nodiscard]] static std::string after_stop(const core::Lease& lease, std::string text);
  State finish_as(Message& message, Event event, Mark mark);
  State send_back(Message& message, Millis delay);
  State stop_attempt(Message& message);
  void restart(Message& message);
  void make_ready(Message& message);
  void line_up(Message& message);
  [[nodiscard]] std::vector<Seq> in_order(const std::string& queue, bool held) const;

  Stored stored_;
  QueueId queue_ids_ = 0;  // its own, not those of the store
  Instant now_{};

  // In memory:
  std::map<std::string, Instant> used_;
  std::vector<Waiting> waiting_;  // in the order they came
  std::map<std::uint64_t, std::deque<Held>> held_;
  std::deque<std::uint64_t> released_;  // connections
  std::map<Seq, Lease> leases_;         // that end with their connection
  std::set<Seq> orphans_;

  // Of the step:
  Choices choices_;
  Replies replies_;
  Ticket ticket_;
};

}  // namespace rq::store::contract
