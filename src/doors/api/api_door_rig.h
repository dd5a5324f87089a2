#pragma once
// For tests: the door of the API, with a real engine behind it, and callers of any kind.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/temp_dir_rig.h"
#include "doors/api/api_door.h"
#include "net/client_rig.h"
#include "pipeline/pipeline_rig.h"

namespace rq::doors::api {

using net::RigClient;
using pipeline::test::kPatience;

inline std::vector<std::unique_ptr<core::Reader>> views_of(const pipeline::test::Rig& rig) {
  std::vector<std::unique_ptr<core::Reader>> out;
  out.push_back(rig.reader());
  return out;
}

inline core::Rights rights_of(std::initializer_list<std::string_view> grants) {
  core::Rights rights;
  for (const std::string_view text : grants) rights.add(*core::Grant::parse(text));
  return rights;
}

inline constexpr uid_t kOwner = 900;

inline access::Policy usual_policy() {
  return {.anonymous = rights_of({"enqueue", "work", "read"}), .users = {}, .owner = kOwner};
}

// A socket at whose other end is whoever the test says.
class RigChannel final : public net::Channel {
 public:
  RigChannel(int socket, net::Caller who)
      : channel_(net::plain_channel(socket, who.unix_socket)), who_(std::move(who)) {}
  [[nodiscard]] int descriptor() const override { return channel_->descriptor(); }
  [[nodiscard]] Moved receive(char* into, std::size_t room) override {
    return channel_->receive(into, room);
  }
  [[nodiscard]] Moved send(std::string_view bytes) override { return channel_->send(bytes); }
  [[nodiscard]] Moved send_file(int file, std::uint64_t offset, std::size_t bytes) override {
    return channel_->send_file(file, offset, bytes);
  }
  void end_sending() override { channel_->end_sending(); }
  [[nodiscard]] net::Caller caller() const override { return who_; }

 private:
  const std::unique_ptr<net::Channel> channel_;
  const net::Caller who_;
};

// The door on sockets, with a real engine behind it.
class ApiDoorTest : public testing::Test {
 protected:
  ApiDoorTest() {
    std::filesystem::create_directory(dir.path() / "run");
    rig.pipeline().add_sink(events);
    std::vector<net::Listener> listeners;
    auto address = net::parse_listen_address("http", "https", "127.0.0.1:0");
    listeners.push_back(*net::listen_tcp("http", *address));
    EXPECT_TRUE(door.listen(std::move(listeners)));
    rig.start();
    rig.define("q", std::chrono::minutes{1});
  }
  ~ApiDoorTest() override {
    rig.pipeline().stop();
    readers.stop();
  }

  enum class Way : std::uint8_t { tcp, unix_socket };
  [[nodiscard]] static net::Caller caller(Way way) {
    if (way == Way::tcp) return {.loopback = true, .address = "127.0.0.1"};
    return {.uid = kOwner, .groups = {}, .unix_socket = true};
  }
  RigClient connect(const net::Caller& who) {
    auto [socket, client] = net::connected_pair();
    EXPECT_TRUE(door.server().adopt(std::make_unique<RigChannel>(socket, who)));
    return std::move(client);
  }
  void turn() {
    while (loop.io().poll() > 0) {
    }
  }
  template <typename Condition>
  void turn_until(Condition condition) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!condition() && std::chrono::steady_clock::now() < until) {
      loop.io().run_one_for(std::chrono::milliseconds{1});
    }
    EXPECT_TRUE(condition());
    turn();
  }
  // The head of the reply to a request with this line and these fields.
  std::string reply_head(const net::Caller& who, const std::string& head,
                         const std::string& body = {}) {
    RigClient client = connect(who);
    client.send(head + "\r\n" + body);
    std::string reply;
    for (;;) {
      turn();
      reply += client.receive();
      if (reply.find("\r\n\r\n") != std::string::npos) return reply;
      if (client.closed() || loop.io().run_one_for(kPatience) == 0) return "HTTP/1.1 no reply";
    }
  }
  // All of it, of a connection that is closed then.
  std::string whole_reply(const net::Caller& who, const std::string& head,
                          const std::string& body) {
    RigClient client = connect(who);
    client.send(head + "\r\n" + body);
    std::string reply;
    turn_until([&] {
      reply += client.receive();
      return client.closed();
    });
    return reply;
  }
  std::string status(const net::Caller& who, const std::string& head,
                     const std::string& body = {}) {
    return reply_head(who, head, body).substr(9, 3);
  }
  std::string status(Way way, const std::string& head, const std::string& body = {}) {
    return status(caller(way), head, body);
  }
  [[nodiscard]] std::string host() const { return "Host: " + address() + "\r\n"; }
  // Without its scheme.
  [[nodiscard]] std::string address() const {
    return door.addresses().front().substr(std::string_view("http://").size());
  }

  pipeline::test::Rig rig;
  const base::test::TempDir dir;
  net::Loop loop;
  pipeline::Desk desk{loop, rig.pipeline()};
  pipeline::EventHub events{loop};
  pipeline::Readers readers{views_of(rig)};
  ApiDoor door{desk, readers, events, {.dir = dir.path(), .policy = usual_policy()}};
};

}  // namespace rq::doors::api
