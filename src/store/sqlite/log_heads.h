#pragma once
// What stands in front of the pages of the log, as it was written, so that whoever checks a page
// need not read it again from two other places of the file. It is a help and nothing more: what it
// does not know stands in the log. A head that has changed in the file is not seen, and does no
// harm to who copies: the page is as it was written. Thread: whoever writes the log notes; any
// thread asks for what is committed.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "store/sqlite/file_format.h"

namespace rq::store::sqlite {

class LogHeads {
 public:
  // Of a frame, and of the frame before it or the head of the log.
  struct Found {
    std::array<char, kFrameHeadBytes> head;  // but for its salt, which no checksum covers
    std::array<char, kSumBytes> sum_before;
  };

  // From now on; of what was written before, nothing is known. REQUIRES: nobody asks yet.
  void begin(std::size_t page_bytes);
  // These bytes are written there; what is no head is passed over.
  void note(const char* bytes, std::size_t size, std::size_t at);
  // Of the frame that begins there.
  [[nodiscard]] std::optional<Found> find(std::size_t frame_at) const;

 private:
  struct Entry {
    std::atomic<std::uint64_t> pages{0};  // never 0 in a frame
    std::atomic<std::uint64_t> sum{0};
  };
  // 0 is the head of the log; nothing: no frame begins there, or one that is too far back.
  [[nodiscard]] std::optional<std::size_t> index_of(std::size_t frame_at) const;

  std::size_t page_bytes_ = 0;
  std::unique_ptr<Entry[]> entries_;
};

}  // namespace rq::store::sqlite
