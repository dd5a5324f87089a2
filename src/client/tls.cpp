#include "client/tls.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/certificate.h"
#include "base/check.h"
#include "base/utf8.h"

namespace rq::client {
namespace {

namespace ssl = boost::asio::ssl;
using base::Code;
using base::fail;
using base::Result;
using boost::system::error_code;

base::Error bad_file(std::string_view what, const std::string& file, const error_code& why,
                     std::string_view remedy) {
  return fail(Code::bad_value, fmt::format("{} '{}': {}", what, file, why.message()),
              std::string(remedy));
}

Result<void> believe(ssl::context& context, const std::string& ca_file) {
  error_code error;
  if (ca_file.empty()) {
    context.set_default_verify_paths(error);
    return {};  // without any, nobody is believed
  }
  context.load_verify_file(ca_file, error);
  if (!error) return {};
  return bad_file("the CA file", ca_file, error, "give a PEM file with the CA's certificate");
}

Result<void> show(ssl::context& context, const Trust& trust) {
  if (trust.certificate.empty()) return {};
  error_code error;
  context.use_certificate_chain_file(trust.certificate, error);
  if (error) {
    return bad_file("the client's certificate", trust.certificate, error, "give a PEM file");
  }
  context.use_private_key_file(trust.key, ssl::context::pem, error);
  if (error) {
    return bad_file("the client's key", trust.key, error,
                    fmt::format("give the PEM file of the key that belongs to {}, without a "
                                "passphrase",
                                trust.certificate));
  }
  return {};
}

bool is_address(const std::string& host) {
  error_code none;
  static_cast<void>(boost::asio::ip::make_address(host, none));
  return !none;
}

// Looks at each certificate of the chain; at the last one, the server's own, also for its names.
struct Look {
  ssl::host_name_verification names;
  std::string host;
  std::string& doubt;

  bool operator()(bool good, ssl::verify_context& context) const {
    if (names(good, context)) return true;
    X509_STORE_CTX* const store = context.native_handle();
    const int why = ::X509_STORE_CTX_get_error(store);
    if (good) {
      const auto theirs = base::names_of(::X509_STORE_CTX_get_current_cert(store));
      doubt = fmt::format("its certificate is for {}, not for {}",
                          base::shown(fmt::format("{}", fmt::join(theirs, ", "))), host);
    } else if (why == X509_V_ERR_CERT_NOT_YET_VALID) {
      doubt = "its certificate is not valid yet: is the clock of this machine right?";
    } else {
      doubt =
          fmt::format("its certificate is not believed: {}", ::X509_verify_cert_error_string(why));
    }
    return false;
  }
};

void fill(std::string& value, const char* variable) {
  const char* const found = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe): at the start
  if (value.empty() && found != nullptr) value = found;
}

void make_whole(std::string& file) {
  if (file.empty()) return;
  std::error_code failed;
  const auto whole = std::filesystem::absolute(file, failed);
  if (!failed) file = whole.string();
}

}  // namespace

Trust from_environment(Trust trust) {
  fill(trust.ca_file, "RQ_TLS_CA");
  fill(trust.pin, "RQ_TLS_PIN");
  fill(trust.certificate, "RQ_TLS_CERTIFICATE");
  fill(trust.key, "RQ_TLS_KEY");
  for (std::string* file : {&trust.ca_file, &trust.certificate, &trust.key}) make_whole(*file);
  return trust;
}

Result<void> set_trust(Server& server, const Trust& trust) {
  if (trust.certificate.empty() != trust.key.empty()) {
    return fail(Code::bad_value, "a client's certificate and its key are given together",
                "give both: --tls-certificate FILE --tls-key FILE");
  }
  if (!server.address.tls) return {};
  RQ_TRY_ASSIGN(tls, Tls::make(trust));
  server.tls = std::move(tls);
  return {};
}

Result<std::shared_ptr<Tls>> Tls::make(const Trust& trust) {
  if (!trust.pin.empty() && !base::is_fingerprint(trust.pin)) {
    return fail(Code::bad_value, fmt::format("'{}' is no fingerprint of a key", trust.pin),
                "it is sha256: and 64 digits, as rq tls self-signed and the server's log say it");
  }
  const std::shared_ptr<Tls> tls(new Tls);
  tls->pin_ = trust.pin;
  ssl::context& context = tls->context_;
  ::SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  ::SSL_CTX_set_options(context.native_handle(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // A pinned key is looked at after the handshake, in doubt().
  context.set_verify_mode(trust.pin.empty() ? ssl::verify_peer : ssl::verify_none);
  RQ_TRY(believe(context, trust.ca_file));
  RQ_TRY(show(context, trust));
  return tls;
}

std::unique_ptr<TlsStream> Tls::stream(boost::asio::generic::stream_protocol::socket& socket,
                                       const std::string& host, std::string& doubt) {
  constexpr std::string_view kProtocols = "\x08http/1.1";
  auto stream = std::make_unique<TlsStream>(socket, context_);
  SSL* const native = stream->native_handle();
  const void* const protocols = kProtocols.data();
  RQ_CHECK(::SSL_set_alpn_protos(native, static_cast<const unsigned char*>(protocols),
                                 static_cast<unsigned int>(kProtocols.size())) == 0);
  if (!is_address(host)) {
    std::string name = host;  // copied there
    ::SSL_ctrl(native, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
  }
  if (pin_.empty())
    stream->set_verify_callback(Look{ssl::host_name_verification(host), host, doubt});
  return stream;
}

bool Tls::is_expected(TlsStream& stream, std::string& doubt) const {
  if (pin_.empty()) return true;
  const std::unique_ptr<X509, decltype(&::X509_free)> shown(
      ::SSL_get1_peer_certificate(stream.native_handle()), &::X509_free);
  const std::string key = shown ? base::fingerprint_of(shown.get()) : "nothing";
  if (key == pin_) return true;
  doubt = fmt::format("it shows the key {}, and {} is expected", key, pin_);
  return false;
}

}  // namespace rq::client
