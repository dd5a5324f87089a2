#include "store/sqlite/records.h"

#include <utility>

namespace rq::store::sqlite {
namespace {

// A large batch writes more records than the caches of a processor hold, and would wait for each.
void fetch_for_writing(const Held& held) {
  constexpr std::size_t kCacheLineBytes = 64;
  const char* const at = static_cast<const char*>(static_cast<const void*>(&held));
  for (std::size_t i = 0; i < sizeof held; i += kCacheLineBytes) __builtin_prefetch(at + i, 1);
}

}  // namespace

Records::Records() : slots_(kSlots) {}

Held* Records::find(Seq seq) {
  Held* found = slot_of(seq).get();
  if (found == nullptr || found->message.seq != seq) {
    if (overflow_.empty()) return nullptr;
    const auto at = overflow_.find(seq);
    if (at == overflow_.end()) return nullptr;
    found = at->second.get();
  }
  found->batch = batch_;
  return found;
}

Held& Records::hold(Message&& message) {
  const Seq seq = message.seq;
  auto& slot = slot_of(seq);
  Held* held = nullptr;
  if (slot && (slot->batch == batch_ || slot->dirty)) {
    auto& place = overflow_[seq];
    place = fresh();
    held = place.get();
  } else {
    if (slot) {
      bytes_ -= slot->message.payload.size();
    } else {
      slot = fresh();
    }
    held = slot.get();
  }
  held->message = std::move(message);
  static_cast<HeldState&>(*held) = {};
  held->batch = batch_;
  bytes_ += held->message.payload.size();
  return *held;
}

Held& Records::hold_stored(Message&& message) {
  Held& loaded = hold(std::move(message));
  loaded.in_table = true;
  loaded.has_detail = loaded.message.details != nullptr;
  loaded.tagged = true;
  loaded.attempted = loaded.message.attempts > 0;
  loaded.stored = filed(loaded.message);
  loaded.now = loaded.stored;
  return loaded;
}

void Records::free(const Held& held) {
  auto& slot = slot_of(held.message.seq);
  if (slot.get() != &held) return;  // in overflow_, which goes with the batch
  core::Message& message = slot->message;
  bytes_ -= message.payload.size();
  if (spare_.size() < kSpareMax) {
    if (message.payload.capacity() > kSparePayloadMax) std::string().swap(message.payload);
    if (message.details || message.lease) message = {};
    spare_.push_back(std::move(slot));
  }
  slot.reset();
}

std::unique_ptr<Held> Records::fresh() {
  if (spare_.empty()) return std::make_unique<Held>();
  auto taken = std::move(spare_.back());
  spare_.pop_back();
  if (!spare_.empty()) fetch_for_writing(*spare_.back());
  return taken;
}

void Records::clear() {
  for (auto& slot : slots_) slot.reset();
  overflow_.clear();
  bytes_ = 0;
}

}  // namespace rq::store::sqlite
