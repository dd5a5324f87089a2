#pragma once
// Who may call from elsewhere: a name, a secret that only its holder knows, and rights. Not to be
// taken for the token of a lease (message.h), which is no secret.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "core/rights.h"

namespace rq::core {

using SecretHash = std::array<unsigned char, 32>;  // SHA-256 of a secret

struct AccessToken {
  std::string id;    // public: in lists, in the log, at the beginning of the token
  std::string name;  // that people gave it; of those that hold, each has another
  SecretHash hash{};
  Rights rights;
  base::Instant created{};
  std::string maker;                     // the caller who made it
  std::optional<base::Instant> expires;  // absent: never
  std::optional<base::Instant> revoked;  // it holds no more, and stays in the list for a while
  // After a rotation the secret before it holds until then.
  std::optional<SecretHash> old_hash;
  base::Instant old_until{};
  base::Instant used{};   // last; 0: never
  std::string used_from;  // by which address

  [[nodiscard]] bool holds(base::Instant now) const {
    return !revoked && !(expires && *expires <= now);
  }
  friend bool operator==(const AccessToken&, const AccessToken&) = default;
};

// What a caller with it is called, and whose its leases are.
inline constexpr std::string_view kHolderByToken = "token:";
[[nodiscard]] inline std::string holder_of(const AccessToken& token) {
  return std::string(kHolderByToken) + token.name;
}

}  // namespace rq::core
