// Who may call, and what is kept of what they change.
#include <gtest/gtest.h>

#include "store/contract/engine_rig.h"

namespace rq::store::contract {
namespace {

using core::ChangeToken;
using core::TokensListed;

class TokensTest : public EngineSuite {};
class AuditTest : public EngineSuite {};
class RightsTest : public EngineSuite {};

core::CallerRef caller(std::string_view rights) {
  return std::make_shared<const core::Caller>(core::Caller{.name = "user:joe",
                                                           .whence = "192.0.2.7",
                                                           .rights = *core::Rights::parse(rights),
                                                           .until = {}});
}

ChangeToken create(const std::string& name, std::string_view rights = "read") {
  ChangeToken change;
  change.token.name = name;
  change.token.id = "id-" + name;
  change.token.hash.fill(1);
  change.token.rights = *core::Rights::parse(rights);
  return change;
}

ChangeToken of(ChangeToken::What what, const std::string& name) {
  ChangeToken change{.what = what};
  change.token.id = "id-" + name;
  change.token.hash.fill(2);
  return change;
}

std::vector<core::AuditEntry> audit_of(Rig& rig) { return *rig.home().reader()->audit({}); }

TEST_P(TokensTest, AreKeptWithWhoMadeThem) {
  Rig rig{GetParam()};
  rig.caller = caller("admin, read");
  const auto made = rig.ask<TokensListed>(create("deploy"));
  ASSERT_EQ(made.tokens.size(), 1U);
  EXPECT_EQ(made.id, "id-deploy");
  EXPECT_EQ(made.tokens[0].maker, "user:joe");
  EXPECT_EQ(made.tokens[0].created, rig.now);
  rig.crash();
  const auto after = rig.ask<TokensListed>(core::ListTokens{});
  EXPECT_EQ(after.tokens, made.tokens);
}

// pitfalls NA9.
TEST_P(TokensTest, HaveAtMostTheRightsOfTheirMaker) {
  Rig rig{GetParam()};
  rig.caller = caller("admin, enqueue:mail-*");
  EXPECT_EQ(rig.ask<TokensListed>(create("a", "enqueue:mail-a")).tokens.size(), 1U);
  for (const char* beyond : {"read", "enqueue", "enqueue:mail*"}) {
    const Error refused = rig.refused(create("b", beyond));
    EXPECT_EQ(refused.code, Code::forbidden) << beyond;
    EXPECT_NE(refused.message.find(beyond), std::string::npos) << refused.message;
  }
  rig.caller = caller("admin");
  EXPECT_EQ(rig.refused(of(ChangeToken::What::rotate, "a")).code, Code::forbidden)
      << "a new secret is as good as a new token";
}

TEST_P(TokensTest, WhatCannotBeOneIsRefused) {
  Rig rig{GetParam()};
  EXPECT_EQ(rig.refused(create("a b")).code, Code::bad_name);
  EXPECT_EQ(rig.refused(create("a", "")).code, Code::bad_value);
  ChangeToken over = create("a");
  over.token.expires = rig.now;
  EXPECT_EQ(rig.refused(over).code, Code::bad_value);
  rig.ask<TokensListed>(create("a"));
  EXPECT_EQ(rig.refused(create("a")).code, Code::exists);
  EXPECT_EQ(rig.refused(of(ChangeToken::What::revoke, "b")).code, Code::not_found);
}

TEST_P(TokensTest, ANameIsFreeAgainWhenItsTokenHoldsNoMore) {
  Rig rig{GetParam()};
  rig.ask<TokensListed>(create("a"));
  const auto revoked = rig.ask<TokensListed>(of(ChangeToken::What::revoke, "a"));
  EXPECT_EQ(revoked.tokens[0].revoked, rig.now);
  EXPECT_EQ(rig.refused(of(ChangeToken::What::rotate, "a")).code, Code::not_found);
  ChangeToken next = create("a");
  next.token.id = "id-next";
  EXPECT_EQ(rig.ask<TokensListed>(next).tokens.size(), 2U) << "it is shown for a while";
  rig.now += core::kAccessTokenShown;
  EXPECT_EQ(rig.ask<TokensListed>(create("b")).tokens.size(), 2U) << "and makes room";
}

TEST_P(TokensTest, ARotationKeepsTheOldSecretForAWhile) {
  Rig rig{GetParam()};
  rig.ask<TokensListed>(create("a"));
  ChangeToken rotate = of(ChangeToken::What::rotate, "a");
  rotate.overlap = seconds{60};
  rig.ask<TokensListed>(rotate);
  rig.reopen();
  const auto token = rig.ask<TokensListed>(core::ListTokens{}).tokens.at(0);
  EXPECT_EQ(token.hash.front(), 2);
  EXPECT_EQ(token.old_hash->front(), 1);
  EXPECT_EQ(token.old_until, rig.now + seconds{60});
}

TEST_P(AuditTest, TellsWhoChangedWhatFromWhere) {
  Rig rig{GetParam()};
  rig.caller = caller("enqueue, work, read, manage, define, admin");
  rig.define("q");
  core::QueueSettings settings;
  settings.retries = 5;
  rig.define("q", settings);
  rig.define("q", settings);  // changes nothing
  rig.ask<core::QueueShown>(core::SetAdmin{.queue = "q", .admin = core::Admin::pause, .lasts = {}});
  rig.ask<core::QueueShown>(core::SetAdmin{.queue = "q", .admin = core::Admin::up, .lasts = {}});
  const core::Seq seq = rig.put("q");
  static_cast<void>(rig.act(core::Action::cancel, seq));
  EXPECT_FALSE(rig.act(core::Action::run_now, seq)) << "what is refused changes nothing";
  rig.ask<core::Ok>(core::DeleteQueue{.queue = "q", .force = true});
  std::vector<std::string> told;
  for (const core::AuditEntry& entry : audit_of(rig)) {
    EXPECT_EQ(entry.who, "user:joe");
    EXPECT_EQ(entry.whence, "192.0.2.7");
    EXPECT_EQ(entry.at, rig.now);
    told.push_back(
        fmt::format("{} {}: {} -> {}", entry.what, entry.subject, entry.before, entry.after));
  }
  const std::string number = std::to_string(seq);
  EXPECT_EQ(told, (std::vector<std::string>{
                      "queue deleted q: {\"messages\":1} -> ",
                      "message cancel " + number + ": {\"state\":\"que\"} -> {\"messages\":1}",
                      "queue admin q: \"pause\" -> \"up\"", "queue admin q: \"up\" -> \"pause\"",
                      "queue changed q: {\"retries\":" +
                          std::to_string(core::QueueSettings{}.retries) + "} -> {\"retries\":5}",
                      "queue created q:  -> {}"}));
}

// pitfalls NA2.
TEST_P(AuditTest, OfATokenItHasNoSecret) {
  Rig rig{GetParam()};
  rig.caller = caller("admin, read");
  rig.ask<TokensListed>(create("a"));
  rig.ask<TokensListed>(of(ChangeToken::What::rotate, "a"));
  rig.ask<core::Ok>(of(ChangeToken::What::used, "a"));
  rig.ask<TokensListed>(of(ChangeToken::What::revoke, "a"));
  const auto entries = audit_of(rig);
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[2].what, "token created");
  EXPECT_EQ(entries[2].after, R"({"id":"id-a","rights":"read"})");
  EXPECT_EQ(entries[1].what, "token rotated");
  EXPECT_EQ(entries[0].what, "token revoked");
  EXPECT_EQ(entries[0].subject, "a");
}

TEST_P(AuditTest, WhatNobodyAskedForIsNotInIt) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  rig.ask<core::QueueShown>(
      core::SetAdmin{.queue = "q", .admin = core::Admin::pause, .lasts = seconds{1}});
  rig.caller = caller("read");
  rig.pass(seconds{2});
  EXPECT_EQ(rig.queue("q").queue->admin, core::Admin::up);
  EXPECT_TRUE(audit_of(rig).empty());
}

