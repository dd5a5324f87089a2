#include "pipeline/readers.h"

#include <chrono>
#include <optional>
#include <utility>

#include "base/limits.h"

namespace rq::pipeline {

Readers::Desk::Desk(std::unique_ptr<core::Reader> view)
    : reader(std::move(view)), mailbox(base::kReaderQueueMax) {}

void Readers::Desk::serve() {
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
    desks_.push_back(std::make_unique<Desk>(std::move(reader)));
    Desk& desk = *desks_.back();
    desk.thread = std::thread([&desk] { desk.serve(); });
  }
}

Readers::~Readers() { stop(); }

bool Readers::post(Lookup lookup) {
  Desk* best = nullptr;
  for (const auto& desk : desks_) {
    if (best == nullptr ||
        desk->busy.load(std::memory_order_relaxed) < best->busy.load(std::memory_order_relaxed)) {
      best = desk.get();
    }
  }
  if (best == nullptr) return false;
  best->busy.fetch_add(1, std::memory_order_relaxed);
  if (best->mailbox.post(std::move(lookup))) return true;
  best->busy.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void Readers::stop() {
  for (const auto& desk : desks_) desk->mailbox.close();
  for (const auto& desk : desks_) {
    if (desk->thread.joinable()) desk->thread.join();
  }
}

}  // namespace rq::pipeline
