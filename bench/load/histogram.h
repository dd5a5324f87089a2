#pragma once
// Latencies, as HdrHistogram keeps them: steps that grow with the value, never more than 1/128 of
// it.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace rq::load {

class Histogram {
 public:
  // Units: nanoseconds; negative counts as 0.
  void add(std::int64_t value) {
    const auto v = static_cast<std::uint64_t>(std::max<std::int64_t>(value, 0));
    ++counts_[index_of(v)];
    ++total_;
    max_ = std::max(max_, v);
  }

  void add(const Histogram& other) {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
    max_ = std::max(max_, other.max_);
  }

  [[nodiscard]] std::uint64_t count() const { return total_; }
  [[nodiscard]] std::uint64_t max() const { return max_; }

  // The smallest value that at least `share` (0 to 1) of all do not pass, at most 1/128 too large.
  [[nodiscard]] std::uint64_t at(double share) const {
    const auto wanted = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(total_)));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted && seen > 0) return std::min(largest_of(i), max_);
    }
    return max_;
  }

 private:
  static constexpr unsigned kStepBits = 7;
  static constexpr std::uint64_t kSteps = 1ULL << kStepBits;

  // Values below 2 * kSteps have a step each; above, each doubling has kSteps steps.
  static std::size_t index_of(std::uint64_t v) {
    if (v < 2 * kSteps) return v;
    const unsigned shift = static_cast<unsigned>(std::bit_width(v)) - kStepBits - 1;
    return (shift + 1) * kSteps + (v >> shift) - kSteps;
  }
  static std::uint64_t largest_of(std::size_t index) {
    if (index < 2 * kSteps) return index;
    const std::uint64_t shift = index / kSteps - 1;
    return ((index % kSteps + kSteps + 1) << shift) - 1;
  }

  std::array<std::uint64_t, (64 - kStepBits + 1) * kSteps> counts_{};
  std::uint64_t total_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace rq::load
