#pragma once
// The checksum of a row: over the values that its columns mean, in their order.
#include <cstdint>
#include <string_view>

#include "base/crc32c.h"

namespace rq::store::sqlite {

// SQLite keeps a number with a sign in four bytes, one of 32 bits without it in six.
inline std::int64_t as_stored(std::uint32_t crc) { return static_cast<std::int32_t>(crc); }

class RowCrc {
 public:
  RowCrc& add(std::string_view text) {
    // With its length: bytes that move from one column to the next are noticed.
    add(static_cast<std::int64_t>(text.size()));
    crc_ = base::crc32c(crc_, text);
    return *this;
  }
  RowCrc& add(std::int64_t value) {
    crc_ = base::crc32c(crc_, {reinterpret_cast<const char*>(&value), sizeof value});
    return *this;
  }
  [[nodiscard]] std::int64_t value() const { return as_stored(crc_); }

 private:
  std::uint32_t crc_ = 0;
};

}  // namespace rq::store::sqlite
