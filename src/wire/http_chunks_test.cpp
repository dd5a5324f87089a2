#include "wire/http_chunks.h"

#include <gtest/gtest.h>

#include <vector>

namespace rq::wire {
namespace {

using State = ChunkReader::State;

struct Read {
  State state = State::more;
  std::string data;
  std::size_t used = 0;
  bool operator==(const Read&) const = default;
};

// Gives `text` in pieces of these sizes, in turns.
Read read(std::string_view text, const std::vector<std::size_t>& sizes) {
  ChunkReader reader;
  Read out;
  for (std::size_t turn = 0; out.used < text.size() && out.state == State::more; ++turn) {
    std::size_t used = 0;
    out.state = reader.feed(text.substr(out.used, sizes[turn % sizes.size()]), used,
                            [&out](std::string_view piece) {
                              out.data.append(piece);
                              return true;
                            });
    out.used += used;
  }
  return out;
}

TEST(ChunkReader, EverySplitGivesTheSame) {
  for (const std::string text :
       {"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n",
        "2;x=\"y;z\"\r\nhe\r\n003 ;q\r\nllo\r\n0;last\r\nA: b\r\nC: d\r\n\r\n"}) {
    const Read whole = read(text, {text.size()});
    EXPECT_EQ(whole.state, State::done) << text;
    EXPECT_EQ(whole.data, text.starts_with('0') ? "" : "hello");
    EXPECT_EQ(whole.used, text.size());
    for (std::size_t first = 1; first < text.size(); ++first) {
      for (std::size_t second = 1; second < text.size(); ++second) {
        EXPECT_EQ(read(text, {first, second}), whole) << text << first << "," << second;
      }
    }
  }
}

TEST(ChunkReader, WhatComesBehindIsLeft) {
  const Read got = read("1\r\nx\r\n0\r\n\r\nHTTP", {100});
  EXPECT_EQ(got.state, State::done);
  EXPECT_EQ(got.used, 11U);
}

TEST(ChunkReader, DataGoesOnAsItComes) {
  ChunkReader reader;
  std::string data;
  std::size_t used = 0;
  const auto keep = [&data](std::string_view piece) {
    data.append(piece);
    return true;
  };
  EXPECT_EQ(reader.feed("FF\r\nab", used, keep), State::more);
  EXPECT_EQ(data, "ab");
  EXPECT_EQ(reader.feed("cd", used, keep), State::more);
  EXPECT_EQ(data, "abcd");
}

TEST(ChunkReader, WhatIsNoChunkedBodyIsBroken) {
  for (const std::string text :
       {"\r\n", "x\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\n", "1\n", "1x\r\n",
        "5\r\nhelloX\r\n", "5\r\nhello\n", "10000000000000000\r\n", "0\r\nA: b\n", "0\r\n\n"}) {
    EXPECT_EQ(read(text, {1}).state, State::broken) << text;
    EXPECT_EQ(read(text, {text.size()}).state, State::broken) << text;
  }
}

TEST(ChunkReader, LinesAndTrailersHaveABound) {
  EXPECT_EQ(read("1;" + std::string(kChunkLineBytesMax, 'x'), {100}).state, State::broken);
  std::string trailers = "0\r\n";
  while (trailers.size() < 2 * kTrailerBytesMax)
    trailers += "A: " + std::string(1000, 'x') + "\r\n";
  EXPECT_EQ(read(trailers, {1000}).state, State::broken);
}

TEST(ChunkReader, StopsWhenThereIsEnough) {
  ChunkReader reader;
  std::size_t used = 0;
  EXPECT_EQ(reader.feed("3\r\nabc\r\n", used, [](std::string_view) { return false; }),
            State::enough);
}

}  // namespace
}  // namespace rq::wire
