#include "net/certificate.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <memory>

#include <boost/asio/ip/address.hpp>

#include "base/check.h"

namespace rq::net {
namespace {

using base::Code;
using base::fail;
using base::Result;

template <auto free>
struct Free {
  template <typename T>
  void operator()(T* thing) const {
    free(thing);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<::EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<::X509_free>>;
using Bytes = std::unique_ptr<BIO, Free<::BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<::X509_EXTENSION_free>>;

constexpr std::size_t kHostBytesMax = 253;  // RFC 1035
constexpr const char* kCurve = "P-256";
constexpr long kVersion3 = 2;  // as it is written

bool is_host(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '*';
  };
  return !name.empty() && name.size() <= kHostBytesMax &&
         std::all_of(name.begin(), name.end(), fits);
}

bool is_address(const std::string& name) {
  boost::system::error_code none;
  static_cast<void>(boost::asio::ip::make_address(name, none));
  return !none;
}

// "DNS:a,IP:127.0.0.1"
Result<std::string> alternative_names(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    const bool address = is_address(name);
    if (!address && !is_host(name)) {
      return fail(Code::bad_value, fmt::format("'{}' is neither a host nor an address", name),
                  "give names as clients write them: rq.example.org, 10.0.0.7");
    }
    out += fmt::format("{}{}:{}", out.empty() ? "" : ",", address ? "IP" : "DNS", name);
  }
  if (out.empty()) return fail(Code::bad_value, "a certificate is for one name at least");
  return out;
}

void extend(X509* certificate, int what, const std::string& value) {
  const Extension extension(::X509V3_EXT_conf_nid(nullptr, nullptr, what, value.c_str()));
  RQ_CHECK(extension != nullptr);
  RQ_CHECK(::X509_add_ext(certificate, extension.get(), -1) == 1);
}

void set_number(X509* certificate) {
  std::array<unsigned char, 16> number{};
  RQ_CHECK(::RAND_bytes(number.data(), number.size()) == 1);
  number.front() &= 0x7F;  // it is positive
  BIGNUM* const big = ::BN_bin2bn(number.data(), number.size(), nullptr);
  RQ_CHECK(::BN_to_ASN1_INTEGER(big, ::X509_get_serialNumber(certificate)) != nullptr);
  ::BN_free(big);
}

std::string text_of(BIO* bio) {
  char* bytes = nullptr;
  const long size = ::BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

}  // namespace

Result<SelfSigned> make_self_signed(const std::vector<std::string>& names,
                                    std::chrono::days lasts) {
  RQ_TRY_ASSIGN(alternatives, alternative_names(names));
  const Key key(::EVP_EC_gen(kCurve));
  const Certificate certificate(::X509_new());
  RQ_CHECK(key != nullptr && certificate != nullptr);
  X509* const made = certificate.get();
  ::X509_set_version(made, kVersion3);
  set_number(made);
  // A clock that is a little behind finds it good as well.
  ::X509_gmtime_adj(::X509_getm_notBefore(made),
                    -std::chrono::seconds(std::chrono::hours{1}).count());
  ::X509_gmtime_adj(::X509_getm_notAfter(made), std::chrono::seconds(lasts).count());
  ::X509_set_pubkey(made, key.get());
  X509_NAME* const subject = ::X509_get_subject_name(made);
  constexpr const char* kSubject = "rq self-signed";
  RQ_CHECK(::X509_NAME_add_entry_by_txt(
               subject, "CN", MBSTRING_UTF8,
               static_cast<const unsigned char*>(static_cast<const void*>(kSubject)), -1, -1,
               0) == 1);
  ::X509_set_issuer_name(made, subject);
  extend(made, NID_subject_alt_name, alternatives);
  extend(made, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  extend(made, NID_key_usage, "critical,digitalSignature,keyCertSign");
  extend(made, NID_ext_key_usage, "serverAuth");
  RQ_CHECK(::X509_sign(made, key.get(), ::EVP_sha256()) > 0);

  const Bytes of_certificate(::BIO_new(::BIO_s_mem()));
  const Bytes of_key(::BIO_new(::BIO_s_mem()));
  RQ_CHECK(::PEM_write_bio_X509(of_certificate.get(), made) == 1);
  RQ_CHECK(::PEM_write_bio_PrivateKey(of_key.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                      nullptr) == 1);
  return SelfSigned{.certificate = text_of(of_certificate.get()), .key = text_of(of_key.get())};
}

}  // namespace rq::net
