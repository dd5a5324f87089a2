#include "store/sqlite/access_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/sqlite/row_crc.h"

namespace rq::store::sqlite {

using base::Instant;
using base::Result;
using core::AccessToken;
using core::AuditEntry;

namespace {

// Columns of table token.
enum : int {
  kId,
  kName,
  kHash,
  kRights,
  kCreated,
  kMaker,
  kExpires,
  kRevoked,
  kOldHash,
  kOldUntil,
  kUsed,
  kUsedFrom,
  kCrc,
};

std::string_view bytes_of(const core::SecretHash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

std::optional<core::SecretHash> hash_of(std::string_view bytes) {
  core::SecretHash hash{};
  if (bytes.size() != hash.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return hash;
}

// 0: none, as no token ends at the beginning of time.
std::int64_t ms_or_0(const std::optional<Instant>& at) { return at ? base::to_ms(*at) : 0; }

// When it was used last is not among it: that is written often, and lets nobody in.
std::int64_t crc_of(const AccessToken& token, std::string_view rights) {
  RowCrc crc;
  crc.add(token.id).add(token.name).add(bytes_of(token.hash)).add(rights).add(token.maker);
  crc.add(base::to_ms(token.created)).add(ms_or_0(token.expires)).add(ms_or_0(token.revoked));
  crc.add(token.old_hash ? bytes_of(*token.old_hash) : std::string_view{});
  return crc.add(base::to_ms(token.old_until)).value();
}

std::optional<Instant> maybe_instant(const Statement& row, int column) {
  return row.is_null(column) ? std::nullopt : std::optional{row.instant(column)};
}

void bind_or_null(Statement& statement, int at, const std::optional<Instant>& value) {
  value ? statement.bind(at, base::to_ms(*value)) : statement.bind_null(at);
}

// Nothing: the row is damaged.
std::optional<AccessToken> read_token(const Statement& row) {
  AccessToken token;
  const auto hash = hash_of(row.text(kHash));
  auto rights = core::Rights::parse(row.text(kRights));
  if (!hash || !rights) return std::nullopt;
  token.id = row.text(kId);
  token.name = row.text(kName);
  token.hash = *hash;
  token.rights = *std::move(rights);
  token.created = row.instant(kCreated);
  token.maker = row.text(kMaker);
  token.expires = maybe_instant(row, kExpires);
  token.revoked = maybe_instant(row, kRevoked);
  if (!row.is_null(kOldHash)) token.old_hash = hash_of(row.text(kOldHash));
  token.old_until = row.instant(kOldUntil);
  token.used = row.instant(kUsed);
  token.used_from = row.text(kUsedFrom);
  if (row.integer(kCrc) != crc_of(token, row.text(kRights))) return std::nullopt;
  return token;
}

}  // namespace

Result<void> AccessRows::prepare(Db& db) {
  RQ_TRY(all_.prepare(db.handle(), "SELECT * FROM token ORDER BY id"));
  RQ_TRY(replace_.prepare(
      db.handle(),
      "INSERT OR REPLACE INTO token VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)"));
  RQ_TRY(remove_.prepare(db.handle(), "DELETE FROM token WHERE id = ?1"));
  RQ_TRY(insert_.prepare(db.handle(), "INSERT INTO audit VALUES (NULL,?1,?2,?3,?4,?5,?6,?7)"));
  return trim_.prepare(db.handle(),
                       "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ?1 ORDER BY "
                       "id LIMIT ?2)");
}

Result<std::vector<AccessToken>> AccessRows::tokens(std::vector<std::string>& damaged) {
  std::vector<AccessToken> out;
  for (;;) {
    RQ_TRY_ASSIGN(found, all_.step());
    if (!found) return out;
    if (auto token = read_token(all_)) {
      out.push_back(*std::move(token));
    } else {
      damaged.emplace_back(all_.text(kId));
    }
  }
}

Result<void> AccessRows::write(const AccessToken& token) {
  const std::string rights = token.rights.text();
  const auto at = [](int column) { return column + 1; };
  replace_.bind(at(kId), token.id)
      .bind(at(kName), token.name)
      .bind_blob(at(kHash), bytes_of(token.hash))
      .bind(at(kRights), rights)
      .bind(at(kCreated), base::to_ms(token.created))
      .bind(at(kMaker), token.maker)
      .bind(at(kOldUntil), base::to_ms(token.old_until))
      .bind(at(kUsed), base::to_ms(token.used))
      .bind_text_or_null(at(kUsedFrom), token.used_from)
      .bind(at(kCrc), crc_of(token, rights));
  bind_or_null(replace_, at(kExpires), token.expires);
  bind_or_null(replace_, at(kRevoked), token.revoked);
  token.old_hash ? replace_.bind_blob(at(kOldHash), bytes_of(*token.old_hash))
                 : replace_.bind_null(at(kOldHash));
  return replace_.run();
}

Result<void> AccessRows::write(const AuditEntry& entry) {
  return insert_.bind(1, base::to_ms(entry.at))
      .bind(2, entry.who)
      .bind(3, entry.whence)
      .bind(4, entry.what)
      .bind(5, entry.subject)
      .bind_text_or_null(6, entry.before)
      .bind_text_or_null(7, entry.after)
      .run();
}

Result<void> AccessRows::flush() {
  if (audit_from_ != Instant{}) {
    RQ_TRY(trim_.bind(1, base::to_ms(audit_from_)).bind(2, core::kAuditForgottenMax).run());
  }
  for (const auto& [id, token] : tokens_) {
    RQ_TRY(token ? write(*token) : remove_.bind(1, id).run());
  }
  for (const AuditEntry& entry : audit_) RQ_TRY(write(entry));
  forget();
  return {};
}

void AccessRows::forget() {
  tokens_.clear();
  audit_.clear();
  audit_from_ = Instant{};
}

AuditEntry read_audit(const Statement& row) {
  AuditEntry entry;
  entry.id = row.integer(0);
  entry.at = row.instant(1);
  entry.who = row.text(2);
  entry.whence = row.text(3);
  entry.what = row.text(4);
  entry.subject = row.text(5);
  entry.before = row.text(6);
  entry.after = row.text(7);
  return entry;
}

}  // namespace rq::store::sqlite
