// Tokens through the door: made, used, rotated, revoked.
#include <gtest/gtest.h>

#include <string>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "doors/api/api_door_rig.h"

namespace rq::doors::api {
namespace {

namespace json = boost::json;

class TokensDoorTest : public ApiDoorTest {
 protected:
  struct Answer {
    std::string status;
    json::value body;
  };
  Answer ask(const net::Caller& who, const std::string& method, const std::string& path,
             const std::string& body = {}, const std::string& fields = {}) {
    const std::string head =
        fmt::format("{} {} HTTP/1.1\r\nContent-Length: {}\r\nConnection: close\r\n{}{}", method,
                    path, body.size(), host(), fields);
    const std::string reply = whole_reply(who, head, body);
    const std::size_t end = reply.find("\r\n\r\n");
    boost::system::error_code none;
    return {.status = reply.substr(9, 3),
            .body = end == std::string::npos ? json::value()
                                             : json::parse(reply.substr(end + 4), none)};
  }
  Answer ask(const std::string& method, const std::string& path, const std::string& body = {}) {
    return ask(caller(Way::unix_socket), method, path, body);
  }
  std::string create(const std::string& body) {
    const Answer made = ask("POST", "/v1/tokens", body);
    EXPECT_EQ(made.status, "201") << made.body;
    return made.status == "201" ? std::string(made.body.at("token").as_string()) : "";
  }
  // With this token, from another machine.
  std::string with(const std::string& token, const std::string& path = "/v1/stats") {
    return ask(elsewhere, "GET", path, {}, "Authorization: Bearer " + token + "\r\n").status;
  }
  net::Caller elsewhere{.address = "192.0.2.7"};
};

TEST_F(TokensDoorTest, ATokenHoldsFromItsReplyToItsEnd) {
  const std::string token = create(R"({"name":"a","rights":["read"]})");
  EXPECT_EQ(with(token), "200");
  EXPECT_EQ(with(token + "x"), "401");
  EXPECT_EQ(ask("DELETE", "/v1/tokens/a").status, "200");
  EXPECT_EQ(with(token), "401");
  EXPECT_EQ(ask("DELETE", "/v1/tokens/a").status, "404");
  const auto listed = ask("GET", "/v1/tokens").body.at("tokens").as_array();
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0].at("holds"), false);
  EXPECT_EQ(listed[0].at("maker"), "user:900");
  EXPECT_EQ(listed[0].at("used_from"), "192.0.2.7");
}

TEST_F(TokensDoorTest, ATokenMayWhatItsRightsSay) {
  rig.define("mail-a", std::chrono::minutes{1});
  const std::string token = create(R"({"name":"a","rights":["enqueue:mail-*"]})");
  const std::string field = "Authorization: Bearer " + token + "\r\n";
  EXPECT_EQ(ask(elsewhere, "POST", "/v1/queues/mail-a/messages", "{}", field).status, "201");
  EXPECT_EQ(ask(elsewhere, "POST", "/v1/queues/q/messages", "{}", field).status, "403");
  EXPECT_EQ(with(token), "403");
}

TEST_F(TokensDoorTest, AfterARotationBothSecretsHoldForAsLongAsIsSaid) {
  const std::string before = create(R"({"name":"a","rights":["read"]})");
  const Answer rotated = ask("POST", "/v1/tokens/a/rotate", R"({"overlap_s":60})");
  ASSERT_EQ(rotated.status, "200") << rotated.body;
  const std::string after(rotated.body.at("token").as_string());
  EXPECT_EQ(with(before), "200");
  EXPECT_EQ(with(after), "200");
  EXPECT_EQ(ask("POST", "/v1/tokens/a/rotate", R"({"overlap_s":0})").status, "200");
  EXPECT_EQ(with(after), "401");
  EXPECT_EQ(with(before), "401");
}