TEST_P(AuditTest, IsKeptByAge) {
  Rig rig{GetParam()};
  rig.caller = caller("define");
  rig.define("a");
  rig.now += seconds{10};
  rig.define("b");
  rig.ask<core::Ok>(core::ForgetAudit{.before = rig.now});
  const auto entries = audit_of(rig);
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].subject, "b");
}

core::CallerRef named(const std::string& name, std::string_view rights) {
  return std::make_shared<const core::Caller>(core::Caller{
      .name = name, .whence = "", .rights = *core::Rights::parse(rights), .until = {}});
}

core::Reserve reserve_for(const std::string& holder, const std::string& queue) {
  core::Reserve reserve = Rig::reserve_of({{.queue = queue}});
  reserve.holder = holder;
  return reserve;
}

// pitfalls NA7.
TEST_P(RightsTest, OnlyWhoHoldsALeaseEndsIt) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  const auto a = named("token:a", "work");
  const auto b = named("token:b", "work");
  rig.caller = a;
  const auto taken = rig.ask<core::Reserved>(reserve_for("token:a", "q")).messages;
  ASSERT_EQ(taken.size(), 1U);
  rig.crash();  // who it is outlives the server
  rig.caller = b;
  EXPECT_EQ(rig.finish(taken[0], core::Outcome::done).error().code, Code::forbidden);
  EXPECT_EQ(rig.heartbeat({.token = Rig::token_of(taken[0])}).error().code, Code::forbidden);
  EXPECT_EQ(rig.refused(core::Duplicate{.token = Rig::token_of(taken[0]), .queue = "q"}).code,
            Code::forbidden);
  EXPECT_EQ(rig.state(taken[0].seq), State::run);
  EXPECT_EQ(audit_of(rig).at(0).what, "lease refused");
  rig.caller = a;
  EXPECT_TRUE(rig.heartbeat({.token = Rig::token_of(taken[0])}));
  rig.caller = named("user:joe", "manage:q");
  EXPECT_TRUE(rig.finish(taken[0], core::Outcome::release)) << "who may manage it";
}

