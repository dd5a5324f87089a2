#pragma once
// Calls that failed for want of a good token, by address: whoever fails again and again waits
// longer and longer for the answer. Who brings a good token never waits, also from the same
// address: a whole office may have one (pitfalls NA14).
//
// Thread: the loop's.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/time.h"

namespace rq::access {

// Addresses that are remembered, about; with more the older half is forgotten.
inline constexpr std::size_t kAddressesMax = 8'192;
inline constexpr std::uint32_t kFailuresFree = 3;
inline constexpr base::Millis kFailureWaitMin{100};
inline constexpr base::Millis kFailureWaitMax{5'000};
inline constexpr base::Millis kFailureForgotten{600'000};  // without another one

class Failures {
 public:
  // One more: how long its answer is to wait.
  [[nodiscard]] base::Millis note(std::string_view address, base::Instant now);
  [[nodiscard]] std::size_t size() const { return young_.size() + old_.size(); }

 private:
  struct Count {
    std::uint32_t failures = 0;
    base::Instant last{};
  };
  using Table = std::unordered_map<std::string, Count>;
  Table young_;
  Table old_;
};

}  // namespace rq::access
