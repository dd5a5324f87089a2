#pragma once
// Failures, counted by what their reasons have in common: those with one fingerprint are of one
// kind.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/limits.h"
#include "core/store.h"

namespace rq::core {

// One search: the newest 100,000 messages, when its pages are full.
inline constexpr std::size_t kFailurePagesMax = 100;
// More are no overview any more.
inline constexpr std::size_t kFailureKindsMax = 1000;
// Of the reason that stands for a kind.
inline constexpr std::size_t kFailureTextBytesMax = 1 * base::kKiB;

class Failures {
 public:
  struct Kind {
    std::string fingerprint;
    std::string text;  // the reason of the newest
    std::string queue;
    std::string newest, oldest;  // ids
    std::int64_t count = 0;
  };

  // Counts a page of messages in err. The pages come in their order, the newest messages first.
  // True: the next page is wanted.
  bool add(const Listed& page);

  // The most frequent first.
  [[nodiscard]] std::vector<Kind> kinds() const;
  // Messages of more kinds than are kept apart.
  [[nodiscard]] std::int64_t others() const { return others_; }
  [[nodiscard]] std::int64_t looked_at() const { return looked_at_; }
  // The bound on pages was reached: there may be older ones.
  [[nodiscard]] bool is_cut() const { return cut_; }

 private:
  void add(const MessageRow& row);

  std::map<std::string, Kind> kinds_;  // by fingerprint
  std::int64_t others_ = 0;
  std::int64_t looked_at_ = 0;
  std::size_t pages_ = 0;
  bool cut_ = false;
};

}  // namespace rq::core
