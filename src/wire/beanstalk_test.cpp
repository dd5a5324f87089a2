#include "wire/beanstalk.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"

namespace rq::wire::beanstalk {
namespace {

using Kind = Parser::Step::Kind;
using namespace std::string_literals;

// What a parser said, in words, so that runs can be compared.
std::string describe(const Parser::Step& step) {
  if (step.kind == Kind::complaint) return std::string(line_of(step.complaint));
  std::string text;
  append_request(text, step.request);
  return text;
}

// Feeds `bytes` in pieces of the sizes that `cut` gives, as a connection does.
template <typename Cut>
std::vector<std::string> parse(std::string_view bytes, Cut cut, std::size_t body_bytes_max = 100) {
  Parser parser(body_bytes_max);
  std::vector<std::string> said;
  std::string buffer;
  while (true) {
    const Parser::Step step = parser.next(buffer);
    EXPECT_LE(step.consumed, buffer.size());
    if (step.kind != Kind::more) {
      said.push_back(describe(step));
      EXPECT_GT(step.consumed, 0U);
    }
    buffer.erase(0, step.consumed);
    if (step.kind != Kind::more) continue;
    EXPECT_GT(step.wanted, buffer.size());
    if (bytes.empty()) return said;
    const std::size_t size = std::min<std::size_t>(bytes.size(), cut());
    buffer.append(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
}

std::vector<std::string> parse(std::string_view bytes, std::size_t body_bytes_max = 100) {
  return parse(
      bytes, [&bytes] { return bytes.size() + 1; }, body_bytes_max);
}

std::string one(std::string_view bytes) {
  const auto said = parse(bytes);
  EXPECT_EQ(said.size(), 1U) << bytes;
  return said.empty() ? "" : said.front();
}

constexpr std::string_view kBadFormat = "BAD_FORMAT\r\n";
constexpr std::string_view kUnknown = "UNKNOWN_COMMAND\r\n";

TEST(Beanstalk, EveryRequestReadsAsItWasWritten) {
  const std::string tube(200, 'x');
  for (int i = 0; i < kVerbCount; ++i) {
    Request request;
    request.verb = static_cast<Verb>(i);
    request.id = std::numeric_limits<std::uint64_t>::max();
    request.priority = std::numeric_limits<std::uint32_t>::max();
    request.delay_s = std::numeric_limits<std::uint32_t>::max();
    request.ttr_s = 17;
    request.timeout_s = 2147483647;
    request.bound = 12;
    request.tube = tube;
    request.body = "a\r\nb";
    std::string text;
    append_request(text, request);
    EXPECT_EQ(one(text), text);
  }
}

TEST(Beanstalk, PutCarriesAllItsNumbers) {
  Parser parser;
  const Parser::Step step = parser.next("put 1 2 3 4\r\nab\r\n\r\nquit\r\n");
  ASSERT_EQ(step.kind, Kind::request);
  EXPECT_EQ(step.request.priority, 1U);
  EXPECT_EQ(step.request.delay_s, 2U);
  EXPECT_EQ(step.request.ttr_s, 3U);
  EXPECT_EQ(step.request.body, "ab\r\n");
  EXPECT_EQ(step.consumed, 19U);
}

TEST(Beanstalk, ATtrOfZeroIsOne) { EXPECT_EQ(one("put 0 0 0 0\r\n\r\n"), "put 0 0 1 0\r\n\r\n"); }

TEST(Beanstalk, ABodyMayHoldAnyBytes) {
  const std::string body("\0\xff\r\nquit\r\n"s);
  EXPECT_EQ(one("put 0 0 9 10\r\n" + body + "\r\n"), "put 0 0 9 10\r\n" + body + "\r\n");
}

TEST(Beanstalk, ABodyWithoutCrlfIsSwallowedWithTwoBytesMore) {
  EXPECT_EQ(parse("put 0 0 9 2\r\nabcdquit\r\n"),
            (std::vector<std::string>{"EXPECTED_CRLF\r\n", "quit\r\n"}));
}

TEST(Beanstalk, ABodyThatIsTooBigIsSwallowed) {
  const std::string big(101, 'b');
  EXPECT_EQ(parse("put 0 0 9 101\r\n" + big + "\r\nquit\r\n"),
            (std::vector<std::string>{"JOB_TOO_BIG\r\n", "quit\r\n"}));
  // Too big goes before what stands behind the number; otherwise that is BAD_FORMAT and the body
  // is read as commands.
  EXPECT_EQ(parse("put 0 0 9 101 x\r\n" + big + "\r\n"),
            (std::vector<std::string>{"JOB_TOO_BIG\r\n"}));
  EXPECT_EQ(parse("put 0 0 9 4 x\r\nquit\r\n"),
            (std::vector<std::string>{"BAD_FORMAT\r\n", "quit\r\n"}));
}

TEST(Beanstalk, AnAnnouncedSizeOf2To63TakesNoMemory) {
  Parser parser;
  std::string_view announced = "put 0 0 9 9223372036854775808\r\n";
  Parser::Step step = parser.next(announced);
  EXPECT_EQ(step.kind, Kind::more);
  EXPECT_EQ(step.consumed, announced.size());
  const std::string piece(1 << 16, 'x');
  for (int i = 0; i < 100; ++i) {
    step = parser.next(piece);
    EXPECT_EQ(step.kind, Kind::more);
    EXPECT_EQ(step.consumed, piece.size());
    EXPECT_EQ(step.wanted, 1U);
  }
}

TEST(Beanstalk, TheLongestLineIs224Bytes) {
  const std::string tube(200, 't');
  const std::string fits = "pause-tube " + tube + " 4294967295\r\n";
  ASSERT_EQ(fits.size(), kLineBytesMax);
  EXPECT_EQ(one(fits), fits);
  EXPECT_EQ(one("pause-tube " + tube + "  4294967295\r\n"), kBadFormat);
  // One complaint for one line, however long, and the next is read again.
  const std::string endless(100'000, 'a');
  EXPECT_EQ(parse(endless + "\r\nstats\r\n"),
            (std::vector<std::string>{std::string(kBadFormat), "stats\r\n"}));
  EXPECT_EQ(parse(std::string(223, 'a') + "\r\r\nstats\r\n"),
            (std::vector<std::string>{std::string(kBadFormat), "stats\r\n"}));
}

TEST(Beanstalk, LinesThatAreNotWellFormed) {
  for (const std::string_view line : {"put \r\n",
                                      "put 1\r\n",
                                      "put 1 2 3\r\n",
                                      "put a 2 3 4\r\n",
                                      "put -1 0 0 0\r\n",
                                      "put 4294967296 0 0 0\r\n",
                                      "put 0 4294967296 0 0\r\n",
                                      "put 0 0 4294967296 0\r\n",
                                      "put 0 0 0 18446744073709551616\r\n",
                                      "put 0 0 0 18446744073709551615\r\n",
                                      "put 0 0 0 0x\r\n",
                                      "put 0 0 0 0 \r\n",
                                      "reserve \r\n",
                                      "reserve-with-timeout\r\n",
                                      "reserve-with-timeout \r\n",
                                      "reserve-with-timeout x\r\n",
                                      "reserve-with-timeout 1x\r\n",
                                      "reserve-with-timeout -1\r\n",
                                      "reserve-with-timeout 2147483648\r\n",
                                      "reserve-job x\r\n",
                                      "reserve-job\r\n",
                                      "delete \r\n",
                                      "delete x\r\n",
                                      "delete 1 \r\n",
                                      "delete 18446744073709551616\r\n",
                                      "release 1\r\n",
                                      "release 1 2\r\n",
                                      "release 1 2 x\r\n",
                                      "release 1 2 3 4\r\n",
                                      "bury 1\r\n",
                                      "bury 1 x\r\n",
                                      "bury 1 2 3\r\n",
                                      "touch x\r\n",
                                      "use \r\n",
                                      "use -a\r\n",
                                      "use a b\r\n",
                                      "use a*\r\n",
                                      "watch  a\r\n",
                                      "ignore \r\n",
                                      "peek x\r\n",
                                      "peek-readyx\r\n",
                                      "peek-delayed 1\r\n",
                                      "peek-buried \r\n",
                                      "kick x\r\n",
                                      "kick \r\n",
                                      "kick 1x\r\n",
                                      "kick-job x\r\n",
                                      "stats \r\n",
                                      "stats-job\r\n",
                                      "stats-job x\r\n",
                                      "stats-tube\r\n",
                                      "stats-tube -\r\n",
                                      "list-tubes x\r\n",
                                      "list-tube-used x\r\n",
                                      "list-tubes-watched x\r\n",
                                      "pause-tube\r\n",
                                      "pause-tube a\r\n",
                                      "pause-tube a x\r\n",
                                      "pause-tube a 1 2\r\n",
                                      "pause-tubea 1\r\n"}) {
    EXPECT_EQ(one(line), kBadFormat) << line;
  }
  EXPECT_EQ(one("use " + std::string(201, 'a') + "\r\n"), kBadFormat);
  EXPECT_EQ(one("foo\0bar\r\n"s), kBadFormat);
  EXPECT_EQ(one("quit\0\r\n"s), kBadFormat);
  EXPECT_EQ(one("delete 1\0\r\n"s), kBadFormat);
  EXPECT_EQ(one("put 0 0 0 999\0\r\n"s), kBadFormat);
}

TEST(Beanstalk, WordsThatNobodyKnows) {
  for (const std::string_view line :
       {"\r\n", " \r\n", "put\r\n", "delete\r\n", "PUT 1 2 3 4\r\n", "peek\r\n", "kick\r\n",
        "kick-job\r\n", "use\r\n", "quot\r\n", "\n\r\n", "\r\r\n", " stats\r\n", "list-tube\r\n"}) {
    EXPECT_EQ(one(line), kUnknown) << line;
  }
}

TEST(Beanstalk, OnlyCrlfEndsALine) {
  EXPECT_TRUE(parse("stats\n").empty());
  EXPECT_TRUE(parse("stats\r").empty());
  EXPECT_EQ(one("stats\nstats\r\n"), kBadFormat);
}

TEST(Beanstalk, QuitNeedsNoMore) { EXPECT_EQ(one("quitting\r\n"), "quit\r\n"); }

TEST(Beanstalk, AnyChunkingSaysTheSame) {
  // Numbers that look random, the same in every run.
  std::uint32_t state = 7;
  const auto dice = [&state] { return (state = state * 1664525U + 1013904223U) >> 8U; };
  const std::vector<std::string> parts{"put 1 2 3 5\r\nhello\r\n",
                                       "put 1 2 3 5\r\nhello!!",
                                       "put 0 0 1 150\r\n" + std::string(152, '\r'),
                                       "put 0 0 1 0\r\n\r\n",
                                       "reserve\r\n",
                                       "delete 12\r\n",
                                       "bad\rline\r\n",
                                       std::string(223, 'z') + "\r\n",
                                       std::string(230, '\r') + "\n",
                                       "use tube\r\n",
                                       "watch -\r\n",
                                       "\r\n",
                                       "stats\r",
                                       "\n",
                                       "kick 1\r\n"};
  for (int round = 0; round < 300; ++round) {
    std::string bytes;
    for (int i = 0; i < 12; ++i) bytes += parts[dice() % parts.size()];
    const auto whole = parse(bytes);
    EXPECT_EQ(parse(bytes, [] { return std::size_t{1}; }), whole);
    EXPECT_EQ(parse(bytes, [&dice] { return std::size_t{1 + dice() % 40}; }), whole);
  }
}

TEST(Beanstalk, RepliesAsTheProtocolWritesThem) {
  std::string out;
  append_inserted(out, 7);
  append_reserved(out, 18446744073709551615ULL, "ab");
  append_found(out, 1, "");
  append_using(out, "default");
  append_watching(out, 2);
  append_kicked(out, 0);
  append_ok(out, Yaml().entry("a", -1).entry("b", "c").quoted("d", "e").item("f").text());
  EXPECT_EQ(out,
            "INSERTED 7\r\nRESERVED 18446744073709551615 2\r\nab\r\nFOUND 1 0\r\n\r\n"
            "USING default\r\nWATCHING 2\r\nKICKED 0\r\nOK 26\r\n"
            "---\na: -1\nb: c\nd: \"e\"\n- f\n\r\n");
}

}  // namespace
}  // namespace rq::wire::beanstalk
