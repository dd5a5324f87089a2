#pragma once
// The part of the port that is about who may call, and what callers have changed.
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/access_token.h"
#include "core/audit.h"

namespace rq::core {

// Rows that one commit removes at most, so that it stays short.
inline constexpr std::int64_t kAuditForgottenMax = 5'000;

class AccessRecords {
 public:
  AccessRecords() = default;
  AccessRecords(const AccessRecords&) = delete;
  AccessRecords& operator=(const AccessRecords&) = delete;
  virtual ~AccessRecords() = default;

  // After open(), outside a batch: all of them. One that is damaged is left out: it lets nobody in.
  [[nodiscard]] virtual base::Result<std::vector<AccessToken>> access_tokens() = 0;

  // --- Changes of the batch ---
  virtual void keep(
      const AccessToken& token) = 0;  // instead of the one with its id, if there is one
  virtual void forget_token(std::string_view id) = 0;
  virtual void append(AuditEntry&& entry) = 0;
  // Entries from before this moment, at most kAuditForgottenMax, the oldest first.
  virtual void forget_audit(base::Instant before) = 0;
};

}  // namespace rq::core
