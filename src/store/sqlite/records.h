#pragma once
// Records in memory. One that the next batches are likely to name stays after its batch, until
// another one needs its slot or the bound of bytes is passed.
// Thread: engine.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/store.h"

namespace rq::store::sqlite {

// What the store knows of a message in memory.
struct HeldState {
  Filed now;              // as the engine left it
  Filed stored;           // as the tables say
  bool in_table = false;  // it has a row in message
  bool has_detail = false;
  bool tagged = false;
  bool attempted = false;  // it may have rows in attempt
  bool dirty = false;      // this batch has changed it
  bool whole = false;      // its row must be written
  bool lease_changed = false;
  bool erased = false;
  std::uint64_t batch = 0;  // the last one that used it
};

struct Held final : Record, HeldState {
  [[nodiscard]] Seq seq() const { return message.seq; }
  [[nodiscard]] LineKey key_now() const { return {now.rank, now.time, message.seq}; }
  [[nodiscard]] LineKey key_stored() const { return {stored.rank, stored.time, message.seq}; }
};

class Records {
 public:
  Records();

  void begin_batch() { ++batch_; }
  // Null when it is not in memory.
  [[nodiscard]] Held* find(Seq seq);
  Held& hold(Message&& message);
  // As the tables have it.
  Held& hold_stored(Message&& message);
  // Frees the slots of the batch's records that are written: erased ones, and those for which
  // keep(record) is false. A long line's others would only push each other out later, when nothing
  // of them is in the processor's caches any more.
  template <typename Keep>
  void end_batch(std::vector<Held*>& written, Keep keep) {
    for (const Held* held : written) {
      if (held->erased || !keep(*held)) free(*held);
    }
    written.clear();
    for (auto& [seq, held] : overflow_) bytes_ -= held->message.payload.size();
    overflow_.clear();
    if (bytes_ > kBytesMax) clear();
  }
  template <typename Each>
  void for_each(Each each) {
    for (auto& slot : slots_) {
      if (slot) each(*slot);
    }
    for (auto& [seq, held] : overflow_) each(*held);
  }
  void clear();

 private:
  // A power of two: enough for what is in flight, some 20 MiB with payloads of a few hundred bytes.
  static constexpr std::size_t kSlots = 32'768;
  static constexpr std::size_t kBytesMax = 24 * 1024 * 1024;  // payloads of kept records
  static constexpr std::size_t kSpareMax = 4096;
  static constexpr std::size_t kSparePayloadMax = 512;

  [[nodiscard]] std::unique_ptr<Held>& slot_of(Seq seq) {
    return slots_[static_cast<std::size_t>(seq) & (kSlots - 1)];
  }
  void free(const Held& held);
  [[nodiscard]] std::unique_ptr<Held> fresh();

  std::vector<std::unique_ptr<Held>> slots_;
  // For the next messages. They still hold the last one, if that is small: what is not in the
  // processor's caches any more is not touched to empty it.
  std::vector<std::unique_ptr<Held>> spare_;
  std::unordered_map<Seq, std::unique_ptr<Held>> overflow_;  // of the batch: its slot is in use
  std::size_t bytes_ = 0;
  std::uint64_t batch_ = 0;
};

}  // namespace rq::store::sqlite
