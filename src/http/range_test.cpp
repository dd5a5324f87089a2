#include "http/range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/server_rig.h"
#include "http/static_body.h"

namespace rq::http {
namespace {

using Kind = RangeAsked::Kind;
using ::testing::EndsWith;
using ::testing::HasSubstr;

TEST(Range, ReadsTheThreeForms) {
  const auto check = [](std::string_view text, std::uint64_t first, std::uint64_t last) {
    const RangeAsked asked = parse_range(text, 100);
    ASSERT_EQ(asked.kind, Kind::part) << text;
    EXPECT_EQ(asked.range.first, first) << text;
    EXPECT_EQ(asked.range.last, last) << text;
  };
  check("bytes=0-0", 0, 0);
  check("bytes=0-9", 0, 9);
  check("bytes=90-", 90, 99);
  check("bytes=-10", 90, 99);
  check("bytes=-1000", 0, 99);
  check("bytes=50-1000", 50, 99);
  check("bytes=50-99999999999999999999999", 50, 99);
  check("bytes=-99999999999999999999999", 0, 99);
}

TEST(Range, TellsWhatCannotBeReadFromWhatIsNotThere) {
  for (const char* text : {"", "lines=1-2", "x"}) {
    EXPECT_EQ(parse_range(text, 100).kind, Kind::none) << text;
  }
  for (const char* text : {"bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=1-2,4-5",
                           "bytes= 1-2", "bytes=+1-2", "bytes=1--2"}) {
    EXPECT_EQ(parse_range(text, 100).kind, Kind::unreadable) << text;
  }
  for (const char* text : {"bytes=100-", "bytes=-0", "bytes=18446744073709551615-",
                           "bytes=99999999999999999999999-"}) {
    EXPECT_EQ(parse_range(text, 100).kind, Kind::unsatisfiable) << text;
  }
  EXPECT_EQ(parse_range("bytes=0-0", 0).kind, Kind::unsatisfiable);
  EXPECT_EQ(parse_range("bytes=-5", 0).kind, Kind::unsatisfiable);
}

Head head_with(std::string_view name, std::string_view value, Method method = Method::get) {
  Head head;
  head.method = method;
  head.fields.add(name, value);
  return head;
}

TEST(Conditions, FollowTheTag) {
  constexpr std::string_view kTag = "\"v2\"";
  for (const char* value : {"\"v2\"", "*", "\"v1\", \"v2\"", "W/\"v2\""}) {
    EXPECT_EQ(check_conditions(head_with("If-None-Match", value), kTag), Condition::not_modified)
        << value;
    EXPECT_EQ(check_conditions(head_with("if-none-match", value, Method::put), kTag),
              Condition::failed)
        << value;
  }
  EXPECT_EQ(check_conditions(head_with("If-None-Match", "\"v1\""), kTag), Condition::go_on);
  EXPECT_EQ(check_conditions(head_with("If-Match", "\"v1\""), kTag), Condition::failed);
  EXPECT_EQ(check_conditions(head_with("If-Match", "W/\"v2\""), kTag), Condition::failed)
      << "a weak tag does not say that it is the same";
  EXPECT_EQ(check_conditions(head_with("If-Match", "\"v1\", \"v2\""), kTag), Condition::go_on);
  EXPECT_EQ(check_conditions(Head{}, kTag), Condition::go_on);
}

TEST(Conditions, ARangeOfAnotherVersionIsTheWhole) {
  Head head = head_with("Range", "bytes=1-2");
  EXPECT_EQ(range_of(head, "\"v2\"", 10).kind, Kind::part);
  head.fields.add("If-Range", "\"v1\"");
  EXPECT_EQ(range_of(head, "\"v2\"", 10).kind, Kind::none);
  EXPECT_EQ(range_of(head, "\"v1\"", 10).kind, Kind::part);
  EXPECT_EQ(range_of(head, "W/\"v1\"", 10).kind, Kind::none);
  EXPECT_EQ(range_of(head_with("Range", "nonsense"), "\"v2\"", 10).kind, Kind::none);
  EXPECT_EQ(range_of(head_with("Range", "bytes=1-2", Method::post), "\"v2\"", 10).kind, Kind::none);
  EXPECT_EQ(range_of(head_with("Range", "bytes=10-"), "\"v2\"", 10).kind, Kind::unsatisfiable);
}

class StaticBodies : public ServerTest {
 protected:
  std::string get(std::string_view fields) {
    RigClient client = connect();
    ask(client, "GET /late HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    Head head;
    head.method = Method::get;
    for (std::string_view rest = fields; !rest.empty();) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      const std::size_t colon = rest.find(": ");
      head.fields.add(rest.substr(0, colon), rest.substr(colon + 2, end - colon - 2));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    server.with(site.last, [&](Exchange& x) { body.reply(x, head); });
    turn();
    server.flush();
    return client.receive();
  }

  const StaticBody body{"text/plain", "0123456789"};
};

TEST_F(StaticBodies, AreSentWholeInPartOrNotAtAll) {
  const std::string whole = get("");
  EXPECT_EQ(status_of(whole), 200);
  EXPECT_THAT(whole, HasSubstr("ETag: " + body.etag() + "\r\n"));
  EXPECT_THAT(whole, EndsWith("\r\n\r\n0123456789"));
  const std::string part = get("Range: bytes=2-4");
  EXPECT_EQ(status_of(part), 206);
  EXPECT_THAT(part, HasSubstr("Content-Range: bytes 2-4/10\r\n"));
  EXPECT_THAT(part, EndsWith("\r\n\r\n234"));
  const std::string beyond = get("Range: bytes=10-");
  EXPECT_EQ(status_of(beyond), 416);
  EXPECT_THAT(beyond, HasSubstr("Content-Range: bytes */10\r\n"));
  const std::string known = get("If-None-Match: " + body.etag());
  EXPECT_EQ(status_of(known), 304);
  EXPECT_THAT(known, EndsWith("\r\n\r\n"));
  EXPECT_EQ(status_of(get("If-Match: \"other\"")), 412);
  EXPECT_EQ(status_of(get("Range: bytes=2-4\nIf-Range: \"other\"")), 200);
  EXPECT_NE(StaticBody("text/plain", "0123456780").etag(), body.etag());
}

}  // namespace
}  // namespace rq::http
