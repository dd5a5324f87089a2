#include "net/links.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/temp_dir_rig.h"

namespace rq::net {
namespace {

// Says back what it hears, as far as it is allowed to.
class Echo final : public Link {
 public:
  Echo(Links& links, Arrival&& arrival) : Link(std::move(arrival)), links_(links) {}

  bool deaf = false;
  bool idle = false;
  std::string heard;
  std::string say;
  int flushes = 0;
  using Link::caller;
  using Link::ended;
  using Link::hung_up;
  using Link::writable;

 private:
  [[nodiscard]] bool wants_to_read() const override { return !deaf; }
  void read() override {
    std::string piece(4, '\0');
    piece.resize(receive(piece.data(), piece.size()));
    heard += piece;
    say += piece;
  }
  void flush() override {
    ++flushes;
    say.erase(0, send(say));
    if (ended() && say.empty()) links_.remove(*this);
  }
  [[nodiscard]] bool is_idle() const override { return idle; }
  void close() override { links_.remove(*this); }

  Links& links_;
};

class LinksTest : public ::testing::Test, public LinkMaker {
 protected:
  std::unique_ptr<Link> make_link(Arrival&& arrival) override {
    auto link = std::make_unique<Echo>(links, std::move(arrival));
    last = link.get();
    return link;
  }
  void turn() {
    while (loop.io().poll() > 0) {
    }
  }
  int connect() {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    EXPECT_NE(links.adopt(plain_channel(pair[0], true)), nullptr);
    return pair[1];
  }
  static std::string receive(int fd) {
    std::string out(1'000'000, '\0');
    const auto got = ::recv(fd, out.data(), out.size(), MSG_DONTWAIT);
    out.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return out;
  }

