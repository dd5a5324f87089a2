#pragma once
// TLS for the channels of a listener: 1.2 and 1.3, certificates from files, no resumption, no
// renegotiation. What goes wrong elsewhere, and how it is kept out here, is in docs/SECURITY.md.
//
// Thread: any for load(); channels are of the loop.
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/channel.h"

struct ssl_ctx_st;

namespace rq::net {

struct TlsFiles {
  std::string certificate;  // PEM: the server's own first, then those between it and the root
  std::string key;          // PEM
  std::string client_ca;    // PEM; who signs the certificates of clients. Empty: none is asked for
  friend bool operator==(const TlsFiles&, const TlsFiles&) = default;
};

// What a listener shows of itself. Never changes: files that were renewed are another one, and
// connections that are there keep the one they began with.
class Tls {
 public:
  // Reads the files and sees that they fit each other; the error names the file. `protocols`: what
  // is spoken, as ALPN names it; who offers others only is refused.
  [[nodiscard]] static base::Result<std::shared_ptr<const Tls>> load(
      const TlsFiles& files, std::vector<std::string> protocols);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  // Takes the socket over; the handshake comes with the first bytes that are read.
  [[nodiscard]] static std::unique_ptr<Channel> channel(std::shared_ptr<const Tls> tls, int socket);
  // Of the certificate: what a client may pin, and when it is no longer good.
  [[nodiscard]] const std::string& fingerprint() const { return fingerprint_; }
  [[nodiscard]] std::chrono::system_clock::time_point expires() const { return expires_; }
  [[nodiscard]] ssl_ctx_st* context() const { return context_; }
  [[nodiscard]] const std::vector<std::string>& protocols() const { return protocols_; }

 private:
  Tls() = default;
  ssl_ctx_st* context_ = nullptr;
  std::vector<std::string> protocols_;
  std::string fingerprint_;
  std::chrono::system_clock::time_point expires_;
};

}  // namespace rq::net
