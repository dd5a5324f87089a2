#include "base/certificate.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>

namespace rq::base {
namespace {

constexpr std::string_view kBegins = "sha256:";
constexpr std::size_t kDigits = 2 * SHA256_DIGEST_LENGTH;

std::string address_of(std::string_view bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = bytes.size() == sizeof(in_addr) ? AF_INET : AF_INET6;
  const bool fits = family == AF_INET || bytes.size() == sizeof(in6_addr);
  return fits && ::inet_ntop(family, bytes.data(), text.data(), text.size()) != nullptr
             ? text.data()
             : "?";
}

}  // namespace

std::string fingerprint_of(x509_st* certificate) {
  unsigned char* encoded = nullptr;
  const int size = ::i2d_X509_PUBKEY(::X509_get_X509_PUBKEY(certificate), &encoded);
  if (size <= 0) return {};
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  ::SHA256(encoded, static_cast<std::size_t>(size), digest.data());
  ::OPENSSL_free(encoded);
  std::string out(kBegins);
  for (const unsigned char byte : digest) out += fmt::format("{:02x}", byte);
  return out;
}

std::string fingerprint_of(const std::string& pem) {
  const std::unique_ptr<BIO, decltype(&::BIO_free_all)> bytes(
      ::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &::BIO_free_all);
  const std::unique_ptr<X509, decltype(&::X509_free)> read(
      ::PEM_read_bio_X509(bytes.get(), nullptr, nullptr, nullptr), &::X509_free);
  return read == nullptr ? std::string{} : fingerprint_of(read.get());
}

std::vector<std::string> names_of(x509_st* certificate) {
  std::vector<std::string> names;
  auto* const found = static_cast<GENERAL_NAMES*>(
      ::X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(found); ++i) {
    int type = 0;
    void* const value = ::GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(found, i), &type);
    if (type != GEN_DNS && type != GEN_URI && type != GEN_IPADD) continue;
    const auto* const text = static_cast<const ASN1_STRING*>(value);
    const void* const start = ::ASN1_STRING_get0_data(text);
    const std::string_view bytes(static_cast<const char*>(start),
                                 static_cast<std::size_t>(::ASN1_STRING_length(text)));
    if (type == GEN_IPADD) {
      names.push_back(fmt::format("IP:{}", address_of(bytes)));
    } else {
      names.push_back(fmt::format("{}:{}", type == GEN_DNS ? "DNS" : "URI", bytes));
    }
  }
  ::GENERAL_NAMES_free(found);
  return names;
}

bool is_fingerprint(const std::string& text) {
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.starts_with(kBegins) && text.size() == kBegins.size() + kDigits &&
         std::all_of(text.begin() + kBegins.size(), text.end(), is_digit);
}

}  // namespace rq::base
