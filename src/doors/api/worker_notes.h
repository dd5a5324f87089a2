#pragma once
// What workers say of themselves: that they are there, and which queues they hold back. In memory
// only: after a restart they say it again.
// Thread: the loop's.
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/time.h"

namespace rq::doors::api {

// A worker that has said nothing for so long is silent: it is stopped, or cut off.
inline constexpr base::Millis kSilentAfter{30'000};

class WorkerNotes {
 public:
  struct Worker {
    std::string version;
    base::Instant seen{};
    bool draining = false;  // it was told to end, and takes no more messages
  };
  // Why nothing of a queue is started before `until`.
  struct Hold {
    std::string text;
    base::Instant until{};
  };

  void seen(const std::string& worker, Worker note);
  void gone(const std::string& worker) { workers_.erase(worker); }
  // By name. One that has been silent for a day is forgotten.
  [[nodiscard]] const std::map<std::string, Worker>& workers(base::Instant now);

  // What those that are known come to. One that is not at work is named, of which all depends.
  struct Presence {
    enum class Kind : std::uint8_t { none, silent, draining, at_work };
    Kind kind = Kind::none;
    std::string name{};
    base::Instant seen{};
  };
  [[nodiscard]] Presence presence(base::Instant now);

  void hold(const std::string& queue, Hold hold);
  // While it lasts.
  [[nodiscard]] std::optional<Hold> hold_of(const std::string& queue, base::Instant now);

 private:
  std::map<std::string, Worker> workers_;
  std::map<std::string, Hold> holds_;
};

}  // namespace rq::doors::api
