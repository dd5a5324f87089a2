#include "access/networks.h"

#include <gtest/gtest.h>

namespace rq::access {
namespace {

std::vector<Network> networks(std::initializer_list<const char*> texts) {
  std::vector<Network> out;
  for (const char* text : texts) out.push_back(*Network::parse(text));
  return out;
}

TEST(Networks, HaveTheAddressesOfTheirPrefix) {
  const auto some = networks({"10.1.0.0/16", "192.0.2.7", "fd00::/8", "::1"});
  for (const char* in :
       {"10.1.0.0", "10.1.255.255", "192.0.2.7", "fdff::1", "::1", "::ffff:10.1.2.3"}) {
    EXPECT_TRUE(is_in(some, in)) << in;
  }
  for (const char* out : {"10.2.0.0", "10.0.255.255", "192.0.2.8", "fe00::1", "::2", "", "x",
                          "10.1.2.3:80", "::a01:203"}) {
    EXPECT_FALSE(is_in(some, out)) << out;
  }
  EXPECT_TRUE(is_in(networks({"0.0.0.0/0"}), "1.2.3.4"));
  EXPECT_FALSE(is_in(networks({"0.0.0.0/0"}), "fd00::1"));
}

TEST(Networks, WhatIsNoneIsRefused) {
  for (const char* bad : {"", "/8", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "x/8",
                          "fd00::/129", "fd00::1/8", "10.0.0", "10.0.0.0/8/8"}) {
    EXPECT_FALSE(Network::parse(bad)) << bad;
  }
}

// pitfalls NA12
TEST(ClientAddress, IsTheLastOneThatNoTrustedProxyIs) {
  const auto trusted = networks({"10.0.0.0/8", "fd00::/8"});
  const auto from = [&](const char* forwarded, const char* peer = "10.0.0.1") {
    return client_address(trusted, peer, forwarded);
  };
  EXPECT_EQ(from("1.2.3.4"), "1.2.3.4");
  EXPECT_EQ(from("6.6.6.6, 1.2.3.4"), "1.2.3.4") << "what stands before it may be anything";
  EXPECT_EQ(from("1.2.3.4,10.0.0.2 , 10.0.0.3"), "1.2.3.4");
  EXPECT_EQ(from("1.2.3.4:555"), "1.2.3.4");
  EXPECT_EQ(from("[2001:db8::1]:555"), "2001:db8::1");
  EXPECT_EQ(from("2001:db8::1, fd00::2"), "2001:db8::1");
  EXPECT_EQ(from("1.2.3.4", "9.9.9.9"), "9.9.9.9") << "nobody trusts this peer";
  for (const char* unreadable : {"", "unknown", "1.2.3.4, unknown", ",", "_hidden", "1.2.3"}) {
    EXPECT_EQ(from(unreadable), "10.0.0.1") << unreadable;
  }
  std::string many = "1.2.3.4";
  for (int i = 0; i < 10'000; ++i) many += ", 10.0.0.2";
  EXPECT_EQ(from(many.c_str()), "1.2.3.4");
}

}  // namespace
}  // namespace rq::access
