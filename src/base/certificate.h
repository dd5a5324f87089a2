#pragma once
// What is read out of a certificate.
#include <string>
#include <vector>

struct x509_st;

namespace rq::base {

// "sha256:" and 64 digits of its public key, which names it exactly; one that is renewed with the
// same key keeps it.
[[nodiscard]] std::string fingerprint_of(x509_st* certificate);
// Of the first one in a PEM text; empty when there is none.
[[nodiscard]] std::string fingerprint_of(const std::string& pem);
// Whom it is for, byte by byte: "DNS:rq.example.org", "IP:10.0.0.7", "URI:...".
[[nodiscard]] std::vector<std::string> names_of(x509_st* certificate);
[[nodiscard]] bool is_fingerprint(const std::string& text);

}  // namespace rq::base
