#include "net/tls.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/certificate.h"
#include "base/fd.h"
#include "base/temp_dir_rig.h"
#include "net/certificate.h"

namespace rq::net {
namespace {

using State = Channel::State;

// A client of the library's own, at the other end of a pair of sockets.
class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    made_ = *make_self_signed({"localhost", "127.0.0.1"}, std::chrono::days{1});
    std::ofstream(certificate()) << made_.certificate;
    std::ofstream(key()) << made_.key;
    context_ = ::SSL_CTX_new(::TLS_client_method());
    ASSERT_EQ(::SSL_CTX_load_verify_locations(context_, certificate().c_str(), nullptr), 1);
    ::SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
  }
  void TearDown() override {
    ::SSL_free(client_);
    ::SSL_CTX_free(context_);
  }

  [[nodiscard]] std::string certificate() const { return (dir_.path() / "server.crt").string(); }
  [[nodiscard]] std::string key() const { return (dir_.path() / "server.key").string(); }
  [[nodiscard]] base::Result<std::shared_ptr<const Tls>> load() const {
    return Tls::load({.certificate = certificate(), .key = key(), .client_ca = {}}, {"http/1.1"});
  }

  void connect(int buffer_bytes = 0) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    if (buffer_bytes > 0) {
      for (const int end : ends) {
        ::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
      }
    }
    auto tls = load();
    ASSERT_TRUE(tls) << tls.error().message;
    channel_ = Tls::channel(*std::move(tls), ends[0]);
    socket_.reset(ends[1]);
    ::SSL_free(client_);
    client_ = ::SSL_new(context_);
    ::SSL_set_fd(client_, ends[1]);
    ::SSL_set_connect_state(client_);
    ::SSL_set1_host(client_, "localhost");
  }

  // True when the handshake came to an end in both.
  [[nodiscard]] bool shake_hands() {
    std::array<char, 64> none{};
    for (int i = 0; i < 100; ++i) {
      const int done = ::SSL_do_handshake(client_);
      server_ = channel_->receive(none.data(), none.size());
      if (done == 1 && server_.state == State::drained) return true;
      if (server_.state == State::broken || server_.state == State::ended) return false;
      if (done != 1 && ::SSL_get_error(client_, done) == SSL_ERROR_SSL) return false;
    }
    return false;
  }

  // All that the server can read now.
  std::string received() {
    std::string out;
    std::array<char, 1000> piece{};
    do {
      server_ = channel_->receive(piece.data(), piece.size());
      out.append(piece.data(), server_.bytes);
    } while (server_.state == State::more);
    return out;
  }

  std::string read_by_client(std::size_t most) {
    std::string out(most, '\0');
    std::size_t got = 0;
    return ::SSL_read_ex(client_, out.data(), out.size(), &got) == 1 ? out.substr(0, got)
                                                                     : std::string();
  }

  const base::test::TempDir dir_;
  SelfSigned made_;
  SSL_CTX* context_ = nullptr;
  SSL* client_ = nullptr;
  base::Fd socket_;
  std::unique_ptr<Channel> channel_;
  Channel::Moved server_;
};

TEST_F(TlsTest, BringsBytesBothWays) {
  connect();
  ASSERT_TRUE(shake_hands());
  EXPECT_EQ(::SSL_get_verify_result(client_), X509_V_OK) << "its name and its signature are good";
  ASSERT_EQ(::SSL_write(client_, "hello", 5), 5);
  EXPECT_EQ(received(), "hello");
  EXPECT_EQ(server_.state, State::drained);
  EXPECT_EQ(channel_->send("good day").bytes, 8U);
  EXPECT_EQ(read_by_client(100), "good day");
}

// pitfalls NT1: a record that was refused is offered again as it was, wherever it lies by then, and
// whatever has come behind it.
TEST_F(TlsTest, ABufferThatMovesAndGrowsGoesOutWhole) {
  connect(4096);
  ASSERT_TRUE(shake_hands());
  std::string sent;
  std::string got;
  std::string waiting;
  unsigned grown = 0;
  for (const std::size_t bytes : {1U, 16'384U, 16'385U, 1U << 20U}) {
    for (std::size_t i = 0; i < bytes; ++i)
      waiting.push_back(static_cast<char>('a' + ++grown % 26));
    sent += waiting.substr(waiting.size() - bytes);
    for (int turns = 0; !waiting.empty() && turns < 100'000; ++turns) {
      const Channel::Moved moved = channel_->send(waiting);
      ASSERT_NE(moved.state, State::broken);
      waiting = std::string(waiting.substr(moved.bytes));       // elsewhere in memory
      if (waiting.size() < 1000 && bytes < (1U << 20U)) break;  // it grows while it waits
      got += read_by_client(1000);
    }
  }
  for (int turns = 0; got.size() < sent.size() && turns < 100'000; ++turns) {
    waiting = std::string(waiting.substr(channel_->send(waiting).bytes));
    got += read_by_client(1000);
  }
  EXPECT_EQ(got.size(), sent.size());
  EXPECT_TRUE(got == sent);
}

