#include "doors/api/worker_notes.h"

#include <chrono>
#include <utility>

namespace rq::doors::api {
namespace {

constexpr std::size_t kWorkersMax = 1'000;
constexpr std::size_t kHoldsMax = 10'000;
constexpr std::chrono::hours kForgetAfter{24};

}  // namespace

void WorkerNotes::seen(const std::string& worker, Worker note) {
  if (workers_.size() >= kWorkersMax && workers_.count(worker) == 0) return;
  workers_.insert_or_assign(worker, std::move(note));
}

const std::map<std::string, WorkerNotes::Worker>& WorkerNotes::workers(base::Instant now) {
  std::erase_if(workers_,
                [now](const auto& entry) { return now - entry.second.seen > kForgetAfter; });
  return workers_;
}

WorkerNotes::Presence WorkerNotes::presence(base::Instant now) {
  using Kind = Presence::Kind;
  Presence found;
  for (const auto& [name, worker] : workers(now)) {
    const Kind kind = now - worker.seen > kSilentAfter ? Kind::silent
                      : worker.draining                ? Kind::draining
                                                       : Kind::at_work;
    if (kind > found.kind) found = {.kind = kind, .name = name, .seen = worker.seen};
  }
  return found;
}

void WorkerNotes::hold(const std::string& queue, Hold hold) {
  if (holds_.size() >= kHoldsMax && holds_.count(queue) == 0) return;
  holds_.insert_or_assign(queue, std::move(hold));
}

std::optional<WorkerNotes::Hold> WorkerNotes::hold_of(const std::string& queue, base::Instant now) {
  const auto found = holds_.find(queue);
  if (found == holds_.end()) return std::nullopt;
  if (found->second.until > now) return found->second;
  holds_.erase(found);
  return std::nullopt;
}

}  // namespace rq::doors::api
