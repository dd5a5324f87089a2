#include "doors/api/api_door.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/temp_dir_rig.h"
#include "net/client_rig.h"
#include "pipeline/pipeline_rig.h"

namespace rq::doors::api {
namespace {

using net::RigClient;
using pipeline::test::kPatience;

std::vector<std::unique_ptr<core::Reader>> views_of(const pipeline::test::Rig& rig) {
  std::vector<std::unique_ptr<core::Reader>> out;
  out.push_back(rig.reader());
  return out;
}

// The door on sockets, with a real engine behind it.
class ApiDoorTest : public testing::Test {
 protected:
  ApiDoorTest() {
    std::filesystem::create_directory(dir.path() / "run");
    rig.pipeline().add_sink(events);
    EXPECT_TRUE(door.listen());
    rig.start();
    rig.define("q", std::chrono::minutes{1});
  }
  ~ApiDoorTest() override {
    rig.pipeline().stop();
    readers.stop();
  }

  enum class Way : std::uint8_t { tcp, unix_socket };
  RigClient connect(Way way) {
    auto [socket, client] = net::connected_pair();
    EXPECT_TRUE(door.server().adopt(net::plain_channel(socket, way == Way::unix_socket)));
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
  // The status of the reply to a request with this line and these fields.
  std::string status(Way way, const std::string& head, const std::string& body = {}) {
    RigClient client = connect(way);
    client.send(head + "\r\n" + body);
    std::string reply;
    for (;;) {
      turn();
      reply += client.receive();
      if (reply.find("\r\n\r\n") != std::string::npos) return reply.substr(9, 3);
      if (client.closed() || loop.io().run_one_for(kPatience) == 0) return "no reply";
    }
  }
  [[nodiscard]] std::string host() const { return "Host: " + door.address() + "\r\n"; }

  pipeline::test::Rig rig;
  const base::test::TempDir dir;
  net::Loop loop;
  pipeline::Desk desk{loop, rig.pipeline()};
  pipeline::EventHub events{loop};
  pipeline::Readers readers{views_of(rig)};
  ApiDoor door{desk, readers, events, {.dir = dir.path(), .address = "127.0.0.1:0"}};
};

TEST_F(ApiDoorTest, AnAddressIsServedUnderItsOwnNamesOnly) {
  const std::string port = door.address().substr(door.address().find(':'));
  const std::string get = "GET /v1/version HTTP/1.1\r\n";
  EXPECT_EQ(status(Way::tcp, get + host()), "200");
  EXPECT_EQ(status(Way::tcp, get + "Host: LOCALHOST" + port + "\r\n"), "200");
  EXPECT_EQ(status(Way::tcp, get + "Host: [::1]" + port + "\r\n"), "200");
  EXPECT_EQ(status(Way::tcp, get + "Host: localhost:1\r\n"), "200") << "the port of a tunnel";
  EXPECT_EQ(status(Way::tcp, get + "Host: example.org" + port + "\r\n"), "403");
  EXPECT_EQ(status(Way::tcp, get), "400") << "no Host";
  EXPECT_EQ(status(Way::tcp, "GET /v1/version HTTP/1.0\r\n"), "200") << "which has none";
  EXPECT_EQ(status(Way::unix_socket, get + "Host: example.org\r\n"), "200");
}

TEST_F(ApiDoorTest, APageOfAnotherSiteChangesNothing) {
  const auto put = [this](Way way, const std::string& field) {
    return status(
        way, "POST /v1/queues/q/messages HTTP/1.1\r\nContent-Length: 2\r\n" + host() + field, "{}");
  };
  EXPECT_EQ(put(Way::tcp, ""), "201") << "a program";
  EXPECT_EQ(put(Way::tcp, "Origin: http://" + door.address() + "\r\n"), "201");
  EXPECT_EQ(put(Way::tcp, "Sec-Fetch-Site: same-origin\r\n"), "201");
  EXPECT_EQ(put(Way::tcp, "Origin: http://example.org\r\n"), "403");
  EXPECT_EQ(put(Way::tcp, "Origin: null\r\n"), "403");
  EXPECT_EQ(put(Way::tcp, "Sec-Fetch-Site: cross-site\r\n"), "403");
  EXPECT_EQ(put(Way::unix_socket, "Origin: http://example.org\r\n"), "201");
  EXPECT_EQ(status(Way::tcp, "GET /v1/version HTTP/1.1\r\nOrigin: http://example.org\r\n" + host()),
            "200")
      << "a browser keeps the answer from the page";
}

TEST_F(ApiDoorTest, QueuesAreDefinedOverTheUnixSocketOnly) {  // faults.md D2
  const std::string length = "Content-Length: 2\r\n";
  for (const std::string method : {"PUT", "PATCH", "DELETE"}) {
    const std::string head = method + " /v1/queues/q HTTP/1.1\r\n" + host();
    const bool body = method != "DELETE";
    const auto call = [&](Way way) {
      return status(way, body ? head + length : head, body ? "{}" : "");
    };
    EXPECT_EQ(call(Way::tcp), "403") << method;
    EXPECT_EQ(call(Way::unix_socket), "200") << method;
  }
}

TEST_F(ApiDoorTest, WhatAClientThatIsGoneWasGivenGoesBack) {
  static_cast<void>(rig.ask<core::PutDone>(pipeline::test::Rig::put_of("q")));
  pipeline::test::Hold hold(rig);
  RigClient client = connect(Way::unix_socket);
  client.send(
      "POST /v1/reserve HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\n"
      R"({"queues":["q"],"wait_s":5})");
  turn_until([&client] { return client.unread() == 0; });
  client.hang_up();
  turn_until([this] { return door.server().connections() == 0; });
  hold.release();
  const auto until = std::chrono::steady_clock::now() + kPatience;
  const auto shown = [this] {
    turn();
    return rig.ask<core::QueueShown>(core::ShowQueue{"q"}).queue;
  };
  // Once it has been leased and given back.
  while (shown()->counters.retries == 0 && std::chrono::steady_clock::now() < until) {
  }
  EXPECT_EQ(shown()->counters.retries, 1);
  EXPECT_EQ(shown()->counters.in(core::State::que), 1);
}

}  // namespace
}  // namespace rq::doors::api
