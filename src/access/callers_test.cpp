#include "access/callers.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "access/secret.h"

namespace rq::access {
namespace {

using base::Code;
using base::from_ms;
using base::Instant;
using core::Right;

const Instant kNow = from_ms(1'800'000'000'000);

core::Rights rights_of(std::initializer_list<std::string_view> grants) {
  core::Rights rights;
  for (const std::string_view text : grants) rights.add(*core::Grant::parse(text));
  return rights;
}

Policy usual() {
  return {.required = false,
          .anonymous = rights_of({"enqueue", "work", "read"}),
          .users = {{.name = "joe", .group = false, .id = 1000, .rights = rights_of({"manage"})},
                    {.name = "ops", .group = true, .id = 50, .rights = rights_of({"define:a*"})}},
          .owner = 900};
}

class CallersTest : public testing::Test {
 protected:
  core::AccessToken token(const std::string& name, const NewToken& made) {
    core::AccessToken out;
    out.id = made.id;
    out.name = name;
    out.hash = made.hash;
    out.rights = rights_of({"enqueue:mail-*"});
    return out;
  }
  base::Result<core::CallerRef> by_token(const std::string& text) {
    const std::string field = "Bearer " + text;
    return callers_.find({.loopback = true, .authorization = field}, kNow);
  }
  base::Result<core::CallerRef> by_user(uid_t uid, const std::vector<gid_t>& groups = {}) {
    return callers_.find({.unix_socket = true, .uid = uid, .groups = groups}, kNow);
  }

  Callers callers_{usual()};
};

TEST_F(CallersTest, OwnerAndRootHaveAllRights) {
  for (const uid_t uid : {uid_t{0}, uid_t{900}}) {
    const auto caller = by_user(uid);
    ASSERT_TRUE(caller);
    EXPECT_TRUE((*caller)->rights.has_everywhere(Right::admin));
  }
  EXPECT_EQ((*by_user(0))->name, "user:root");
}

// pitfalls NA11: by the groups of the connection, the primary one or another.
TEST_F(CallersTest, UsersAndGroupsHaveWhatTheTableGives) {
  EXPECT_TRUE((*by_user(1000))->rights.has_everywhere(Right::manage));
  EXPECT_FALSE((*by_user(1000))->rights.has(Right::define, "ab"));
  const auto both = by_user(1000, {7, 50});
  EXPECT_TRUE((*both)->rights.has_everywhere(Right::manage));
  EXPECT_TRUE((*both)->rights.has(Right::define, "ab"));
  EXPECT_FALSE((*by_user(1000, {7}))->rights.has(Right::define, "ab")) << "no longer in the group";
  EXPECT_EQ((*by_user(1001))->name, "anonymous");
  const auto foreign = by_user(65'534, {50});
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().message.find("65534"), std::string::npos);
}

TEST_F(CallersTest, AnAddressOfThisMachineIsAnonymous) {
  const auto caller = callers_.find({.loopback = true}, kNow);
  ASSERT_TRUE(caller);
  EXPECT_TRUE((*caller)->rights.has(Right::enqueue, "a"));
  EXPECT_FALSE((*caller)->rights.has_somewhere(Right::define));
}

// pitfalls NA13.
TEST_F(CallersTest, WhoeverComesThroughAProxyIsNobody) {
  EXPECT_EQ(callers_.find({.loopback = true, .forwarded = true}, kNow).error().code,
            Code::unauthorized);
  EXPECT_EQ(callers_.find({}, kNow).error().code, Code::unauthorized);
}

TEST_F(CallersTest, WhereItIsRequiredNobodyIsAnonymous) {
  Policy policy = usual();
  policy.required = true;
  const std::uint64_t before = callers_.generation();
  callers_.set_policy(policy);
  EXPECT_GT(callers_.generation(), before);
  EXPECT_FALSE(callers_.find({.loopback = true}, kNow));
  EXPECT_FALSE(by_user(1001));
  EXPECT_TRUE(by_user(1000));
  EXPECT_TRUE(by_user(0));
}

TEST_F(CallersTest, ATokenHasItsRightsWhicheverWayItComes) {
  const NewToken made = make_token();
  callers_.set_tokens({token("deploy", made)});
  const std::string field = "Bearer " + made.text;
  for (const Knock& knock : {Knock{.loopback = true, .authorization = field},
                             Knock{.loopback = true, .forwarded = true, .authorization = field},
                             Knock{.authorization = field},
                             Knock{.unix_socket = true, .uid = 0, .authorization = field}}) {
    const auto caller = callers_.find(knock, kNow);
    ASSERT_TRUE(caller) << caller.error().message;
    EXPECT_EQ((*caller)->name, "token:deploy");
    EXPECT_TRUE((*caller)->rights.has(Right::enqueue, "mail-a"));
    EXPECT_FALSE((*caller)->rights.has(Right::read, "mail-a"));
  }
}

// pitfalls NA1, NA9: the same answer, whatever is wrong; and nothing is not anybody.
TEST_F(CallersTest, ATokenThatDoesNotHoldIsNobody) {
  const NewToken made = make_token();
  const NewToken expired = make_token();
  const NewToken revoked = make_token();
  core::AccessToken old = token("old", expired);
  old.expires = kNow;
  core::AccessToken gone = token("gone", revoked);
  gone.revoked = kNow;
  callers_.set_tokens({token("deploy", made), old, gone});
  const auto wrong = by_token(make_secret_for(made.id).text);
  ASSERT_FALSE(wrong);
  for (const std::string& text : {make_token().text, expired.text, revoked.text, std::string(),
                                  std::string("   "), made.text + " "}) {
    const auto refused = by_token(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, Code::unauthorized);
    EXPECT_EQ(refused.error().message, wrong.error().message);
    EXPECT_EQ(refused.error().remedy, wrong.error().remedy);
  }
  for (const std::string& field : {std::string(), std::string("Bearer"), std::string("Basic eDp5"),
                                   "bearer " + made.text, made.text}) {
    for (const bool unix_socket : {false, true}) {
      EXPECT_FALSE(callers_.find(
          {.unix_socket = unix_socket, .uid = 0, .loopback = true, .authorization = field}, kNow))
          << field;
    }
  }
}

TEST_F(CallersTest, AfterARotationBothSecretsHoldForAWhile) {
  const NewToken before = make_token();
  const NewToken after = make_secret_for(before.id);
  core::AccessToken rotated = token("deploy", after);
  rotated.old_hash = before.hash;
  rotated.old_until = kNow + base::Millis{1000};
  callers_.set_tokens({rotated});
  ASSERT_TRUE(by_token(after.text));
  EXPECT_FALSE((*by_token(after.text))->until);
  const auto old = by_token(before.text);
  ASSERT_TRUE(old);
  EXPECT_EQ((*old)->until, rotated.old_until);
  rotated.old_until = kNow;
  callers_.set_tokens({rotated});
  EXPECT_FALSE(by_token(before.text));
}

}  // namespace
}  // namespace rq::access
