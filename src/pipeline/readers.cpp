#include "pipeline/readers.h"

#include <chrono>
#include <optional>
#include <utility>

namespace rq::pipeline {

namespace {
constexpr std::size_t kReaderQueueMax = 10'000;  // look-ups that wait for a reader thread
}  // namespace

Readers::Place::Place(std::unique_ptr<core::Reader> view)
    : reader(std::move(view)), mailbox(kReaderQueueMax) {}

void Readers::Place::serve() {
  std::vector<Lookup> lookups;
  const std::optional<std::chrono::steady_clock::time_point> forever;
  while (mailbox.drain_until(lookups, forever)) {
    for (Lookup& lookup : lookups) {
      lookup(*reader);
      busy.fetch_sub(1, std::memory_order_relaxed);
    }
    lookups.clear();
  }
}

Readers::Readers(std::vector<std::unique_ptr<core::Reader>> readers) {
  for (auto& reader : readers) {
    places_.push_back(std::make_unique<Place>(std::move(reader)));
    Place& place = *places_.back();
    place.thread = std::thread([&place] { place.serve(); });
  }
}

Readers::~Readers() { stop(); }

bool Readers::post(Lookup lookup) {
  Place* best = nullptr;
  for (const auto& place : places_) {
    if (best == nullptr ||
        place->busy.load(std::memory_order_relaxed) < best->busy.load(std::memory_order_relaxed)) {
      best = place.get();
    }
  }
  if (best == nullptr) return false;
  best->busy.fetch_add(1, std::memory_order_relaxed);
  if (best->mailbox.post(std::move(lookup))) return true;
  best->busy.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void Readers::stop() {
  for (const auto& place : places_) place->mailbox.close();
  for (const auto& place : places_) {
    if (place->thread.joinable()) place->thread.join();
  }
}

}  // namespace rq::pipeline
