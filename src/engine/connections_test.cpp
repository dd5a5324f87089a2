#include "engine/connections.h"

#include <gtest/gtest.h>

#include <chrono>

namespace rq::engine {
namespace {

constexpr Connection kOne{1, 1};
constexpr Connection kOther{1, 2};

Connections::Held lease(Seq seq) {
  return {{.seq = seq, .attempt = 1, .boot = 1}, Instant{std::chrono::seconds{seq}}};
}

TEST(Connections, AllLeasesOfOneThatEndsAreToldPieceByPiece) {
  constexpr Seq kMany = 1000;
  Connections connections;
  for (Seq seq = 1; seq <= kMany; ++seq) connections.hold(seq % 3 == 0 ? kOther : kOne, lease(seq));
  for (Seq seq = 1; seq <= kMany; seq += 5) connections.ended(seq);
  Seq last = 0;
  std::size_t told = 0;
  for (auto piece = connections.some(kOne, 7); !piece.empty(); piece = connections.some(kOne, 7)) {
    EXPECT_LE(piece.size(), 7U);
    EXPECT_EQ(connections.some(kOne, 7).size(), piece.size()) << "the same, until they have ended";
    for (const Token& token : piece) {
      EXPECT_GT(token.seq, last);
      EXPECT_NE(token.seq % 3, 0);
      EXPECT_NE(token.seq % 5, 1);
      last = token.seq;
      ++told;
      connections.ended(token.seq);
    }
  }
  EXPECT_EQ(told, 534U);
  EXPECT_EQ(connections.first_end(kOne), Instant::max());
  EXPECT_EQ(connections.first_end(kOther), Instant{std::chrono::seconds{3}});
}

TEST(Connections, WhatIsUndoneIsHeldAsBefore) {
  Connections connections;
  for (Seq seq = 1; seq <= 50; ++seq) connections.hold(kOne, lease(seq));
  EXPECT_EQ(connections.some(kOne, 10).size(), 10U);
  connections.begin();
  for (Seq seq = 1; seq <= 40; ++seq) connections.ended(seq);
  EXPECT_EQ(connections.some(kOne, 50).size(), 10U);
  connections.hold(kOne, lease(51));
  connections.roll_back();
  EXPECT_EQ(connections.some(kOne, 100).size(), 50U);
  EXPECT_EQ(connections.first_end(kOne), Instant{std::chrono::seconds{1}});
}

}  // namespace
}  // namespace rq::engine
