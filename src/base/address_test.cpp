#include "base/address.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

namespace rq::base {
namespace {

TEST(ServerAddress, TakesWhatPeopleWrite) {
  const auto socket = [](std::string_view text) { return parse_server_address(text)->socket_path; };
  EXPECT_EQ(socket("/run/rq.sock"), "/run/rq.sock");
  EXPECT_EQ(socket("./run/rq.sock"), "./run/rq.sock");
  EXPECT_EQ(socket("../rq.sock"), "../rq.sock");
  EXPECT_EQ(socket("unix:/run/rq.sock"), "/run/rq.sock");
  EXPECT_EQ(socket("unix:///run/rq.sock"), "/run/rq.sock");
  EXPECT_EQ(socket("unix:run/rq.sock"), "run/rq.sock");
  const auto tcp = [](std::string_view text) { return parse_server_address(text)->tcp; };
  EXPECT_EQ(tcp("http://127.0.0.1:3333"), (HostPort{"127.0.0.1", 3333}));
  EXPECT_EQ(tcp("http://[::1]:3333/"), (HostPort{"::1", 3333}));
  EXPECT_EQ(tcp("http://[::1]"), (HostPort{"::1", 80}));
  EXPECT_EQ(tcp("http://q.example.org"), (HostPort{"q.example.org", 80}));
  EXPECT_EQ(tcp("http://q:65535//"), (HostPort{"q", 65535}));
}

TEST(ServerAddress, RefusesTheRestAndSaysWhy) {
  for (const auto& [text, why] :
       std::initializer_list<std::pair<const char*, const char*>>{{"", "neither"},
                                                                  {"localhost", "neither"},
                                                                  {"localhost:3333", "neither"},
                                                                  {"ftp://h:1", "neither"},
                                                                  {"https://h:1", "no TLS"},
                                                                  {"unix:", "no path"},
                                                                  {"http://", "no host"},
                                                                  {"http://:1", "no host"},
                                                                  {"http://h:1/x", "port"},
                                                                  {"http://h/x", "character"},
                                                                  {"http://u@h:1", "character"},
                                                                  {"http://h:", "port"},
                                                                  {"http://h:0", "port is 0"},
                                                                  {"http://h:65536", "65535"},
                                                                  {"http://h:-1", "65535"},
                                                                  {"http://h:1x", "65535"},
                                                                  {"http://::1:3333", "brackets"},
                                                                  {"http://[]:1", "no host"},
                                                                  {"http://a b:1", "character"},
                                                                  {"http://h:1?x", "65535"}}) {
    const auto got = parse_server_address(text);
    ASSERT_FALSE(got) << text;
    EXPECT_EQ(got.error().code, Code::bad_value) << text;
    EXPECT_NE(got.error().message.find(why), std::string::npos) << got.error().message;
    EXPECT_FALSE(got.error().remedy.empty());
  }
  EXPECT_FALSE(parse_server_address(std::string_view("/a\0b", 4)));
  EXPECT_EQ(parse_server_address("localhost:3333").error().remedy, "write http://localhost:3333");
  EXPECT_NE(parse_server_address("var").error().remedy.find("--dir DIR"), std::string::npos);
}

TEST(HostPort, ANumberOfAPortMayBeZeroForTheSystemToPick) {
  EXPECT_EQ(parse_host_port("127.0.0.1:0")->port, 0);
  EXPECT_FALSE(parse_host_port("127.0.0.1"));
  EXPECT_FALSE(parse_host_port("[::1]"));
}

RC_GTEST_PROP(ServerAddress, WhatIsAcceptedIsWrittenInAFormThatMeansTheSame, ()) {
  const std::string text =
      *rc::gen::element<std::string>("", "unix:", "http://", "/") +
      *rc::gen::container<std::string>(rc::gen::elementOf(std::string("a1:/[].-")));
  const auto first = parse_server_address(text);
  if (!first) RC_DISCARD("no address");
  const auto second = parse_server_address(first->text());
  RC_ASSERT(second.has_value());
  RC_ASSERT(*second == *first);
}

}  // namespace
}  // namespace rq::base
