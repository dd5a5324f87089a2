#pragma once
// The text of an access token: "rq_ID_SECRET". The prefix lets scanners of secrets find one that
// has leaked; the ID finds its record without the secret, which is stored as a hash only. A secret
// is random and long, so that one round of SHA-256 protects it (pitfalls NA1).
#include <optional>
#include <string>
#include <string_view>

#include "core/access_token.h"

namespace rq::access {

inline constexpr std::string_view kTokenPrefix = "rq_";
inline constexpr std::size_t kIdBytes = 12;      // letters and digits
inline constexpr std::size_t kSecretBytes = 43;  // as many as 256 random bits take

struct TokenText {
  std::string_view id;
  std::string_view secret;
};
// Nothing when it has not this form.
[[nodiscard]] std::optional<TokenText> parse_token_text(std::string_view text);

struct NewToken {
  std::string id;
  std::string text;  // shown once
  core::SecretHash hash{};
};
[[nodiscard]] NewToken make_token();
// A new secret under the same id.
[[nodiscard]] NewToken make_secret_for(std::string_view id);

[[nodiscard]] core::SecretHash hash_of(std::string_view secret);
// Takes the same time wherever they differ.
[[nodiscard]] bool same_hash(const core::SecretHash& a, const core::SecretHash& b);

}  // namespace rq::access
