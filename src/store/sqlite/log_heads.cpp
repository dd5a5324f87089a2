#include "store/sqlite/log_heads.h"

#include <cstring>

namespace rq::store::sqlite {
namespace {

constexpr std::size_t kEntriesMax = 16'384;
constexpr auto kRelaxed = std::memory_order_relaxed;

std::uint64_t eight(const char* from) {
  std::uint64_t value = 0;
  std::memcpy(&value, from, sizeof value);
  return value;
}
static_assert(kSumBytes == sizeof(std::uint64_t) && kFrameSalt == sizeof(std::uint64_t));

}  // namespace

void LogHeads::begin(std::size_t page_bytes) {
  page_bytes_ = page_bytes;
  entries_ = std::make_unique<Entry[]>(kEntriesMax);
}

std::optional<std::size_t> LogHeads::index_of(std::size_t frame_at) const {
  if (page_bytes_ == 0 || frame_at < kLogHeadBytes) return std::nullopt;
  const std::size_t frame_bytes = kFrameHeadBytes + page_bytes_;
  const std::size_t index = (frame_at - kLogHeadBytes) / frame_bytes + 1;
  const bool begins = (frame_at - kLogHeadBytes) % frame_bytes == 0;
  return begins && index < kEntriesMax ? std::optional{index} : std::nullopt;
}

void LogHeads::note(const char* bytes, std::size_t size, std::size_t at) {
  if (size == kLogHeadBytes && at == 0 && entries_) {
    entries_[0].pages.store(1, kRelaxed);
    entries_[0].sum.store(eight(bytes + kLogHeadSum), kRelaxed);
  } else if (size == kFrameHeadBytes) {
    if (const auto index = index_of(at)) {
      entries_[*index].pages.store(eight(bytes), kRelaxed);
      entries_[*index].sum.store(eight(bytes + kFrameSum), kRelaxed);
    }
  }
}

// SQLite makes a frame known through locks and barriers, after it was written.
std::optional<LogHeads::Found> LogHeads::find(std::size_t frame_at) const {
  const auto index = index_of(frame_at);
  if (!index) return std::nullopt;
  const std::uint64_t pages = entries_[*index].pages.load(kRelaxed);
  if (pages == 0 || entries_[*index - 1].pages.load(kRelaxed) == 0) return std::nullopt;
  const std::uint64_t sum = entries_[*index].sum.load(kRelaxed);
  const std::uint64_t before = entries_[*index - 1].sum.load(kRelaxed);
  Found found{};
  std::memcpy(found.head.data(), &pages, sizeof pages);
  std::memcpy(found.head.data() + kFrameSum, &sum, sizeof sum);
  std::memcpy(found.sum_before.data(), &before, sizeof before);
  return found;
}

}  // namespace rq::store::sqlite
