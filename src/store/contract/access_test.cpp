// Tokens and the audit list: what every store promises of them.
#include <gtest/gtest.h>

#include "store/contract/store_rig.h"

namespace rq::store::contract {
namespace {

using core::AccessToken;
using core::AuditEntry;
using core::AuditPage;

class AccessContract : public StoreContract {
 protected:
  static AccessToken token(const std::string& id) {
    AccessToken out;
    out.id = id;
    out.name = "deploy";
    out.hash.fill(7);
    out.hash[1] = 0;
    out.rights = *core::Rights::parse("enqueue:mail-*, read");
    out.created = base::from_ms(5);
    out.maker = "user:root";
    return out;
  }
  static AuditEntry entry(std::int64_t at, const std::string& subject = "mail") {
    return {.id = 0,
            .at = base::from_ms(at),
            .who = "user:joe",
            .whence = "192.0.2.7",
            .what = "queue changed",
            .subject = subject,
            .before = "{\"retries\":1}",
            .after = ""};
  }
  std::vector<AccessToken> tokens() {
    auto all = store->access_tokens();
    EXPECT_TRUE(all);
    return all ? *std::move(all) : std::vector<AccessToken>{};
  }
  std::vector<std::int64_t> times(const AuditPage& page = {}) {
    std::vector<std::int64_t> out;
    const auto found = home->reader()->audit(page);
    EXPECT_TRUE(found);
    for (const AuditEntry& one : *found) out.push_back(base::to_ms(one.at));
    return out;
  }
  using Times = std::vector<std::int64_t>;
};

TEST_P(AccessContract, TokensComeBackAsTheyWere) {
  AccessToken plain = token("aaa");
  AccessToken full = token("bbb");
  full.expires = base::from_ms(9);
  full.revoked = base::from_ms(8);
  full.old_hash = full.hash;
  full.old_hash->back() = 1;
  full.old_until = base::from_ms(7);
  full.used = base::from_ms(6);
  full.used_from = "192.0.2.7";
  batch([&] {
    store->keep(plain);
    store->keep(full);
  });
  EXPECT_EQ(tokens(), (std::vector{plain, full}));
  crash();
  EXPECT_EQ(tokens(), (std::vector{plain, full}));
  plain.used = base::from_ms(10);
  batch([&] {
    store->keep(plain);
    store->forget_token("bbb");
    store->forget_token("never was");
  });
  reopen();
  EXPECT_EQ(tokens(), std::vector{plain});
}

TEST_P(AccessContract, OfABatchThatFailsNothingIsThere) {
  begin();
  store->keep(token("aaa"));
  store->append(entry(1));
  abort();
  EXPECT_TRUE(tokens().empty());
  batch([] {});
  EXPECT_EQ(times(), Times{});
}

TEST_P(AccessContract, TheAuditListIsReadFromItsEnd) {
  batch([&] {
    for (std::int64_t at = 1; at <= 5; ++at) store->append(entry(at, at == 3 ? "other" : "mail"));
  });
  crash();
  EXPECT_EQ(times(), (Times{5, 4, 3, 2, 1}));
  EXPECT_EQ(times({.limit = 2}), (Times{5, 4}));
  const auto page = home->reader()->audit({.limit = 2});
  EXPECT_EQ(times({.cursor = page->back().id, .limit = 2}), (Times{3, 2}));
  EXPECT_EQ(times({.subject = "other"}), Times{3});
  EXPECT_EQ(times({.who = "user:jo"}), Times{});
  AuditEntry wanted = entry(3, "other");
  const auto one = home->reader()->audit({.who = "user:joe", .subject = "other"});
  wanted.id = one->front().id;
  EXPECT_EQ(one->front(), wanted);
}

TEST_P(AccessContract, OldEntriesGoTheOldestFirst) {
  batch([&] {
    for (std::int64_t at = 1; at <= core::kAuditForgottenMax + 5; ++at) store->append(entry(at));
  });
  batch([&] { store->forget_audit(base::from_ms(4)); });
  EXPECT_EQ(times({.limit = 10'000}).size(),
            static_cast<std::size_t>(core::kAuditForgottenMax) + 2);
  EXPECT_EQ(times({.limit = 10'000}).back(), 4);
  batch([&] { store->forget_audit(base::from_ms(1'000'000)); });
  EXPECT_EQ(times(), (Times{core::kAuditForgottenMax + 5, core::kAuditForgottenMax + 4}))
      << "so many in one commit";
}

TEST_P(AccessContract, ALeaseRemembersWhoTookIt) {
  core::Seq seq = 0;
  batch([&] {
    seq = put().message.seq;
    Record& record = need(seq);
    lease(record, 99);
    record.message.lease->holder = "token:deploy";
    store->changed(record, Change::place);
  });
  crash();
  begin({.numbers = {{seq}}});
  EXPECT_EQ((*store->find(seq))->message.lease->holder, "token:deploy");
  commit(Sync::none);
  EXPECT_EQ((*home->reader()->message(seq))->message.lease->holder, "token:deploy");
}

INSTANTIATE_TEST_SUITE_P(Stores, AccessContract, testing::ValuesIn(all_stores()), factory_name);

}  // namespace
}  // namespace rq::store::contract
