#include "base/crc32c.h"

#include <boost/crc.hpp>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace rq::base {
namespace {

std::uint32_t reversed(std::uint32_t bits) {
  std::uint32_t out = 0;
  for (int i = 0; i < 32; ++i) out |= ((bits >> i) & 1U) << (31 - i);
  return out;
}

#if defined(__x86_64__)
constexpr std::size_t kWord = sizeof(std::uint64_t);

std::uint64_t word_at(const char* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::uint32_t before,
                                                               std::string_view bytes) {
  std::uint64_t crc = static_cast<std::uint32_t>(~before);
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  // Four words a turn: the turns of one word each cost more than the sum.
  for (; left >= 4 * kWord; left -= 4 * kWord, at += 4 * kWord) {
    crc = _mm_crc32_u64(crc, word_at(at));
    crc = _mm_crc32_u64(crc, word_at(at + kWord));
    crc = _mm_crc32_u64(crc, word_at(at + 2 * kWord));
    crc = _mm_crc32_u64(crc, word_at(at + 3 * kWord));
  }
  for (; left >= kWord; left -= kWord, at += kWord) crc = _mm_crc32_u64(crc, word_at(at));
  auto narrow = static_cast<std::uint32_t>(crc);
  for (; left > 0; --left) narrow = _mm_crc32_u8(narrow, static_cast<unsigned char>(*at++));
  return ~narrow;
}
#endif

}  // namespace

std::uint32_t crc32c_portable(std::uint32_t before, std::string_view bytes) {
  // Boost's remainder is the register before it is reflected and inverted at the end.
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc(reversed(~before));
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

std::uint32_t crc32c(std::uint32_t before, std::string_view bytes) {
#if defined(__x86_64__)
  static const bool kHasInstruction = __builtin_cpu_supports("sse4.2") != 0;
  if (kHasInstruction) return by_instruction(before, bytes);
#endif
  return crc32c_portable(before, bytes);
}

}  // namespace rq::base
