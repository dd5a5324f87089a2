#pragma once
// Why a message is not running, and why nothing of a queue starts: in one place, so that a message,
// a queue and rq doctor tell it in the same words.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "core/command.h"
#include "core/message.h"
#include "doors/api/worker_notes.h"

namespace rq::doors::api {

struct Reason {
  std::string_view reason;  // a word for programs
  std::string text;
  std::string remedy;  // empty: it passes by itself, or nothing is known
};

// What is known besides the queue and the message.
struct Surroundings {
  std::optional<WorkerNotes::Hold> hold{};  // of the queue
  WorkerNotes::Presence workers{};
  std::string_view dir{};             // of the server
  base::Millis clock_not_followed{};  // see pipeline::Clock::doubt()
};

// Why no worker takes messages of queues that have a script. Nothing: one does.
[[nodiscard]] std::optional<Reason> why_no_worker_takes(const Surroundings& around);

// What keeps all messages of the queue that wait from being started. Nothing: they take their turn,
// or none waits.
[[nodiscard]] std::optional<Reason> hindrance_of(const core::QueueShown& shown,
                                                 const Surroundings& around);

// Why the message is not running. `ahead`: so many stand before it in the line of its queue, as far
// as they were counted.
inline constexpr std::int64_t kAheadMax = 10'000;
[[nodiscard]] Reason why_not(const core::Message& message, const core::QueueShown& shown,
                             std::int64_t ahead, const Surroundings& around);

}  // namespace rq::doors::api
