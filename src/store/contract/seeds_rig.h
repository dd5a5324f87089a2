#pragma once
// For tests that draw what they do: numbers from a seed, and many seeds in one test.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>

namespace rq::store::contract {

// The same numbers for the same seed, on every machine (splitmix64).
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  template <typename T>
  T pick(std::initializer_list<T> values) {
    return *(values.begin() + below(values.size()));
  }

 private:
  std::uint64_t state_;
};

// The seed that is played; told when a check aborts the program.
inline std::uint64_t& playing_seed() {
  static std::uint64_t seed = 0;
  return seed;
}
inline void tell_seed(int /*signal*/) {
  std::fprintf(stderr, "RQ_SEED=%llu\n", static_cast<unsigned long long>(playing_seed()));
}

// Many seeds are shared out among tests, each with its own bound of time.
struct Share {
  std::uint64_t part = 0;
  std::uint64_t of = 1;
};
inline constexpr std::uint64_t kShares = 8;

// Plays the seeds 1 to n, or its share of them; the environment may say another number of them
// (RQ_SEEDS), or one seed (RQ_SEED). The first one that fails is told, and ends the test.
template <typename Play>
void for_each_seed(std::uint64_t n, Play play, const Share& share = {}) {
  const auto number = [](const char* name) {
    const char* text = std::getenv(name);
    return text == nullptr ? std::uint64_t{0} : std::strtoull(text, nullptr, 10);
  };
  if (const std::uint64_t seeds = number("RQ_SEEDS"); seeds > 0) n = seeds;
  const std::uint64_t only = number("RQ_SEED");
  const auto before = std::signal(SIGABRT, tell_seed);
  for (std::uint64_t seed = only > 0 ? only : 1; seed <= (only > 0 ? only : n); ++seed) {
    if (seed % share.of != share.part) continue;
    const testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("RQ_SEED={}", seed)};
    playing_seed() = seed;
    play(seed);
    if (testing::Test::HasFailure()) break;
  }
  static_cast<void>(std::signal(SIGABRT, before));
}

}  // namespace rq::store::contract
