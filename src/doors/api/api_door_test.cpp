#include "doors/api/api_door_rig.h"

namespace rq::doors::api {
namespace {

TEST_F(ApiDoorTest, AnAddressIsServedUnderItsOwnNamesOnly) {
  const std::string port = address().substr(address().find(':'));
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

// pitfalls NA13.
TEST_F(ApiDoorTest, APageOfAnotherSiteIsNotServed) {
  const auto put = [this](Way way, const std::string& field) {
    return status(
        way, "POST /v1/queues/q/messages HTTP/1.1\r\nContent-Length: 2\r\n" + host() + field, "{}");
  };
  EXPECT_EQ(put(Way::tcp, ""), "201") << "a program";
  EXPECT_EQ(put(Way::tcp, "Origin: http://" + address() + "\r\n"), "201");
  EXPECT_EQ(put(Way::tcp, "Sec-Fetch-Site: same-origin\r\n"), "201");
  EXPECT_EQ(put(Way::tcp, "Origin: http://example.org\r\n"), "403");
  EXPECT_EQ(put(Way::tcp, "Origin: null\r\n"), "403");
  EXPECT_EQ(put(Way::tcp, "Sec-Fetch-Site: cross-site\r\n"), "403");
  EXPECT_EQ(put(Way::unix_socket, "Origin: http://example.org\r\n"), "201");
  EXPECT_EQ(status(Way::tcp, "GET /v1/version HTTP/1.1\r\nOrigin: http://example.org\r\n" + host()),
            "403")
      << "a stream could be read, and the answer of an image counted";
}

TEST_F(ApiDoorTest, WhatAClientThatIsGoneWasGivenGoesBack) {
  static_cast<void>(rig.ask<core::PutDone>(pipeline::test::Rig::put_of("q")));
  pipeline::test::Hold hold(rig);
  RigClient client = connect(caller(Way::unix_socket));
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
