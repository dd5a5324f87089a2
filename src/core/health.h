#pragma once
// Damage in a store: what a check finds, and what is done about it.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/message.h"
#include "core/place.h"
#include "core/queue.h"

namespace rq::core {

// A message that looks damaged.
struct Suspect {
  Seq seq = 0;
  std::optional<Filed> row{};  // that stands where it should not
  // Somebody else has found it damaged. What the store itself still has may be sound: then it is
  // written anew.
  bool unreadable = false;
};

// Counters of a queue that are not what its rows tell: what is to be added to them. It holds
// whatever is counted meanwhile.
struct Miscount {
  QueueId queue = 0;
  Counters by{};
};

// What a check has found.
struct Finding {
  Suspect suspect{};  // number 0: it is about more than one message
  std::string text;
  bool page = false;  // a part of the store cannot be read
  std::optional<Miscount> miscount{};
};

// A message that the store had to set aside: its rows were damaged. It is counted no more.
struct SetAside {
  Seq seq = 0;
  QueueId queue = 0;
  State state = State::que;  // it was counted as
  bool held = false;
  bool high = false;
  std::string why;
};

enum class RebuildWhen : std::uint8_t {
  now,       // if that takes no longer than a batch may; else at_start
  at_start,  // of the server
};

// The part of the port that is about damage. What a look finds damaged is none: the store sets it
// aside, with why and its bytes, and everything else goes on. A store whose rows cannot be damaged
// one by one has nothing to do.
class Mending {
 public:
  Mending() = default;
  Mending(const Mending&) = delete;
  Mending& operator=(const Mending&) = delete;
  virtual ~Mending() = default;

  // In a batch: looks whether all that it has of the message agrees; what does not is mended from
  // what is sound, or set aside. It costs no more than a few changes of a message.
  [[nodiscard]] virtual base::Result<void> examine(const Suspect& /*suspect*/) { return {}; }
  // Messages set aside in this batch, since the last call.
  [[nodiscard]] virtual std::vector<SetAside> take_set_aside() { return {}; }
  // Rows that were ever set aside and are kept for whoever looks into it.
  [[nodiscard]] virtual std::int64_t set_aside_count() const { return 0; }
  // A check has found what cannot be mended message by message. A fault: the batch is to end with
  // it, and the next open() makes the store anew from its messages.
  [[nodiscard]] virtual base::Result<void> request_rebuild(RebuildWhen /*when*/) { return {}; }
  // What an operator is to be told of all this, since the last call: a line each.
  [[nodiscard]] virtual std::vector<std::string> take_reports() { return {}; }
};

}  // namespace rq::core
