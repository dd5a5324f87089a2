// Every route with every kind of caller: allowed or refused as the table of routes declares.
#include "doors/api/permission.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "doors/api/api_door_rig.h"
#include "doors/api/routes.h"

namespace rq::doors::api {
namespace {

using access::Policy;
using core::Right;

constexpr uid_t kFirstUser = 2000;  // with the first right; the others follow
constexpr uid_t kPatternUsers = 3000;
constexpr uid_t kOtherPatternUsers = 4000;
constexpr std::string_view kQueue = "mail-a";

Policy::Users user(uid_t uid, std::string_view grant) {
  return {.name = std::to_string(uid), .id = uid, .rights = rights_of({grant})};
}

class PermissionTest : public ApiDoorTest {
 protected:
  PermissionTest() {
    Policy policy = usual_policy();
    for (unsigned i = 0; i < core::kRights; ++i) {
      const std::string right(core::name_of(static_cast<Right>(i)));
      policy.users.push_back(user(kFirstUser + i, right));
      policy.users.push_back(user(kPatternUsers + i, right + ":mail-*"));
      policy.users.push_back(user(kOtherPatternUsers + i, right + ":mailer"));
    }
    door.set_policy(policy);
    turn();
  }

  // "401", "403"; all else is the answer of whoever serves the route: here just "served".
  std::string outcome(const net::Caller& who, const http::Route& route,
                      const std::string& fields = {}) {
    std::string path{route.pattern};
    for (std::size_t at; (at = path.find('{')) != std::string::npos;) {
      const bool of_queue = path.substr(at).starts_with("{queue}");
      path.replace(at, path.find('}') - at + 1, of_queue ? kQueue : "77");
    }
    // A body that no handler takes: the right is looked at before it.
    const bool has_body = route.body.kind != http::Body::Kind::none;
    const std::string head = fmt::format("{} {} HTTP/1.1\r\n{}{}{}", name_of(route.method), path,
                                         host(), has_body ? "Content-Length: 1\r\n" : "", fields);
    const std::string got = status(who, head, has_body ? "[" : "");
    return got == "401" || got == "403" ? got : got == "no " ? "no reply" : "served";
  }
  // Nobody has failed from there: no answer waits.
  [[nodiscard]] net::Caller from_a_new_address(std::string_view network, bool loopback) {
    ++addresses_;
    return {.loopback = loopback,
            .address = fmt::format("{}.{}.{}", network, addresses_ / 250, addresses_ % 250)};
  }
  int addresses_ = 0;
  [[nodiscard]] static net::Caller user_caller(uid_t uid) {
    return {.uid = uid, .groups = {}, .unix_socket = true};
  }
  static std::string name(const http::Route& route) {
    return fmt::format("{} {}", name_of(route.method), route.pattern);
  }
};

TEST_F(PermissionTest, ARightAloneAllowsItsRoutesAndNoOther) {
  for (const http::Route& route : http_routes()) {
    for (unsigned i = 0; i < core::kRights; ++i) {
      const std::string wanted = right_of(route) == static_cast<Right>(i) ? "served" : "403";
      EXPECT_EQ(outcome(user_caller(kFirstUser + i), route), wanted)
          << name(route) << " with " << core::name_of(static_cast<Right>(i));
    }
  }
}

TEST_F(PermissionTest, ARightForSomeQueuesHoldsForThese) {
  for (const http::Route& route : http_routes()) {
    const auto right = static_cast<unsigned>(right_of(route));
    const Scope scope = scope_of(route);
    // Lists want the name of a queue that may be read.
    const bool is_list = route.method == http::Method::get &&
                         (route.pattern == "/v1/messages" || route.pattern == "/v1/failures" ||
                          route.pattern == "/v1/tries");
    EXPECT_EQ(outcome(user_caller(kPatternUsers + right), route),
              scope == Scope::all || is_list ? "403" : "served")
        << name(route);
    EXPECT_EQ(outcome(user_caller(kOtherPatternUsers + right), route),
              scope == Scope::any && !is_list ? "served" : "403")
        << name(route);
  }
}

TEST_F(PermissionTest, TheOwnerMayAll) {
  for (const http::Route& route : http_routes()) {
    EXPECT_EQ(outcome(caller(Way::unix_socket), route), "served") << name(route);
    EXPECT_EQ(outcome(user_caller(0), route), "served") << name(route);
  }
}

TEST_F(PermissionTest, WhoeverComesFromThisMachineMayPutWorkAndRead) {
  for (const http::Route& route : http_routes()) {
    const std::string wanted = right_of(route) <= Right::read ? "served" : "403";
    EXPECT_EQ(outcome(caller(Way::tcp), route), wanted) << name(route);
    EXPECT_EQ(outcome(user_caller(1), route), wanted) << name(route) << ": an unknown user";
  }
}

// pitfalls NA9, NA13.
TEST_F(PermissionTest, NobodyMayNothing) {
  for (const http::Route& route : http_routes()) {
    EXPECT_EQ(outcome(from_a_new_address("10.0", false), route), "401") << name(route);
    EXPECT_EQ(outcome(user_caller(65'534), route), "401") << name(route);
    for (const char* field :
         {"Forwarded: for=192.0.2.7\r\n", "X-Forwarded-For: 127.0.0.1\r\n", "Via: 1.1 p\r\n",
          "X-Real-IP: ::1\r\n", "Authorization:\r\n", "Authorization: Bearer\r\n",
          "Authorization: Bearer   \r\n", "Authorization: Basic eDp5\r\n",
          "Authorization: Bearer rq_a\r\nAuthorization: Bearer rq_b\r\n"}) {
      EXPECT_EQ(outcome(from_a_new_address("127.0", true), route, field), "401")
          << name(route) << ' ' << field;
    }
  }
}

TEST_F(PermissionTest, WhereItIsRequiredNobodyIsAnonymous) {
  Policy policy = usual_policy();
  policy.required = true;
  door.set_policy(policy);
  turn();
  for (const http::Route& route : http_routes()) {
    EXPECT_EQ(outcome(caller(Way::tcp), route), "401") << name(route);
    EXPECT_EQ(outcome(user_caller(1), route), "401") << name(route);
    EXPECT_EQ(outcome(caller(Way::unix_socket), route), "served") << name(route);
  }
}

TEST_F(PermissionTest, ARefusalNamesTheRightAndWhatHelps) {
  const std::string get = "GET /v1/stats HTTP/1.1\r\n" + host();
  const std::string nobody = reply_head({.address = "192.0.2.7"}, get);
  EXPECT_NE(nobody.find("WWW-Authenticate: Bearer\r\n"), std::string::npos) << nobody;
  const std::string pause =
      "POST /v1/queues/mail-a/pause HTTP/1.1\r\nContent-Length: 0\r\n" + host();
  const std::string anonymous = reply_head(caller(Way::tcp), pause);
  EXPECT_NE(anonymous.find("anonymous has not the right 'manage' for queue 'mail-a'"),
            std::string::npos)
      << anonymous;
  EXPECT_NE(anonymous.find("rq.sock"), std::string::npos) << anonymous;
  const std::string reader = reply_head(user_caller(kFirstUser + 2), pause);
  EXPECT_NE(reader.find("rq.toml"), std::string::npos) << reader;
}

// pitfalls NA16.
TEST_F(PermissionTest, APathHasOneReading) {
  for (const char* path :
       {"/v1//queues/mail-a/pause", "/V1/queues/mail-a/pause", "/v1/queues/mail-a/pause/",
        "/v1/queues/mail-a/./pause", "/v1/queues/x/../mail-a/pause", "/v1/queues/mail-a;x/pause",
        "/v1/queues/other%2F..%2Fmail-a/pause"}) {
    const std::string got =
        status(user_caller(kPatternUsers + 3),
               fmt::format("POST {} HTTP/1.1\r\nContent-Length: 0\r\n{}", path, host()));
    EXPECT_TRUE(got == "404" || got == "400" || got == "403" || got == "422") << path << ' ' << got;
  }
}

// pitfalls NA6: the right is looked at where the message is, and what may not be seen is not there.
TEST_F(PermissionTest, AMessageOfAnotherQueueIsNotThere) {
  rig.define("mail-a", std::chrono::minutes{1});
  const auto put = [this](const std::string& queue, const std::string& key) {
    core::Put one = pipeline::test::Rig::put_of(queue);
    one.message.detail().key = key;
    return std::to_string(rig.ask<core::PutDone>(std::move(one)).seq);
  };
  const std::string mine = put("mail-a", "mine");
  const std::string foreign = put("q", "foreign");
  const net::Caller reader = user_caller(kPatternUsers + 2);
  const net::Caller manager = user_caller(kPatternUsers + 3);
  const auto get = [&](const net::Caller& who, const std::string& path) {
    return status(who, "GET " + path + " HTTP/1.1\r\n" + host());
  };
  for (const char* below : {"", "/payload", "/attempts", "/log", "/why"}) {
    EXPECT_EQ(get(reader, "/v1/messages/" + mine + below), "200") << below;
    for (const std::string& other : {foreign, std::string("key:foreign"), std::string("9999")}) {
      EXPECT_EQ(get(reader, "/v1/messages/" + other + below), "404") << other << below;
    }
  }
  EXPECT_EQ(get(reader, "/v1/messages?queue=mail-a"), "200");
  EXPECT_EQ(get(reader, "/v1/messages?queue=q"), "403");
  EXPECT_EQ(get(reader, "/v1/failures"), "403");
  const auto act = [&](const std::string& id, const char* action) {
    return status(manager,
                  fmt::format("POST /v1/messages/{}/{} HTTP/1.1\r\nContent-Length: 0\r\n{}", id,
                              action, host()));
  };
  for (const char* action : {"cancel", "retry", "run_now", "kill", "requeue"}) {
    EXPECT_EQ(act(foreign, action), "404") << action;
    EXPECT_EQ(act("key:foreign", action), "404") << action;
  }
  EXPECT_EQ(act("key:mine", "cancel"), "200");
  const std::string bulk = R"({"action":"cancel","filter":{"queue":"q"}})";
  EXPECT_EQ(status(manager,
                   fmt::format("POST /v1/messages/bulk HTTP/1.1\r\nContent-Length: {}\r\n{}",
                               bulk.size(), host()),
                   bulk),
            "403");
}

}  // namespace
}  // namespace rq::doors::api
