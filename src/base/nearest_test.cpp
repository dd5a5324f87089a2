#include "base/nearest.h"

#include <gtest/gtest.h>

namespace rq::base {
namespace {

TEST(Nearest, ASlipOrTwoAreForgiven) {
  const std::vector<std::string> names{"anonymous", "log_level", "http"};
  EXPECT_EQ(nearest("anonymus", names), "anonymous");
  EXPECT_EQ(nearest("htpt", names), "http");
  EXPECT_EQ(nearest("log_levle", names), "log_level");
}

TEST(Nearest, WhatIsFarIsNoGuess) {
  EXPECT_EQ(nearest("no_such", {"http", "worker"}), "");
  EXPECT_EQ(nearest("", {"http"}), "");
}

}  // namespace
}  // namespace rq::base
