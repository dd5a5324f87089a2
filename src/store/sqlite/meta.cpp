#include "store/sqlite/meta.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <utility>

#include "base/crc32c.h"

namespace rq::store::sqlite {

using base::Result;

namespace {

constexpr unsigned kBits = 64;

std::int64_t with_bit(std::int64_t value, unsigned bit) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(value) ^ (std::uint64_t{1} << bit));
}

bool differ_in_a_bit(std::int64_t a, std::int64_t b) {
  return std::has_single_bit(static_cast<std::uint64_t>(a ^ b));
}

}  // namespace

void Meta::take(std::string_view key, std::int64_t value) {
  if (key == kMetaIdentity) identity = value;
  if (key == kMetaBoot) boot = value;
  if (key == kMetaNextSeq) next_seq = value;
  if (key == kMetaCrcFrom) crc_from = value;
  if (key == kMetaCrc) crc = value;
}

std::int64_t Meta::sum() const {
  const std::array<std::int64_t, 3> words{boot.value_or(0), next_seq.value_or(0),
                                          crc_from.value_or(0)};
  return base::crc32c(0, {reinterpret_cast<const char*>(words.data()), sizeof words});
}

std::string Meta::mend(const Remembered& known) {
  std::string mended;
  if (known.any && identity && differ_in_a_bit(*identity, known.identity)) {
    identity = known.identity;
    mended = kMetaIdentity;
  }
  if (!crc || *crc == sum()) return mended;
  for (const auto& [key, value] :
       {std::pair{kMetaBoot, &boot}, {kMetaNextSeq, &next_seq}, {kMetaCrcFrom, &crc_from}}) {
    for (unsigned bit = 0; bit < kBits && *value; ++bit) {
      const std::int64_t before = **value;
      *value = with_bit(before, bit);
      const bool may_be = value == &crc_from || **value > before;
      if (may_be && *crc == sum()) return mended + (mended.empty() ? "" : " and ") + key;
      *value = before;
    }
  }
  return mended;
}

Result<Meta> read_meta(Db& db) {
  Statement all;
  RQ_TRY(all.prepare(db.handle(), "SELECT key, value FROM meta", false));
  Meta meta;
  for (;;) {
    RQ_TRY_ASSIGN(found, all.step());
    if (!found) return meta;
    meta.take(all.text(0), all.integer(1));
  }
}

Result<void> MetaRows::prepare(Db& db) {
  db_ = &db;
  return write_.prepare(db.handle(),
                        "INSERT OR REPLACE INTO meta VALUES ('identity', ?1), ('boot', ?2), "
                        "('next_seq', ?3), ('crc_from', ?4), ('crc', ?5)");
}

Result<void> MetaRows::write(const Meta& meta) {
  write_.bind(1, meta.identity.value()).bind(2, meta.boot.value());
  write_.bind(3, meta.next_seq.value()).bind(4, meta.crc_from.value());
  return write_.bind(5, meta.sum()).run();
}

Result<void> MetaRows::set(std::string_view key, std::int64_t value) {
  RQ_TRY_ASSIGN(meta, read_meta(*db_));
  static_cast<void>(meta.mend({}));  // or the new checksum would make the wrong bit right
  meta.take(key, value);
  return write(meta);
}

}  // namespace rq::store::sqlite