TEST_F(TlsTest, AFileGoesOutWhole) {
  connect(4096);
  ASSERT_TRUE(shake_hands());
  const std::string path = (dir_.path() / "file").string();
  std::string text;
  for (int i = 0; text.size() < 100'000; ++i) text += std::to_string(i);
  std::ofstream(path) << text;
  const base::Fd file = base::open_plain_file(path, O_RDONLY | O_CLOEXEC);
  std::string got;
  std::size_t sent = 0;
  for (int turns = 0; got.size() < text.size() && turns < 100'000; ++turns) {
    if (sent < text.size()) {
      const Channel::Moved moved = channel_->send_file(file.get(), sent, text.size() - sent);
      ASSERT_NE(moved.state, State::broken);
      sent += moved.bytes;
    }
    got += read_by_client(1000);
  }
  EXPECT_TRUE(got == text);
  const Channel::Moved end = channel_->send_file(file.get(), text.size(), 10);
  EXPECT_EQ(end.bytes, 0U);
  EXPECT_EQ(end.state, State::more) << "the file ends there";
}

// pitfalls NT2: what the library has read and not given is there without another edge.
TEST_F(TlsTest, SeveralRecordsOfOneSegmentAreAllRead) {
  connect();
  ASSERT_TRUE(shake_hands());
  std::string sent;
  for (int i = 0; i < 50; ++i) {
    const std::string one = std::to_string(i) + ";";
    ASSERT_EQ(::SSL_write(client_, one.data(), static_cast<int>(one.size())),
              static_cast<int>(one.size()));
    sent += one;
  }
  EXPECT_EQ(received(), sent);
}

// pitfalls NT4: a peer that asks for new keys without end is let go.
TEST_F(TlsTest, NewKeysWithoutEndAreRefused) {
  connect();
  ASSERT_TRUE(shake_hands());
  ASSERT_EQ(::SSL_key_update(client_, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
  ASSERT_EQ(::SSL_write(client_, "one", 3), 3);
  EXPECT_EQ(received(), "one") << "one in the middle does no harm";
  int sent = 0;
  for (; sent < 5'000 && server_.state != State::broken; ++sent) {
    ASSERT_EQ(::SSL_key_update(client_, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    ::SSL_do_handshake(client_);
    static_cast<void>(received());
  }
  EXPECT_EQ(server_.state, State::broken);
  EXPECT_LT(sent, 5'000);
}

// pitfalls NT5: what went wrong on one connection is not told of another.
TEST_F(TlsTest, AnErrorStaysWithItsConnection) {
  connect();
  ASSERT_TRUE(shake_hands());
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
  const base::Fd peer(ends[1]);
  const auto broken = Tls::channel(*load(), ends[0]);
  ASSERT_EQ(::send(peer.get(), "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
  std::array<char, 64> none{};
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(broken->receive(none.data(), none.size()).state, State::broken);
    ASSERT_EQ(::SSL_write(client_, "well", 4), 4);
    EXPECT_EQ(received(), "well");
    EXPECT_EQ(channel_->send("good").bytes, 4U);
    EXPECT_EQ(read_by_client(10), "good");
  }
}

// pitfalls NT8: the end of the other side is an end, with a word or without; what it has asked for
// is still answered.
TEST_F(TlsTest, AnEndIsAnEndAndAnswersStillGoOut) {
  connect();
  ASSERT_TRUE(shake_hands());
  ASSERT_EQ(::SSL_write(client_, "last", 4), 4);
  ::SSL_shutdown(client_);
  EXPECT_EQ(received(), "last");
  EXPECT_EQ(server_.state, State::ended);
  EXPECT_EQ(channel_->send("answer").bytes, 6U);
  EXPECT_EQ(read_by_client(10), "answer");

  connect();
  ASSERT_TRUE(shake_hands());
  ASSERT_EQ(::SSL_write(client_, "cut", 3), 3);
  ::shutdown(socket_.get(), SHUT_WR);
  EXPECT_EQ(received(), "cut");
  EXPECT_EQ(server_.state, State::ended);
}

// pitfalls NT10, and old versions: refused always.
TEST_F(TlsTest, OldVersionsAndNewHandshakesAreRefused) {
  ::SSL_CTX_set_min_proto_version(context_, TLS1_VERSION);
  ::SSL_CTX_set_max_proto_version(context_, TLS1_1_VERSION);
  ::SSL_CTX_set_cipher_list(context_, "ALL:@SECLEVEL=0");
  connect();
  EXPECT_FALSE(shake_hands());

  ::SSL_CTX_set_max_proto_version(context_, TLS1_2_VERSION);
  connect();
  ASSERT_TRUE(shake_hands());
  EXPECT_EQ(::SSL_version(client_), TLS1_2_VERSION);
  ::SSL_renegotiate(client_);
  ::SSL_do_handshake(client_);
  EXPECT_EQ(received(), "");
  EXPECT_NE(server_.state, State::more);
}

// pitfalls NT14: there is nothing to resume.
TEST_F(TlsTest, NoSessionIsGivenToResume) {
  connect();
  ASSERT_TRUE(shake_hands());
  EXPECT_EQ(channel_->send("x").bytes, 1U);
  EXPECT_EQ(read_by_client(10), "x");
  EXPECT_EQ(::SSL_SESSION_is_resumable(::SSL_get0_session(client_)), 0);
}

// pitfalls NT15.
TEST_F(TlsTest, AProtocolThatIsNotSpokenIsRefused) {
  const auto offers = [this](std::string_view wire) {
    connect();
    ::SSL_set_alpn_protos(client_,
                          static_cast<const unsigned char*>(static_cast<const void*>(wire.data())),
                          static_cast<unsigned>(wire.size()));
    return shake_hands();
  };
  EXPECT_FALSE(
      offers("\x03"
             "foo"));
  EXPECT_FALSE(offers("\x02h2"));
  EXPECT_TRUE(
      offers("\x08http/1.1\x03"
             "foo"));
  EXPECT_TRUE(offers("\x02h2\x08http/1.1"));
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  ::SSL_get0_alpn_selected(client_, &chosen, &size);
  EXPECT_EQ(size, 8U);
}

// pitfalls NT13: each file that is wrong is named, and why.
TEST_F(TlsTest, FilesThatDoNotFitAreRefusedByName) {
  ASSERT_TRUE(load());
  EXPECT_GT((*load())->expires(), std::chrono::system_clock::now());
  const auto refused_for = [this](const std::string& file) {
    const auto loaded = load();
    EXPECT_FALSE(loaded);
    EXPECT_TRUE(!loaded && loaded.error().message.find(file) != std::string::npos)
        << (loaded ? "" : loaded.error().message);
    EXPECT_TRUE(!loaded && !loaded.error().remedy.empty());
  };
  const SelfSigned other = *make_self_signed({"other"}, std::chrono::days{1});
  std::ofstream(key()) << other.key;
  refused_for(key());
  std::ofstream(key()) << "";
  refused_for(key());
  std::filesystem::remove(key());
  refused_for(key());
  std::ofstream(key()) << made_.key;
  std::ofstream(certificate()) << made_.certificate.substr(0, made_.certificate.size() / 2);
  refused_for(certificate());
  std::ofstream(certificate()) << "";
  refused_for(certificate());
  const SelfSigned old = *make_self_signed({"old"}, std::chrono::days{-1});
  std::ofstream(certificate()) << old.certificate;
  std::ofstream(key()) << old.key;
  refused_for(certificate());
}

TEST(SelfSignedCertificate, IsForHostsAndAddresses) {
  const std::string certificate =
      make_self_signed({"a.example", "::1"}, std::chrono::days{1})->certificate;
  EXPECT_TRUE(base::fingerprint_of(certificate).starts_with("sha256:"));
  EXPECT_EQ(base::fingerprint_of(certificate).size(), 7U + 64U);
  EXPECT_EQ(base::fingerprint_of("no certificate"), "");
  for (const std::string name : {"", "a b", "x,DNS:evil", "a\nb"}) {
    EXPECT_FALSE(make_self_signed({name}, std::chrono::days{1})) << name;
  }
  EXPECT_FALSE(make_self_signed({}, std::chrono::days{1}));
}

}  // namespace
}  // namespace rq::net
