#include "net/tls.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <optional>
#include <utility>

#include "base/certificate.h"
#include "base/check.h"
#include "base/fd.h"

namespace rq::net {
namespace {

using base::Code;
using base::fail;
using base::Result;

// The most that one record holds (RFC 8446, 5.1).
constexpr std::size_t kRecordBytes = 16'384;
// Records of a connection that carry nothing for it (new keys and the like), until it is closed: a
// peer that needs more is at play.
constexpr std::uint32_t kEmptyRecordsMax = 1'000;
constexpr const char* kOldCiphers =  // of TLS 1.2; those of 1.3 are all good
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

// The first thing that the library complained of; it forgets all.
std::string library_error() {
  const unsigned long first = ::ERR_get_error();
  ::ERR_clear_error();
  const char* const reason = first == 0 ? nullptr : ::ERR_reason_error_string(first);
  return reason == nullptr ? "unknown error" : reason;
}

base::Error no_file(std::string_view what, const std::string& file, std::string_view remedy) {
  return fail(Code::bad_value, fmt::format("{} '{}': {}", what, file, library_error()),
              std::string(remedy));
}

// --- The socket, as the library sees it ---

// Reads and writes without SIGPIPE, and says which of the two had to wait.
struct Socket {
  explicit Socket(int socket) : fd(socket) {}
  const base::Fd fd;
  bool read_waits = false;
  bool write_waits = false;
};

Socket& socket_of(BIO* bio) { return *static_cast<Socket*>(::BIO_get_data(bio)); }

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }

int read_bytes(BIO* bio, char* into, int room) {
  Socket& socket = socket_of(bio);
  ::BIO_clear_retry_flags(bio);
  ssize_t got = 0;
  do {
    got = ::recv(socket.fd.get(), into, static_cast<std::size_t>(room), MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  socket.read_waits = got < 0 && would_block();
  if (socket.read_waits) ::BIO_set_retry_read(bio);
  if (got == 0) ::BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(got);
}

int write_bytes(BIO* bio, const char* bytes, int size) {
  Socket& socket = socket_of(bio);
  ::BIO_clear_retry_flags(bio);
  ssize_t sent = 0;
  do {
    sent =
        ::send(socket.fd.get(), bytes, static_cast<std::size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  socket.write_waits = sent < 0 && would_block();
  if (socket.write_waits) ::BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

long control(BIO* bio, int what, long /*number*/, void* /*pointer*/) {
  if (what == BIO_CTRL_FLUSH) return 1;
  if (what == BIO_CTRL_EOF) return ::BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return 0;
}

BIO_METHOD* socket_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    RQ_CHECK(made != nullptr);
    ::BIO_meth_set_read(made, read_bytes);
    ::BIO_meth_set_write(made, write_bytes);
    ::BIO_meth_set_ctrl(made, control);
    return made;
  }();
  return method;
}

// --- The channel ---

class TlsChannel final : public Channel {
 public:
  TlsChannel(std::shared_ptr<const Tls> tls, int socket)
      : tls_(std::move(tls)), socket_(socket), ssl_(::SSL_new(tls_->context())) {
    RQ_CHECK(ssl_ != nullptr);
    BIO* const bio = ::BIO_new(socket_method());
    RQ_CHECK(bio != nullptr);
    ::BIO_set_data(bio, &socket_);
    ::BIO_set_init(bio, 1);
    ::SSL_set_bio(ssl_, bio, bio);
    ::SSL_set_accept_state(ssl_);
    ::SSL_set_msg_callback(ssl_, count_record);
    ::SSL_set_msg_callback_arg(ssl_, this);
  }
  ~TlsChannel() override {
    say_goodbye();
    ::SSL_free(ssl_);
  }

  [[nodiscard]] int descriptor() const override { return socket_.fd.get(); }
  // A handshake reads and writes in turns; later on new keys do.
  [[nodiscard]] bool has_both_edges() const override { return true; }
  [[nodiscard]] bool receive_wants_room() const override { return socket_.write_waits; }
  [[nodiscard]] bool is_open() const override { return is_open_; }

  [[nodiscard]] Moved receive(char* into, std::size_t room) override {
    if (is_over_) return {0, State::broken};
    std::size_t got = 0;
    ::ERR_clear_error();
    const int result = ::SSL_read_ex(ssl_, into, room, &got);
    is_open_ = is_open_ || ::SSL_is_init_finished(ssl_) != 0;
    if (result == 1) return {got, State::more};
    switch (::SSL_get_error(ssl_, result)) {
      case SSL_ERROR_ZERO_RETURN:
        return {0, State::ended};
      case SSL_ERROR_WANT_READ:
      case SSL_ERROR_WANT_WRITE:
        if (empty_records_ > kEmptyRecordsMax) return lost();
        // A record that carried nothing for us was read: there may be others.
        return {0, socket_.read_waits || socket_.write_waits ? State::drained : State::more};
      default:
        return has_hung_up() ? Moved{0, State::ended} : lost();
    }
  }

  [[nodiscard]] Moved send(std::string_view bytes) override {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const Moved moved = send_record(bytes.substr(done));
      done += moved.bytes;
      if (moved.state != State::more) return {done, moved.state};
    }
    return {done, State::more};
  }

  [[nodiscard]] Moved send_file(int file, std::uint64_t offset, std::size_t bytes) override {
    std::array<char, kRecordBytes> piece;
    std::size_t done = 0;
    while (done < bytes) {
      const auto got = ::pread(file, piece.data(), std::min(piece.size(), bytes - done),
                               static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return {done, State::broken};
      if (got == 0) return {done, State::more};
      const Moved moved = send_record({piece.data(), static_cast<std::size_t>(got)});
      done += moved.bytes;
      if (moved.state != State::more) return {done, moved.state};
    }
    return {done, State::more};
  }

  void end_sending() override {
    say_goodbye();
    ::shutdown(socket_.fd.get(), SHUT_WR);
  }

  [[nodiscard]] Caller caller() const override {
    Caller caller = caller_of(socket_.fd.get(), false);
    caller.tls = true;
    const std::unique_ptr<X509, decltype(&::X509_free)> shown(::SSL_get1_peer_certificate(ssl_),
                                                              &::X509_free);
    if (shown && ::SSL_get_verify_result(ssl_) == X509_V_OK) {
      caller.certificate = base::names_of(shown.get());
      caller.certificate.insert(caller.certificate.begin(), base::fingerprint_of(shown.get()));
    }
    return caller;
  }

 private:
  // Content of the record layer that is none of ours: handshakes after the first one (new keys),
  // alerts. Called by the library.
  static void count_record(int is_sent, int /*version*/, int type, const void* /*bytes*/,
                           std::size_t /*size*/, SSL* /*ssl*/, void* self) {
    auto& channel = *static_cast<TlsChannel*>(self);
    const bool carries_nothing = type == SSL3_RT_HANDSHAKE || type == SSL3_RT_ALERT;
    if (is_sent == 0 && channel.is_open_ && carries_nothing) ++channel.empty_records_;
  }

  // What was refused once is offered again with the same length: the library has made the record.
  [[nodiscard]] Moved send_record(std::string_view bytes) {
    if (is_over_) return {0, State::broken};
    const std::size_t size = refused_ > 0 ? refused_ : std::min(bytes.size(), kRecordBytes);
    RQ_CHECK(size > 0 && size <= bytes.size());
    std::size_t sent = 0;
    ::ERR_clear_error();
    const int result = ::SSL_write_ex(ssl_, bytes.data(), size, &sent);
    if (result == 1) {
      refused_ = 0;
      return {sent, State::more};
    }
    const int why = ::SSL_get_error(ssl_, result);
    if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) return lost();
    refused_ = size;
    return {0, State::drained};
  }

  [[nodiscard]] bool has_hung_up() const {
    return ::BIO_test_flags(::SSL_get_rbio(ssl_), BIO_FLAGS_IN_EOF) != 0;
  }

  // After a fatal error the library is not asked again.
  Moved lost() {
    is_over_ = true;
    ::ERR_clear_error();
    return {0, State::broken};
  }

  void say_goodbye() {
    if (is_over_ || !is_open_ || std::exchange(said_goodbye_, true)) return;
    ::ERR_clear_error();
    static_cast<void>(::SSL_shutdown(ssl_));
    ::ERR_clear_error();
  }

  const std::shared_ptr<const Tls> tls_;
  Socket socket_;
  SSL* const ssl_;
  std::size_t refused_ = 0;          // bytes of the record that is made and not sent
  std::uint32_t empty_records_ = 0;  // since it is open
  bool is_open_ = false;             // the handshake is done
  bool is_over_ = false;
  bool said_goodbye_ = false;
};

// --- Loading ---

// Of what the client offers, the first that is spoken here; none: a fatal alert.
int choose_protocol(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* in, unsigned int in_size, void* arg) {
  const auto& spoken = *static_cast<const std::vector<std::string>*>(arg);
  for (unsigned int at = 0; at < in_size && at + 1 + in[at] <= in_size; at += 1U + in[at]) {
    const std::string_view offered(static_cast<const char*>(static_cast<const void*>(in + at + 1)),
                                   in[at]);
    if (std::find(spoken.begin(), spoken.end(), offered) == spoken.end()) continue;
    *out = in + at + 1;
    *out_size = in[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

std::chrono::system_clock::time_point end_of(X509* certificate) {
  std::tm end{};
  if (::ASN1_TIME_to_tm(::X509_get0_notAfter(certificate), &end) != 1) return {};
  return std::chrono::system_clock::from_time_t(::timegm(&end));
}

void set_rules(SSL_CTX* context) {
  ::SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  ::SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  ::SSL_CTX_set_num_tickets(context, 0);
  ::SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  ::SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
  // One call reads one record: what one connection may do in a turn stays bounded.
  ::SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
  RQ_CHECK(::SSL_CTX_set_cipher_list(context, kOldCiphers) == 1);
}

Result<void> ask_for_clients(SSL_CTX* context, const std::string& file) {
  if (file.empty()) return {};
  STACK_OF(X509_NAME)* const names = ::SSL_load_client_CA_file(file.c_str());
  if (names == nullptr || ::SSL_CTX_load_verify_locations(context, file.c_str(), nullptr) != 1) {
    return no_file("TLS: the CA of clients", file, "give a PEM file with its certificate");
  }
  ::SSL_CTX_set_client_CA_list(context, names);
  ::SSL_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT);
  ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  return {};
}

}  // namespace

Result<std::shared_ptr<const Tls>> Tls::load(const TlsFiles& files,
                                             std::vector<std::string> protocols) {
  ::ERR_clear_error();
  const std::shared_ptr<Tls> tls(new Tls);
  tls->protocols_ = std::move(protocols);
  tls->context_ = ::SSL_CTX_new(::TLS_server_method());
  RQ_CHECK(tls->context_ != nullptr);
  set_rules(tls->context_);
  if (::SSL_CTX_use_certificate_chain_file(tls->context_, files.certificate.c_str()) != 1) {
    return no_file("TLS: the certificate", files.certificate,
                   "give a PEM file: the server's certificate first, then those above it");
  }
  if (::SSL_CTX_use_PrivateKey_file(tls->context_, files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return no_file("TLS: the key", files.key,
                   fmt::format("give the PEM file of the key that belongs to {}, without a "
                               "passphrase",
                               files.certificate));
  }
  if (::SSL_CTX_check_private_key(tls->context_) != 1) {
    return no_file("TLS: the key", files.key,
                   fmt::format("it does not belong to the certificate {}", files.certificate));
  }
  RQ_TRY(ask_for_clients(tls->context_, files.client_ca));
  X509* const certificate = ::SSL_CTX_get0_certificate(tls->context_);
  tls->expires_ = end_of(certificate);
  tls->fingerprint_ = base::fingerprint_of(certificate);
  if (tls->expires_ <= std::chrono::system_clock::now()) {
    return fail(Code::bad_value,
                fmt::format("TLS: the certificate '{}' has expired", files.certificate),
                "renew it; rq tls self-signed makes one for a first try");
  }
  ::SSL_CTX_set_alpn_select_cb(tls->context_, choose_protocol, &tls->protocols_);
  return std::shared_ptr<const Tls>(tls);
}

Tls::~Tls() { ::SSL_CTX_free(context_); }

std::unique_ptr<Channel> Tls::channel(std::shared_ptr<const Tls> tls, int socket) {
  return std::make_unique<TlsChannel>(std::move(tls), socket);
}

}  // namespace rq::net
