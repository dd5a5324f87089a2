#pragma once
// The numbers of table meta. A row of its own has the checksum of those that change: it tells a
// wrong bit from what an older store says.
// Thread: the connection's.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "store/sqlite/db.h"
#include "store/sqlite/identity.h"

namespace rq::store::sqlite {

inline constexpr const char* kMetaIdentity = "identity";
inline constexpr const char* kMetaBoot = "boot";
inline constexpr const char* kMetaNextSeq = "next_seq";
inline constexpr const char* kMetaCrcFrom = "crc_from";
inline constexpr const char* kMetaCrc = "crc";  // of those three

struct Meta {
  std::optional<std::int64_t> identity, boot, next_seq, crc_from, crc;

  // Of a row.
  void take(std::string_view key, std::int64_t value);
  // Sets a wrong bit right: of the identity where the file beside the store tells it, and of what
  // the checksum is of where that fits then. Boots and numbers only grow so, whoever wrote them
  // without a checksum. Which value it was in; empty: in none.
  [[nodiscard]] std::string mend(const Remembered& known);
  [[nodiscard]] std::int64_t sum() const;
};

[[nodiscard]] base::Result<Meta> read_meta(Db& db);

class MetaRows {
 public:
  [[nodiscard]] base::Result<void> prepare(Db& db);
  // With the checksum that they have then. REQUIRES: each is there.
  [[nodiscard]] base::Result<void> write(const Meta& meta);
  // One of them; the others as the table has them.
  [[nodiscard]] base::Result<void> set(std::string_view key, std::int64_t value);

 private:
  Db* db_ = nullptr;
  Statement write_;
};

}  // namespace rq::store::sqlite