// pitfalls NA9.
TEST_F(TokensDoorTest, NobodyGivesWhatTheyHaveNot) {
  const std::string token = create(R"({"name":"admin","rights":["admin"]})");
  const std::string field = "Authorization: Bearer " + token + "\r\n";
  const Answer refused =
      ask(elsewhere, "POST", "/v1/tokens", R"({"name":"b","rights":["define:a*"]})", field);
  EXPECT_EQ(refused.status, "403");
  EXPECT_NE(json::serialize(refused.body).find("define:a*"), std::string::npos) << refused.body;
  EXPECT_EQ(
      ask(elsewhere, "POST", "/v1/tokens", R"({"name":"c","rights":["admin"]})", field).status,
      "201");
  EXPECT_EQ(ask("DELETE", "/v1/tokens/admin").status, "200");
  for (const json::value& one : ask("GET", "/v1/tokens").body.at("tokens").as_array()) {
    EXPECT_EQ(one.at("maker_holds"), one.at("name") != "c");
  }
}

// pitfalls NA3.
TEST_F(TokensDoorTest, ATokenInTheAddressIsRefused) {
  const std::string token = create(R"({"name":"a","rights":["read"]})");
  const net::Caller here = caller(Way::tcp);
  EXPECT_EQ(ask(here, "GET", "/v1/stats?token=" + token).status, "422");
  const Answer refused = ask(here, "GET", "/v1/messages?token=" + token);
  EXPECT_EQ(json::serialize(refused.body).find(token), std::string::npos) << refused.body;
}

TEST_F(TokensDoorTest, TheAuditListTellsThem) {
  const std::string token = create(R"({"name":"a","rights":["read"]})");
  const Answer audit = ask("GET", "/v1/audit?subject=a");
  ASSERT_EQ(audit.status, "200") << audit.body;
  const auto& entries = audit.body.at("entries").as_array();
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].at("what"), "token created");
  EXPECT_EQ(entries[0].at("who"), "user:900");
  EXPECT_EQ(entries[0].at("from"), "unix socket");
  EXPECT_EQ(json::serialize(audit.body).find(token.substr(16)), std::string::npos) << "no secret";
}

// pitfalls NA14: failures wait, a good token does not.
TEST_F(TokensDoorTest, WhoFailsAgainAndAgainWaits) {
  const std::string token = create(R"({"name":"a","rights":["read"]})");
  for (std::uint32_t i = 0; i < access::kFailuresFree; ++i) EXPECT_EQ(with("rq_x"), "401");
  RigClient slow = connect(elsewhere);
  slow.send("POST /v1/reserve HTTP/1.1\r\nAuthorization: Bearer rq_x\r\nContent-Length: 2\r\n" +
            host() + "\r\n{}");
  turn();
  EXPECT_EQ(with(token), "200") << "from the same address";
  std::string reply;
  turn_until([&] {
    reply += slow.receive();
    return slow.closed();
  });
  EXPECT_EQ(reply.substr(9, 3), "401") << "and the connection is closed";
  const base::Error refused = base::fail(base::Code::unauthorized, "");
  static_cast<void>(with("rq_x"));
  EXPECT_GT(door.entrance().pause_before(refused, elsewhere).count(), 0);
  static_cast<void>(status(elsewhere, "GET /v1/stats HTTP/1.1\r\n" + host()));
  EXPECT_EQ(door.entrance().pause_before(refused, elsewhere).count(), 0) << "no token was shown";
}

// pitfalls NA5.
TEST_F(TokensDoorTest, AStreamEndsWithItsToken) {
  const std::string token = create(R"({"name":"a","rights":["read"]})");
  RigClient follower = connect(elsewhere);
  follower.send("GET /v1/events HTTP/1.1\r\nAuthorization: Bearer " + token + "\r\n" + host() +
                "\r\n");
  std::string told;
  turn_until([&] {
    told += follower.receive();
    return told.find("event: hello") != std::string::npos;
  });
  door.entrance().end_streams_of_the_gone();
  turn();
  EXPECT_EQ(follower.receive(), "") << "it holds";
  EXPECT_EQ(ask("DELETE", "/v1/tokens/a").status, "200");
  door.entrance().end_streams_of_the_gone();
  turn_until([&] {
    told += follower.receive();
    return follower.closed();
  });
  EXPECT_NE(told.find("event: error"), std::string::npos) << told;
  EXPECT_NE(told.find("unauthorized"), std::string::npos) << told;
}

}  // namespace
}  // namespace rq::doors::api