TEST_P(RightsTest, ALeaseOfNobodyInParticularIsEndedByAnyWorker) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  const auto taken = rig.take("q");
  rig.caller = named("token:a", "work:other");
  EXPECT_EQ(rig.finish(taken[0], core::Outcome::done).error().code, Code::forbidden);
  rig.caller = named("token:a", "work:q");
  EXPECT_TRUE(rig.finish(taken[0], core::Outcome::done));
}

// pitfalls NA6.
TEST_P(RightsTest, AreLookedAtWhereTheMessageIs) {
  Rig rig{GetParam()};
  rig.define("mine");
  rig.define("other");
  const core::Seq mine = rig.put("mine");
  const core::Seq other = rig.put("other");
  rig.caller = named("token:a", "manage:mine, enqueue:mine, work:mine");
  EXPECT_EQ(rig.act(core::Action::cancel, other).error().code, Code::not_found);
  EXPECT_EQ(rig.act(core::Action::cancel, other).error().message,
            "there is no message " + std::to_string(other));
  EXPECT_EQ(rig.act(core::Action::move, mine, "other").error().code, Code::not_found);
  EXPECT_EQ(rig.refused(Rig::reserve_of({{.queue = "mine"}, {.queue = "other"}})).code,
            Code::not_found);
  core::Reserve very = Rig::reserve_of({});
  very.only = other;
  EXPECT_EQ(rig.refused(very).code, Code::not_found);
  rig.caller = named("token:a", "manage:mine, read");
  EXPECT_EQ(rig.act(core::Action::cancel, other).error().code, Code::forbidden) << "it is seen";
  EXPECT_EQ(rig.act(core::Action::move, mine, "other").error().code, Code::forbidden)
      << "into a queue that it may not put into";
  EXPECT_EQ(rig.state(mine), State::que);
}

TEST_P(RightsTest, AKeyTellsNothingOfWhatMayNotBeRead) {
  Rig rig{GetParam()};
  rig.define("mine");
  rig.define("other");
  core::Put put = Rig::put_of("other");
  put.message.detail().key = "k";
  const core::Seq seq = rig.ask<core::PutDone>(std::move(put)).seq;
  rig.caller = named("token:a", "enqueue");
  core::Put again = Rig::put_of("mine");
  again.message.detail().key = "k";
  const Error refused = rig.refused(std::move(again));
  EXPECT_EQ(refused.code, Code::exists);
  EXPECT_EQ(refused.message.find("other"), std::string::npos) << refused.message;
  EXPECT_EQ(refused.message.find(std::to_string(seq) + " "), std::string::npos) << refused.message;
}

// pitfalls NA5.
TEST_P(RightsTest, WhoWaitsByATokenGetsNothingOnceItIsRevoked) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.ask<TokensListed>(create("a", "work"));
  core::Reserve waiting = reserve_for("token:a", "q");
  waiting.wait_until = base::Instant::max();
  const auto request = rig.submit(waiting, 7);
  rig.run();
  EXPECT_FALSE(rig.answered(request));
  rig.ask<TokensListed>(of(ChangeToken::What::revoke, "a"));
  EXPECT_EQ(rig.reply<Error>(request).code, Code::unauthorized);
  const core::Seq seq = rig.put("q");
  EXPECT_EQ(rig.state(seq), State::que);
}

INSTANTIATE_TEST_SUITE_P(Stores, RightsTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, TokensTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, AuditTest, testing::ValuesIn(all_stores()), factory_name);

}  // namespace
}  // namespace rq::store::contract
