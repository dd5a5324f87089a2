#include "pipeline/readers.h"

#include <chrono>
#include <optional>
#include <utility>

#include "base/thread.h"

namespace rq::pipeline {

namespace {
// Look-ups that wait for a reader thread. Of searches fewer: each may take seconds.
constexpr std::size_t kReaderQueueMax = 10'000;
constexpr std::size_t kSearchQueueMax = 100;
}  // namespace

Readers::Place::Place(std::unique_ptr<core::Reader> view, Kind what, const Readers& all)
    : reader(std::move(view)),
      longest(what),
      readers(all),
      mailbox(what == Kind::search ? kSearchQueueMax : kReaderQueueMax) {
  reader->stop_when([this] { return is_over(); });
}

bool Readers::Place::is_over() const {
  return readers.stopping_.load(std::memory_order_relaxed) ||
         (wanted != nullptr && wanted->given_up());
}

void Readers::Place::serve() {
  if (longest == Kind::search) base::lower_priority();
  std::vector<Job> jobs;
  const std::optional<std::chrono::steady_clock::time_point> forever;
  while (mailbox.drain_until(jobs, forever)) {
    for (Job& job : jobs) {
      wanted = job.wanted.get();
      if (!is_over()) job.lookup(*reader);
      if (auto damaged = reader->take_damaged(); !damaged.empty() && readers.on_damage_) {
        readers.on_damage_(std::move(damaged));
      }
      wanted = nullptr;
      busy.fetch_sub(1, std::memory_order_relaxed);
    }
    jobs.clear();
  }
}

Readers::Readers(Views quick, Views search) : searches_apart_(!search.empty()) {
  // One runs nothing that takes longer than a look at one message.
  for (auto& view : quick) {
    add(std::move(view), places_.empty() && quick.size() > 1 ? Kind::quick : Kind::page);
  }
  for (auto& view : search) add(std::move(view), Kind::search);
}

void Readers::add(std::unique_ptr<core::Reader> view, Kind longest) {
  places_.push_back(std::make_unique<Place>(std::move(view), longest, *this));
  Place& place = *places_.back();
  place.thread = std::thread([&place] { place.serve(); });
}

bool Readers::runs(const Place& place, Kind kind) const {
  if (kind == Kind::search) return !searches_apart_ || place.longest == Kind::search;
  return kind <= place.longest && place.longest != Kind::search;
}

Readers::~Readers() { stop(); }

bool Readers::post(Lookup lookup, Kind kind, std::shared_ptr<const Wanted> wanted) {
  // Where something longer may be under way, nobody waits who can go elsewhere.
  const auto cost = [kind](const Place& place) {
    const int busy = place.busy.load(std::memory_order_relaxed);
    return std::pair{busy > 0 && place.longest > kind, busy};
  };
  Place* best = nullptr;
  for (const auto& place : places_) {
    if (!runs(*place, kind)) continue;
    if (best == nullptr || cost(*place) < cost(*best)) best = place.get();
  }
  if (best == nullptr) return false;
  best->busy.fetch_add(1, std::memory_order_relaxed);
  if (best->mailbox.post({std::move(lookup), std::move(wanted)})) return true;
  best->busy.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void Readers::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  for (const auto& place : places_) place->mailbox.close();
  for (const auto& place : places_) {
    if (place->thread.joinable()) place->thread.join();
  }
}

}  // namespace rq::pipeline
