#include "access/secret.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "base/check.h"

namespace rq::access {
namespace {

// Those that stand in a URL, a shell and a file as they are, and are told apart when they are read
// aloud: of an id.
constexpr std::string_view kIdLetters = "abcdefghjkmnpqrstuvwxyz23456789";
constexpr std::string_view kSecretLetters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-~";

bool is_made_of(std::string_view text, std::string_view letters) {
  return text.find_first_not_of(letters) == std::string_view::npos;
}

// Each letter as likely as any other: bytes above a whole number of rounds are drawn again.
std::string random_text(std::size_t size, std::string_view letters) {
  const std::size_t whole = 256 - 256 % letters.size();
  std::string out;
  while (out.size() < size) {
    unsigned char byte = 0;
    RQ_CHECK(::RAND_bytes(&byte, 1) == 1);
    if (byte < whole) out.push_back(letters[byte % letters.size()]);
  }
  return out;
}

}  // namespace

std::optional<TokenText> parse_token_text(std::string_view text) {
  if (text.size() != kTokenPrefix.size() + kIdBytes + 1 + kSecretBytes) return std::nullopt;
  if (!text.starts_with(kTokenPrefix)) return std::nullopt;
  text.remove_prefix(kTokenPrefix.size());
  const TokenText out{.id = text.substr(0, kIdBytes), .secret = text.substr(kIdBytes + 1)};
  const bool formed = text[kIdBytes] == '_' && is_made_of(out.id, kIdLetters) &&
                      is_made_of(out.secret, kSecretLetters);
  return formed ? std::optional{out} : std::nullopt;
}

NewToken make_secret_for(std::string_view id) {
  const std::string secret = random_text(kSecretBytes, kSecretLetters);
  return {.id = std::string(id),
          .text = fmt::format("{}{}_{}", kTokenPrefix, id, secret),
          .hash = hash_of(secret)};
}

NewToken make_token() { return make_secret_for(random_text(kIdBytes, kIdLetters)); }

core::SecretHash hash_of(std::string_view secret) {
  core::SecretHash out{};
  static_assert(out.size() == SHA256_DIGEST_LENGTH);
  ::SHA256(static_cast<const unsigned char*>(static_cast<const void*>(secret.data())),
           secret.size(), out.data());
  return out;
}

bool same_hash(const core::SecretHash& a, const core::SecretHash& b) {
  return ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace rq::access
