// Who may call, and what callers have changed.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "store/memory/memory_store.h"

namespace rq::store::memory {

Result<std::vector<AccessToken>> MemoryStore::access_tokens() {
  RQ_CHECK(usable_ && !batch_.begun);
  std::vector<AccessToken> out;
  for (const auto& [id, token] : seen().tokens) out.push_back(token);
  return out;
}

void MemoryStore::keep(const AccessToken& token) {
  RQ_CHECK(batch_.begun);
  batch_.tokens[token.id] = token;
}

void MemoryStore::forget_token(std::string_view id) {
  RQ_CHECK(batch_.begun);
  batch_.tokens[std::string(id)] = std::nullopt;
}

void MemoryStore::append(AuditEntry&& entry) {
  RQ_CHECK(batch_.begun);
  batch_.audit.push_back(std::move(entry));
}

void MemoryStore::forget_audit(Instant before) {
  RQ_CHECK(batch_.begun);
  batch_.audit_from = before;
}

void MemoryStore::write_access(Content& to) {
  for (auto& [id, token] : batch_.tokens) {
    if (token) {
      to.tokens.insert_or_assign(id, *std::move(token));
    } else {
      to.tokens.erase(id);
    }
  }
  std::int64_t forgotten = 0;
  std::erase_if(to.audit, [&](const AuditEntry& entry) {
    return entry.at < batch_.audit_from && ++forgotten <= core::kAuditForgottenMax;
  });
  for (AuditEntry& entry : batch_.audit) {
    entry.id = to.audit_ids + 1;
    to.audit_ids = entry.id;
    to.audit.push_back(std::move(entry));
  }
}

}  // namespace rq::store::memory
