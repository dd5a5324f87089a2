#include "pipeline/readers.h"

#include <gtest/gtest.h>

#include <future>
#include <utility>

namespace rq::pipeline {
namespace {

// A reader whose look-ups take until they are told to stop.
class EndlessReader : public core::Reader {
 public:
  void stop_when(std::function<bool()> stop) override { stop_ = std::move(stop); }
  base::Result<std::optional<core::MessageRow>> message(core::Seq) override {
    return std::optional<core::MessageRow>{};
  }
  base::Result<std::optional<core::MessageRow>> message_by_key(std::string_view) override {
    return std::optional<core::MessageRow>{};
  }
  base::Result<std::vector<core::Attempt>> attempts(core::Seq) override {
    return std::vector<core::Attempt>{};
  }
  base::Result<core::Listed> list(const core::Page&) override {
    while (!stop_()) std::this_thread::yield();
    return base::fail(base::Code::timed_out, "stopped");
  }
  base::Result<core::FoundPage> find(const core::Search&) override { return core::FoundPage{}; }
  base::Result<std::int64_t> ahead_of(const core::MessageRow&, std::int64_t) override { return 0; }
  base::Result<std::optional<base::Instant>> oldest_ready(core::QueueId) override {
    return std::optional<base::Instant>{};
  }
  base::Result<std::vector<std::string>> waste(std::string_view, std::int64_t) override {
    return std::vector<std::string>{};
  }

 private:
  std::function<bool()> stop_;
};

// A reader that meets a damaged message in each look-up.
class DamagedReader final : public EndlessReader {
 public:
  std::vector<core::Suspect> take_damaged() override { return {{.seq = 7, .unreadable = true}}; }
};

Readers::Views views(int count) {
  Readers::Views out;
  for (int i = 0; i < count; ++i) out.push_back(std::make_unique<EndlessReader>());
  return out;
}

// A look-up that lasts, and what comes of it.
struct Search {
  std::shared_ptr<Wanted> wanted = std::make_shared<Wanted>();
  std::promise<void> begun;
  std::promise<base::Code> ended;

  Readers::Lookup lookup() {
    return [this](core::Reader& reader) {
      begun.set_value();
      const auto listed = reader.list({});
      ended.set_value(listed ? base::Code::internal : listed.error().code);
    };
  }
};

// faults.md D10
TEST(Readers, SearchesKeepNobodyElseWaiting) {
  Readers readers(views(1), views(1));
  Search search;
  ASSERT_TRUE(readers.post(search.lookup(), Readers::Kind::search, search.wanted));
  search.begun.get_future().wait();
  std::promise<void> quick;
  ASSERT_TRUE(readers.post([&quick](core::Reader&) { quick.set_value(); }));
  quick.get_future().wait();
  search.wanted->give_up();
  EXPECT_EQ(search.ended.get_future().get(), base::Code::timed_out);
}

// faults.md D10, relative
TEST(Readers, PagesOfManyKeepNobodyWaitingWhoLooksForOne) {
  std::vector<Search> pages(4);
  Readers readers(views(2));
  for (Search& page : pages) {
    ASSERT_TRUE(readers.post(page.lookup(), Readers::Kind::page, page.wanted));
  }
  pages.front().begun.get_future().wait();
  for (int i = 0; i < 8; ++i) {
    std::promise<void> quick;
    ASSERT_TRUE(readers.post([&quick](core::Reader&) { quick.set_value(); }));
    quick.get_future().wait();
  }
}

TEST(Readers, NobodyWaitsForAPageBecauseOthersLookForOne) {
  Search page;
  Readers readers(views(2));
  ASSERT_TRUE(readers.post(page.lookup(), Readers::Kind::page, page.wanted));
  page.begun.get_future().wait();
  std::promise<void> hold;
  const std::shared_future<void> held = hold.get_future();
  std::vector<std::promise<void>> quick(4);
  for (std::promise<void>& one : quick) {
    ASSERT_TRUE(readers.post([&one, held](core::Reader&) {
      held.wait();
      one.set_value();
    }));
  }
  hold.set_value();
  for (std::promise<void>& one : quick) one.get_future().wait();
}

// faults.md D10
TEST(Readers, ASearchEndsWhenNobodyWaitsForIt) {
  Readers readers(views(1), views(1));
  Search first;
  Search second;
  bool second_ran = false;
  ASSERT_TRUE(readers.post(first.lookup(), Readers::Kind::search, first.wanted));
  first.begun.get_future().wait();
  ASSERT_TRUE(readers.post([&second_ran](core::Reader&) { second_ran = true; },
                           Readers::Kind::search, second.wanted));
  second.wanted->give_up();  // while it waits
  first.wanted->give_up();   // while it runs
  EXPECT_EQ(first.ended.get_future().get(), base::Code::timed_out);
  std::promise<void> third;
  ASSERT_TRUE(readers.post([&third](core::Reader&) { third.set_value(); }, Readers::Kind::search));
  third.get_future().wait();
  EXPECT_FALSE(second_ran);
}

// faults.md D10
TEST(Readers, StopEndsWhatRunsAndLeavesOutTheRest) {
  Readers readers(views(1));
  Search search;
  bool ran = false;
  ASSERT_TRUE(readers.post(search.lookup()));
  search.begun.get_future().wait();
  ASSERT_TRUE(readers.post([&ran](core::Reader&) { ran = true; }));
  readers.stop();
  EXPECT_EQ(search.ended.get_future().get(), base::Code::timed_out);
  EXPECT_FALSE(ran);
  EXPECT_FALSE(readers.post([](core::Reader&) {}));
}

TEST(Readers, SearchesThatWaitAreBounded) {
  Search search;
  Readers readers(views(1), views(1));
  ASSERT_TRUE(readers.post(search.lookup(), Readers::Kind::search, search.wanted));
  search.begun.get_future().wait();
  int taken = 0;
  while (taken < 10'000 && readers.post([](core::Reader&) {}, Readers::Kind::search)) ++taken;
  EXPECT_GE(taken, 10);
  EXPECT_LT(taken, 10'000);
}

// faults.md D3, relative
TEST(Readers, TellOfWhatTheyFindDamaged) {
  Readers::Views damaged;
  damaged.push_back(std::make_unique<DamagedReader>());
  Readers readers(std::move(damaged));
  std::promise<std::vector<core::Suspect>> told;
  readers.on_damage(
      [&told](std::vector<core::Suspect>&& suspects) { told.set_value(std::move(suspects)); });
  ASSERT_TRUE(readers.post([](core::Reader& reader) { EXPECT_TRUE(reader.message(7)); }));
  const auto suspects = told.get_future().get();
  ASSERT_EQ(suspects.size(), 1U);
  EXPECT_EQ(suspects[0].seq, 7);
}

}  // namespace
}  // namespace rq::pipeline
