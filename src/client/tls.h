#pragma once
// TLS of a client: whom it believes to be the server. It always looks: at who has signed the
// certificate and at the name or address it is for, or at its very key. Nothing leaves both out.
// Thread: the loop's.
#include <memory>
#include <string>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "base/result.h"
#include "client/server.h"

namespace rq::client {

struct Trust {
  std::string ca_file{};  // PEM: who signs the server's certificate; empty: whom the system knows
  std::string pin{};      // "sha256:...": the server's key; then nobody has to sign it
  std::string certificate{};  // PEM, what is shown to the server; empty: nothing
  std::string key{};          // PEM, of that certificate
};

// Empty ones from RQ_TLS_CA, RQ_TLS_PIN, RQ_TLS_CERTIFICATE and RQ_TLS_KEY; files with their whole
// path.
[[nodiscard]] Trust from_environment(Trust trust);
// Gives a server with TLS what looks at it; one without needs nothing.
[[nodiscard]] base::Result<void> set_trust(Server& server, const Trust& trust);

using TlsStream = boost::asio::ssl::stream<boost::asio::generic::stream_protocol::socket&>;

// Shared by all connections to one server.
class Tls {
 public:
  // Reads the files; the error names the one that is wrong.
  [[nodiscard]] static base::Result<std::shared_ptr<Tls>> make(const Trust& trust);

  // A stream over `socket` to `host`, a name or an address, before its handshake. Should that fail
  // since the server is not believed, `doubt` says why; it must live as long as the stream.
  [[nodiscard]] std::unique_ptr<TlsStream> stream(
      boost::asio::generic::stream_protocol::socket& socket, const std::string& host,
      std::string& doubt);
  // After a handshake that went well. False: it is not the key that is expected, and `doubt` says
  // which one it is.
  [[nodiscard]] bool is_expected(TlsStream& stream, std::string& doubt) const;

 private:
  Tls() : context_(boost::asio::ssl::context::tls_client) {}

  boost::asio::ssl::context context_;
  std::string pin_;
};

}  // namespace rq::client
