#pragma once
// The gate: every lease passes here. It says what may start, in which order, and makes the lease.
#include <vector>

#include "base/result.h"
#include "engine/desk.h"

namespace rq::engine {

// Whether messages of the queue may be leased.
[[nodiscard]] bool is_open(const Entry& entry);

// Whether the store may be asked for the front of this line in this batch, and how far it is known.
[[nodiscard]] bool may_look(const Desk& desk, const Entry& entry);
[[nodiscard]] LineKey known_of(const Desk& desk, const Entry& entry);

// Finds the queues of the reserve, each once: one that is named twice counts as the first of them
// says. They are in Desk::watched until the next call. False: some are not there.
[[nodiscard]] bool find_watched(Desk& desk, const Reserve& reserve);

struct Taken {
  std::vector<Message> messages;  // copies, each with its lease
  std::vector<QueueName> names;   // of their queues, if the reserve wants them
  // Too little of a line is loaded to tell; what to load is in Batch::wanted.
  bool lacks = false;
  bool full = false;  // the batch has had enough: there may be more in the next one
};
// The best messages over all queues of the reserve, priority, order and number being compared over
// all of them. A message is given only if every better one that there may be is known.
// REQUIRES: find_watched() for this reserve.
[[nodiscard]] base::Result<Taken> take_best(Desk& desk, const Ticket& ticket,
                                            const Reserve& reserve);

// What take_best will look at.
void needs_of_lines(Desk& desk, const Reserve& reserve, Needs& out);

// Leases this message, which is ready. The only way into State::run.
void lease(Desk& desk, Record& record, const Ticket& ticket, const Reserve& reserve, Taken& out);

}  // namespace rq::engine
