#pragma once
// Tables `token` and `audit`: what of them a batch changes is kept until its commit.
// Thread: engine.
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/access_records.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

class AccessRows {
 public:
  [[nodiscard]] base::Result<void> prepare(Db& db);
  // All that read well. `damaged`: the ids of the others.
  [[nodiscard]] base::Result<std::vector<core::AccessToken>> tokens(
      std::vector<std::string>& damaged);

  void keep(const core::AccessToken& token) { tokens_.insert_or_assign(token.id, token); }
  void forget_token(std::string_view id) {
    tokens_.insert_or_assign(std::string(id), std::nullopt);
  }
  void append(core::AuditEntry&& entry) { audit_.push_back(std::move(entry)); }
  void forget_audit(base::Instant before) { audit_from_ = before; }

  [[nodiscard]] bool changed() const {
    return !tokens_.empty() || !audit_.empty() || audit_from_ != base::Instant{};
  }
  [[nodiscard]] base::Result<void> flush();
  // What was not flushed.
  void forget();

 private:
  [[nodiscard]] base::Result<void> write(const core::AccessToken& token);
  [[nodiscard]] base::Result<void> write(const core::AuditEntry& entry);

  std::map<std::string, std::optional<core::AccessToken>> tokens_;  // by id; nothing: it is gone
  std::vector<core::AuditEntry> audit_;
  base::Instant audit_from_{};  // older entries go
  Statement all_, replace_, remove_, insert_, trim_;
};

// Columns of table audit, for read_audit().
inline constexpr const char* kAuditColumns = "id, at, who, whence, what, subject, before, after";
[[nodiscard]] core::AuditEntry read_audit(const Statement& row);

}  // namespace rq::store::sqlite
