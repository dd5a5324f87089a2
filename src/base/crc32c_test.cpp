#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace rq::base {
namespace {

using Crc = std::uint32_t (*)(std::uint32_t, std::string_view);
constexpr Crc kBoth[] = {crc32c, crc32c_portable};

TEST(Crc32c, IsTheOneOfRfc3720) {
  for (const Crc crc : kBoth) {
    EXPECT_EQ(crc(0, "123456789"), 0xE3069283U);
    EXPECT_EQ(crc(0, std::string(32, '\0')), 0x8A9136AAU);
    EXPECT_EQ(crc(0, std::string(32, '\xff')), 0x62A8AB43U);
    EXPECT_EQ(crc(0, ""), 0U);
  }
}

TEST(Crc32c, GoesOnWhereItStopped) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes += static_cast<char>(i * 37);
  const std::uint32_t whole = crc32c(0, bytes);
  for (const Crc crc : kBoth) {
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
      EXPECT_EQ(crc(crc(0, bytes.substr(0, cut)), bytes.substr(cut)), whole) << cut;
    }
  }
}

TEST(Crc32c, ChangesWithEveryBit) {
  std::string bytes(40, 'x');
  const std::uint32_t before = crc32c(0, bytes);
  for (char& byte : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      byte = static_cast<char>(byte ^ (1 << bit));
      EXPECT_NE(crc32c(0, bytes), before);
      byte = static_cast<char>(byte ^ (1 << bit));
    }
  }
}

}  // namespace
}  // namespace rq::base
