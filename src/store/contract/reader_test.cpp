// What every store's readers promise.
#include <gtest/gtest.h>

#include "base/limits.h"
#include "store/contract/store_rig.h"

namespace rq::store::contract {
namespace {

using core::Mark;

TEST_P(StoreReaders, ShowAMessageWithItsLeaseAndQueue) {
  Seq seq = 0;
  batch([&] {
    Message m = message(queue);
    m.detail().key = "k";
    m.payload = std::string(5000, 'x');
    seq = store->insert(std::move(m)).message.seq;
    lease(need(seq), 99);
  });
  for (const bool by_key : {false, true}) {
    auto row = by_key ? reader->message_by_key("k") : reader->message(seq);
    ASSERT_TRUE(row && row->has_value());
    EXPECT_EQ((*row)->queue, "q");
    EXPECT_EQ((*row)->message.seq, seq);
    EXPECT_EQ((*row)->message.state, State::run);
    EXPECT_EQ((*row)->message.payload.size(), 5000U) << "whole, when it is asked for alone";
    EXPECT_EQ((*row)->message.lease->until, base::from_ms(99));
  }
  EXPECT_FALSE(reader->message(seq + 1)->has_value());
  EXPECT_FALSE(reader->message_by_key("K")->has_value());
}

TEST_P(StoreReaders, ListByEachFilter) {
  Seq plain = 0, tagged = 0, err = 0, running = 0, later = 0, elsewhere = 0, prep = 0, done = 0;
  batch([&] {
    plain = put().message.seq;
    Message m = message(queue);
    m.detail().tags = {"blue", "red"};
    m.detail().key = "k";
    tagged = store->insert(std::move(m)).message.seq;
    err = put().message.seq;
    finish(need(err), State::err, 5, Mark::failed);
    running = put().message.seq;
    lease(need(running), 100);
    later = put_due(1'000'000'000).message.seq;
    elsewhere = store->insert(message(other)).message.seq;
    Message p = message(queue);
    p.state = State::prep;
    prep = store->insert(std::move(p)).message.seq;
    done = put().message.seq;
    finish(need(done), State::done, 6);
    count(queue, State::que, 2);
  });
  EXPECT_EQ(matching({}), (V{plain, tagged, err, running, later, elsewhere, prep, done}));
  EXPECT_EQ(matching({.queue = "q"}), (V{plain, tagged, err, running, later, prep, done}));
  EXPECT_EQ(matching({.queue = "other"}), V{elsewhere});
  EXPECT_EQ(matching({.states = {State::que}}), (V{plain, tagged, elsewhere}));
  EXPECT_EQ(matching({.queue = "q", .states = {State::que}}), (V{plain, tagged}));
  EXPECT_EQ(matching({.queue = "q", .states = {State::run}}), V{running});
  EXPECT_EQ(matching({.queue = "q", .states = {State::scheduled}}), V{later});
  EXPECT_EQ(matching({.queue = "q", .states = {State::prep}}), V{prep});
  EXPECT_EQ(matching({.queue = "q", .states = {State::err}}), V{err});
  EXPECT_EQ(matching({.queue = "q", .states = {State::done}}), V{done});
  EXPECT_EQ(matching({.queue = "q", .states = {State::cancelled}}), V{});
  EXPECT_EQ(matching({.states = {State::run}}), V{running});
  EXPECT_EQ(matching({.mark = Mark::failed}), V{err});
  EXPECT_EQ(matching({.queue = "other", .mark = Mark::none}), V{elsewhere});
  EXPECT_EQ(matching({.tag = "red"}), V{tagged});
  EXPECT_EQ(matching({.queue = "other", .tag = "red"}), V{});
  EXPECT_EQ(matching({.tag = "re"}), V{}) << "a whole tag";
  EXPECT_EQ(matching({.key = "k"}), V{tagged});
  EXPECT_EQ(matching({.after = base::from_ms(1'000'000 + err),
                      .before = base::from_ms(1'000'000 + later)}),
            (V{err, running}))
      << "from, and not up to";
  const auto unknown = reader->list({.filter = {.queue = "nowhere"}});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, base::Code::not_found);
}

TEST_P(StoreReaders, ListByTextAsItIsWritten) {
  Seq percent = 0, underscore = 0, backslash = 0, upper = 0, param = 0, result = 0;
  const auto with = [&](const std::string& payload) {
    Message m = message(queue);
    m.payload = payload;
    return store->insert(std::move(m)).message.seq;
  };
  batch([&] {
    percent = with("at 100% now");
    underscore = with("snake_case");
    backslash = with("C:\\dir");
    upper = with("LOUD");
    Message p = message(queue);
    p.detail().param3 = "needle";
    param = store->insert(std::move(p)).message.seq;
    Message r = message(queue);
    r.detail().result = "a needle too";
    result = store->insert(std::move(r)).message.seq;
    with("100 and snakeXcase");
  });
  EXPECT_EQ(matching({.text = "100%"}), V{percent});
  EXPECT_EQ(matching({.text = "snake_case"}), V{underscore});
  EXPECT_EQ(matching({.text = "c:\\D"}), V{backslash});
  EXPECT_EQ(matching({.text = "loud"}), V{upper});
  EXPECT_EQ(matching({.text = "needle"}), (V{param, result}));
  EXPECT_EQ(matching({.text = "%"}), V{percent});
  EXPECT_EQ(matching({.text = "'; DROP TABLE message; --"}), V{});
}

// faults.md B15, relative: what is counted by kind can be found by kind.
TEST_P(StoreReaders, ListByFingerprintOfWhatIsInErr) {
  Seq first = 0, second = 0;
  const auto with = [&](State state, const std::string& text) {
    Message m = message(queue);
    m.detail().progress = text;
    const Seq seq = store->insert(std::move(m)).message.seq;
    if (state == State::err) finish(need(seq), State::err, 5, Mark::failed);
    return seq;
  };
  batch([&] {
    first = with(State::err, "exit 3: no row 17");
    with(State::err, "exit 4: no row 17");
    second = with(State::err, "exit 3: no row 18");
    with(State::que, "exit 3: no row 19");
    with(State::err, "");
  });
  EXPECT_EQ(matching({.fingerprint = "exit 3: no row #"}), (V{first, second}));
  EXPECT_EQ(matching({.queue = "q", .states = {State::err}, .fingerprint = "exit 3: no row #"}),
            (V{first, second}));
  EXPECT_EQ(matching({.fingerprint = "exit 3"}), V{}) << "the whole of it";
}

TEST_P(StoreReaders, PagesFollowEachOtherBothWays) {
  std::vector<Seq> all;
  batch([&] {
    for (int i = 0; i < 25; ++i) all.push_back(put().message.seq);
    count(queue, State::que, 25);
  });
  for (const bool by_state : {false, true}) {
    for (const bool newest_first : {false, true}) {
      std::vector<Seq> seen;
      Page page{.limit = 10, .newest_first = newest_first};
      page.filter.queue = "q";
      if (by_state) page.filter.states = {State::que};
      for (int pages = 0; pages < 5; ++pages) {
        auto listed = reader->list(page);
        ASSERT_TRUE(listed);
        EXPECT_FALSE(listed->cut);
        for (const MessageRow& row : listed->rows) seen.push_back(row.message.seq);
        if (!listed->cursor) break;
        page.cursor = *listed->cursor;
      }
      std::vector<Seq> expected = all;
      if (newest_first) std::reverse(expected.begin(), expected.end());
      EXPECT_EQ(seen, expected);
    }
  }
}

// faults.md C11: a search for an action finds each message once, in the order of the numbers.
TEST_P(StoreReaders, ASearchFindsEachOfASetThatGrowsMeanwhileOnce) {
  std::vector<Seq> tagged, others;
  const auto with = [&](State state, bool tag) {
    Message m = message(queue);
    m.state = state;
    if (tag) m.detail().tags = {"t"};
    (tag ? tagged : others).push_back(store->insert(std::move(m)).message.seq);
  };
  batch([&] {
    for (int i = 0; i < 12; ++i) {
      with(State::que, true);
      with(State::prep, false);
    }
    count(queue, State::que, 12);
    count(queue, State::prep, 12);
  });
  const auto search = [&](core::Filter filter, bool grows) {
    std::vector<Seq> seen;
    core::Search next{.filter = std::move(filter), .limit = 5};
    for (int pages = 0; pages < 10; ++pages) {
      const auto page = reader->find(next);
      EXPECT_TRUE(page);
      for (const core::Found& found : page->found) {
        EXPECT_EQ(found.queue, queue);
        seen.push_back(found.seq);
      }
      if (!page->after) return seen;
      next.after = *page->after;
      next.until = page->until;
      if (grows) {
        batch([&] { put(); });
      }
    }
    ADD_FAILURE() << "it never ends";
    return seen;
  };
  EXPECT_EQ(search({.tag = "t"}, false), tagged);
  EXPECT_EQ(search({.tag = "other"}, false), V{});
  EXPECT_EQ(search({.queue = "q", .states = {State::prep}}, false), others);
  EXPECT_EQ(search({.states = {State::prep}, .tag = "t"}, false), V{});
  EXPECT_EQ(search({.states = {State::prep, State::que}, .tag = "t"}, false), tagged);
  EXPECT_EQ(search({.states = {State::prep}}, true), others);
  std::vector<Seq> all = tagged;
  all.insert(all.end(), others.begin(), others.end());
  std::sort(all.begin(), all.end());
  std::vector<Seq> seen = search({}, true);
  seen.resize(std::min(seen.size(), all.size()));
  EXPECT_EQ(seen, all);
  EXPECT_EQ(reader->find({.filter = {.queue = "nowhere"}}).error().code, base::Code::not_found);
}

TEST_P(StoreReaders, APageThatEndsWithTheListHasNoCursor) {
  batch([&] {
    for (int i = 0; i < 10; ++i) put();
  });
  EXPECT_FALSE(reader->list({.limit = 10})->cursor.has_value());
  EXPECT_TRUE(reader->list({.limit = 9})->cursor.has_value());
}

TEST_P(StoreReaders, PayloadsInAListAreCutAndTheirLengthIsTold) {
  batch([&] {
    Message m = message(queue);
    m.payload = std::string(5000, 'x');
    store->insert(std::move(m));
  });
  auto with = reader->list({});
  ASSERT_EQ(with->rows.size(), 1U);
  EXPECT_LT(with->rows[0].message.payload.size(), 5000U);
  EXPECT_GT(with->rows[0].message.payload.size(), 0U);
  EXPECT_EQ(with->rows[0].payload_bytes, 5000);
  auto without = reader->list({.payloads = false});
  EXPECT_EQ(without->rows.at(0).message.payload, "");
  EXPECT_EQ(without->rows.at(0).payload_bytes, 5000);
}

// A search that finds little looks at a bounded number of rows and says where to go on.
TEST_P(StoreReaders, ASearchIsCutAtItsBoundAndGoesOnFromThere) {
  const auto n = static_cast<std::int64_t>(base::kListScanMax) + 5000;
  Seq first = 0, last = 0;
  begin();
  for (std::int64_t i = 0; i < n; ++i) {
    Message m = message(queue);
    m.payload = i == 0 || i == n - 1 ? "needle" : "x";
    const Seq seq = store->insert(std::move(m)).message.seq;
    if (i == 0) first = seq;
    last = seq;
    if (i % 20'000 == 19'999) {
      commit(Sync::none);
      begin();
    }
  }
  commit(Sync::none);
  for (const bool newest_first : {false, true}) {
    Page page{.filter = {.text = "needle"}, .newest_first = newest_first};
    auto part = reader->list(page);
    ASSERT_TRUE(part);
    EXPECT_TRUE(part->cut);
    ASSERT_EQ(part->rows.size(), 1U);
    EXPECT_EQ(part->rows[0].message.seq, newest_first ? last : first);
    ASSERT_TRUE(part->cursor);
    page.cursor = *part->cursor;
    auto rest = reader->list(page);
    ASSERT_TRUE(rest);
    EXPECT_FALSE(rest->cut);
    ASSERT_EQ(rest->rows.size(), 1U);
    EXPECT_EQ(rest->rows[0].message.seq, newest_first ? first : last);
    EXPECT_FALSE(rest->cursor.has_value());
  }
}

TEST_P(StoreReaders, CountHowManyGoFirst) {
  Seq last = 0;
  batch([&] {
    put();
    put(5);
    last = put().message.seq;
    put();
  });
  const auto row = reader->message(last);
  EXPECT_EQ(reader->ahead_of(**row, 100).value(), 2);
  EXPECT_EQ(reader->ahead_of(**row, 1).value(), 1);
}

TEST_P(StoreReaders, TheOldestReadyIsTheOneThatWaitedLongestWhateverItsPriority) {
  EXPECT_FALSE(reader->oldest_ready(queue)->has_value());
  Seq oldest = 0;
  batch([&] {
    lease(put(9), 100);
    oldest = put(-5).message.seq;
    put(7);
    put(0);
  });
  const auto at = reader->oldest_ready(queue);
  ASSERT_TRUE(at && at->has_value());
  EXPECT_EQ(**at, base::from_ms(1'000'000 + oldest));
}

TEST_P(StoreReaders, SeeEachCommitAtOnce) {
  Seq seq = 0;
  batch([&] { seq = put().message.seq; }, Sync::none);
  EXPECT_EQ((*reader->message(seq))->message.state, State::que);
  batch([&] { lease(need(seq), 100); }, Sync::none);
  EXPECT_EQ((*reader->message(seq))->message.state, State::run);
  batch([&] { store->erase(need(seq)); }, Sync::none);
  EXPECT_FALSE(reader->message(seq)->has_value());
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Stores, StoreReaders, testing::ValuesIn(all_stores()), factory_name);

}  // namespace rq::store::contract