  Loop loop;
  Links links{loop, *this};
  Echo* last = nullptr;
};

TEST_F(LinksTest, WhatDoesNotFitOneReadIsReadInLaterTurns) {
  const int client = connect();
  ASSERT_EQ(::send(client, "hello, links", 12, 0), 12);
  turn();
  EXPECT_EQ(receive(client), "hello, links");
  ::close(client);
  turn();
  EXPECT_EQ(links.count(), 0U);
}

TEST_F(LinksTest, ALinkThatIsDeafForAWhileLosesNothing) {
  const int client = connect();
  last->deaf = true;
  ASSERT_EQ(::send(client, "wait", 4, 0), 4);
  turn();
  EXPECT_EQ(last->heard, "");
  last->deaf = false;
  links.make_ready(*last);
  turn();
  EXPECT_EQ(last->heard, "wait");
  ::close(client);
  turn();
}

TEST_F(LinksTest, TheEndIsReadBehindTheBytes) {
  const int client = connect();
  ASSERT_EQ(::send(client, "the last words", 14, 0), 14);
  ::shutdown(client, SHUT_WR);
  turn();
  EXPECT_EQ(receive(client), "the last words");
  EXPECT_EQ(links.count(), 0U);
  ::close(client);
}

TEST_F(LinksTest, AFullSocketIsFlushedWhenThereIsRoomAgain) {
  const int client = connect();
  last->say = std::string(4'000'000, 's');
  links.mark_dirty(*last);
  links.flush_dirty();
  EXPECT_FALSE(last->writable());
  const int before = last->flushes;
  std::size_t got = 0;
  for (int i = 0; i < 1000 && got < 4'000'000; ++i) {
    got += receive(client).size();
    turn();
  }
  EXPECT_EQ(got, 4'000'000U);
  EXPECT_GT(last->flushes, before);
  ::close(client);
  turn();
}

TEST_F(LinksTest, WhatTheOtherSideReadsWakesTheLoopOnlyWhileThereWasNoRoom) {
  const int client = connect();
  turn();
  last->say = "a short answer";
  links.mark_dirty(*last);
  links.flush_dirty();
  EXPECT_EQ(receive(client), "a short answer");
  EXPECT_EQ(loop.io().poll(), 0U);
  for (int i = 0; i < 2; ++i) {  // and so each time
    last->say = std::string(1'000'000, 's');
    links.mark_dirty(*last);
    links.flush_dirty();
    ASSERT_FALSE(last->writable());
    while (!receive(client).empty()) {
    }
    EXPECT_GT(loop.io().poll(), 0U);
    while (!last->say.empty()) {
      static_cast<void>(receive(client));
      turn();
    }
    while (!receive(client).empty()) {
    }
    EXPECT_EQ(loop.io().poll(), 0U);
  }
  ::close(client);
  turn();
}

TEST_F(LinksTest, AnIdIsNeverGivenTwice) {
  const int client = connect();
  const std::uint64_t id = last->id;
  ::close(client);
  turn();
  EXPECT_EQ(links.find(id), nullptr);
  const int other = connect();
  EXPECT_NE(last->id, id);
  EXPECT_EQ(links.find(id), nullptr);
  EXPECT_EQ(links.find(last->id), last);
  ::close(other);
  turn();
}

TEST_F(LinksTest, AListenerTakesWhoComesAndKnowsTheirUser) {
  const base::test::TempDir dir;
  const auto path = dir.path() / "socket";
  auto listener = listen_unix(path);
  ASSERT_TRUE(listener) << listener.error().message;
  ASSERT_TRUE(links.listen(*std::move(listener)));
  const int client = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.native().size() + 1);
  ASSERT_EQ(::connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  turn();
  ASSERT_EQ(links.count(), 1U);
  EXPECT_TRUE(last->caller().unix_socket);
  ASSERT_TRUE(last->caller().uid);
  EXPECT_EQ(*last->caller().uid, ::geteuid());
  ::close(client);
  turn();
  EXPECT_EQ(links.count(), 0U);
  links.stop_listening();
}

// The first one has something under way; the others are idle.
struct IdleMaker : LinkMaker {
  std::unique_ptr<Link> make_link(Arrival&& arrival) override {
    auto link = std::make_unique<Echo>(*links, std::move(arrival));
    link->idle = made++ > 0;
    return link;
  }
  Links* links = nullptr;
  int made = 0;
};

// While it lives, this process may have few.
class FewDescriptors {
 public:
  FewDescriptors() {
    RQ_CHECK(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    rlimit few = before_;
    few.rlim_cur = 100;
    RQ_CHECK(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;
  ~FewDescriptors() { RQ_CHECK(::setrlimit(RLIMIT_NOFILE, &before_) == 0); }

 private:
  rlimit before_{};
};

// Idle connections from the network must not lock others out (faults.md C18, relative).
TEST(LinksRoom, IsMadeByClosingThoseThatAreIdleAndKeptForTheUnixSocket) {
  const FewDescriptors few;
  {
    IdleMaker maker;
    Loop loop;
    Links links{loop, maker};
    maker.links = &links;
    auto turn = [&loop] {
      while (loop.io().poll() > 0) {
      }
    };
    const base::test::TempDir dir;
    auto unix_listener = listen_unix(dir.path() / "socket");
    ASSERT_TRUE(unix_listener);
    ASSERT_TRUE(links.listen(*std::move(unix_listener)));
    auto tcp = listen_tcp("http", "127.0.0.1:0");
    ASSERT_TRUE(tcp) << tcp.error().message;
    const std::uint16_t port = tcp->port;
    ASSERT_TRUE(links.listen(*std::move(tcp)));
    const auto knock = [port] {
      base::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(port);
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      EXPECT_EQ(
          ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
      return client;
    };
    // The ends of those that knock are of the same process, and count.
    constexpr int kClients = 45;
    std::vector<base::Fd> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.push_back(knock());
      turn();
    }
    EXPECT_LT(links.count(), static_cast<std::size_t>(kClients) - kClosedForRoom);
    for (const base::Fd* client : {&clients.front(), &clients.back()}) {
      ASSERT_EQ(::send(client->get(), "here", 4, 0), 4);
      turn();
      char back[4] = {};
      EXPECT_EQ(::recv(client->get(), back, sizeof back, MSG_DONTWAIT), 4)
          << "one that is not idle stays, and who comes is let in";
    }
    char none = 0;
    EXPECT_EQ(::recv(clients.at(1).get(), &none, 1, MSG_DONTWAIT), 0) << "the oldest idle one went";
  }
}

// A client that leaks connections to the unix socket must not lock the others out (faults.md C18,
// relative).
TEST(LinksRoom, IsMadeOnTheUnixSocketByClosingThoseOfItThatAreIdle) {
  const FewDescriptors few;
  {
    IdleMaker maker;
    Loop loop;
    Links links{loop, maker};
    maker.links = &links;
    const base::test::TempDir dir;
    const std::string path = (dir.path() / "socket").string();
    auto listener = listen_unix(path);
    ASSERT_TRUE(listener) << listener.error().message;
    ASSERT_TRUE(links.listen(*std::move(listener)));
    // The ends of those that knock are of the same process, and count.
    constexpr int kClients = 60;
    std::vector<base::Fd> clients;
    for (int i = 0; i < kClients; ++i) {
      base::Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      ASSERT_TRUE(client.is_open()) << i << ": the process has none left: no room was made";
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      path.copy(address.sun_path, sizeof address.sun_path - 1);
      ASSERT_EQ(
          ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
      clients.push_back(std::move(client));
      while (loop.io().poll() > 0) {
      }
    }
    for (const base::Fd* client : {&clients.front(), &clients.back()}) {
      ASSERT_EQ(::send(client->get(), "here", 4, 0), 4);
      while (loop.io().poll() > 0) {
      }
      char back[4] = {};
      EXPECT_EQ(::recv(client->get(), back, sizeof back, MSG_DONTWAIT), 4)
          << "one that is not idle stays, and who comes is let in";
    }
    char none = 0;
    EXPECT_EQ(::recv(clients.at(1).get(), &none, 1, MSG_DONTWAIT), 0) << "the oldest idle one went";
  }
}

TEST(Listener, WhatOthersCouldReachIsRefused) {
  for (const char* text : {"0.0.0.0:0", "192.0.2.1:80", "[::]:0"}) {
    const auto listener = listen_tcp("http", text);
    ASSERT_FALSE(listener) << text;
    EXPECT_EQ(listener.error().code, base::Code::forbidden) << text;
  }
  for (const char* text : {"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "example.com:80"}) {
    EXPECT_FALSE(listen_tcp("http", text)) << text;
  }
}

class Counter : public TurnEnd {
 public:
  void on_turn_end() override { ++ends; }
  int ends = 0;
};

TEST(Loop, TellsTheEndOfATurnOnce) {
  Loop loop;
  Counter counter;
  loop.tell_turn_end(counter);
  loop.turn([&] {
    loop.end_turn_soon();
    loop.end_turn_soon();
    EXPECT_EQ(counter.ends, 0);
  });
  EXPECT_EQ(counter.ends, 1);
  loop.end_turn_soon();
  loop.end_turn_soon();
  EXPECT_EQ(counter.ends, 1) << "not from inside of the call";
  loop.io().poll();
  EXPECT_EQ(counter.ends, 2);
}

}  // namespace
}  // namespace rq::net
