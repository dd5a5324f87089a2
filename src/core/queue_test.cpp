#include "core/queue.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>

#include "base/limits.h"

namespace rq::core {
namespace {

using std::chrono::hours;

RC_GTEST_PROP(Backoff, StaysWithinItsBoundsAndDrawsTheSameAgain, ()) {
  const Backoff backoff{
      .kind = *rc::gen::element(BackoffKind::fixed, BackoffKind::exponential),
      .base = Millis{*rc::gen::inRange<std::int64_t>(0, Millis{base::kDelayMax}.count())},
      .max = Millis{*rc::gen::inRange<std::int64_t>(0, Millis{base::kDelayMax}.count())},
      .jitter_percent = *rc::gen::inRange(0, 101)};
  const auto failures = *rc::gen::inRange<std::int64_t>(1, base::kCountMax);
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const Millis delay = delay_after(backoff, failures, seed);
  RC_ASSERT(delay >= Millis{0});
  RC_ASSERT(delay.count() <=
            backoff.max.count() + backoff.max.count() * backoff.jitter_percent / 100);
  RC_ASSERT(delay == delay_after(backoff, failures, seed));
}

TEST(Backoff, ExponentialDoublesUpToTheMaximum) {
  const Backoff b{.kind = BackoffKind::exponential,
                  .base = Millis{1000},
                  .max = Millis{5000},
                  .jitter_percent = 0};
  EXPECT_EQ(delay_after(b, 1, 1), Millis{1000});
  EXPECT_EQ(delay_after(b, 2, 1), Millis{2000});
  EXPECT_EQ(delay_after(b, 3, 1), Millis{4000});
  EXPECT_EQ(delay_after(b, 4, 1), Millis{5000});
  EXPECT_EQ(delay_after(b, 1'000'000, 1), Millis{5000});
}

TEST(Backoff, FixedStaysWhereItIs) {
  const Backoff b{
      .kind = BackoffKind::fixed, .base = Millis{700}, .max = Millis{5000}, .jitter_percent = 0};
  EXPECT_EQ(delay_after(b, 1, 1), Millis{700});
  EXPECT_EQ(delay_after(b, 50, 1), Millis{700});
}

TEST(Backoff, JitterSpreadsOverItsWholeRange) {
  const Backoff b{
      .kind = BackoffKind::fixed, .base = Millis{1000}, .max = Millis{1000}, .jitter_percent = 20};
  Millis least{10'000};
  Millis most{0};
  for (std::uint64_t seed = 0; seed < 5000; ++seed) {
    const Millis delay = delay_after(b, 1, seed);
    least = std::min(least, delay);
    most = std::max(most, delay);
  }
  EXPECT_GE(least, Millis{800});
  EXPECT_LT(least, Millis{805});
  EXPECT_LE(most, Millis{1200});
  EXPECT_GT(most, Millis{1195});
}

TEST(QueueSettings, TheDefaultsAreAllowed) { EXPECT_TRUE(check(QueueSettings{})); }

TEST(QueueSettings, EveryValueOutOfBoundsIsRefusedByItsName) {
  struct Case {
    const char* field;
    std::function<void(QueueSettings&)> spoil;
    base::Code code = base::Code::bad_value;
  };
  using S = QueueSettings;
  const Case cases[] = {
      {"script", [](S& s) { s.script = std::string("a\0b", 3); }},
      {"script", [](S& s) { s.script.assign(base::kScriptBytesMax + 1, 'x'); },
       base::Code::too_large},
      {"exec_prefix", [](S& s) { s.exec_prefix.assign(base::kScriptBytesMax + 1, 'x'); },
       base::Code::too_large},
      {"num_workers", [](S& s) { s.num_workers = -1; }},
      {"num_workers", [](S& s) { s.num_workers = base::kWorkersMax + 1; }},
      {"env_vars",
       [](S& s) {
         s.env_vars = {{"", "x"}};
       }},
      {"env_vars",
       [](S& s) {
         s.env_vars = {{"A=B", "x"}};
       }},
      {"env_vars.A",
       [](S& s) {
         s.env_vars = {{"A", std::string("\0", 1)}};
       }},
      {"env_vars.A",
       [](S& s) {
         s.env_vars = {{"A", std::string(base::kEnvVarBytesMax + 1, 'x')}};
       },
       base::Code::too_large},
      {"env_vars",
       [](S& s) {
         s.env_vars.assign(base::kEnvVarsMax + 1, {"A", "x"});
       },
       base::Code::too_many},
      {"env_allow", [](S& s) { s.env_allow = {""}; }},
      {"env_allow", [](S& s) { s.env_allow = {"A=B"}; }},
      {"user", [](S& s) { s.user = std::string("a\0b", 3); }},
      {"nice", [](S& s) { s.nice = -21; }},
      {"nice", [](S& s) { s.nice = 20; }},
      {"limits.memory_bytes", [](S& s) { s.limits.memory_bytes = -1; }},
      {"limits.cpu_s", [](S& s) { s.limits.cpu_seconds = -1; }},
      {"limits.open_files", [](S& s) { s.limits.open_files = -1; }},
      {"limits.file_bytes", [](S& s) { s.limits.file_bytes = -1; }},
      {"limits.processes", [](S& s) { s.limits.processes = -1; }},
      {"timeout_s", [](S& s) { s.timeout = Millis{-1}; }},
      {"timeout_s", [](S& s) { s.timeout = base::kLeaseMax + hours{1}; }},
      {"grace_s", [](S& s) { s.grace = Millis{-1}; }},
      {"lease_s", [](S& s) { s.lease = Millis{99}; }},
      {"lease_s", [](S& s) { s.lease = base::kLeaseMax + hours{1}; }},
      {"retries", [](S& s) { s.retries = -1; }},
      {"retries", [](S& s) { s.retries = base::kCountMax + 1; }},
      {"losses", [](S& s) { s.losses = -1; }},
      {"backoff.base_s", [](S& s) { s.backoff.base = Millis{-1}; }},
      {"backoff.max_s", [](S& s) { s.backoff.max = base::kDelayMax + hours{1}; }},
      {"backoff.jitter_percent", [](S& s) { s.backoff.jitter_percent = 101; }},
      {"backoff.jitter_percent", [](S& s) { s.backoff.jitter_percent = -1; }},
      {"max_count", [](S& s) { s.max_count = -1; }},
      {"keep_done.age_s", [](S& s) { s.keep_done.age = Millis{-1}; }},
      {"keep_done.count", [](S& s) { s.keep_done.count = -1; }},
      {"keep_err.age_s", [](S& s) { s.keep_err.age = base::kRetentionMax + hours{1}; }},
      {"keep_err.count", [](S& s) { s.keep_err.count = -1; }},
      {"priority", [](S& s) { s.priority = base::kPriorityMax + 1; }},
      {"priority", [](S& s) { s.priority = base::kPriorityMin - 1; }},
      {"messages_max", [](S& s) { s.messages_max = -1; }},
      {"payload_bytes_max", [](S& s) { s.payload_bytes_max = -1; }},
      {"payload_bytes_max",
       [](S& s) { s.payload_bytes_max = static_cast<std::int64_t>(base::kPayloadBytesMax) + 1; }},
  };
  for (const Case& c : cases) {
    QueueSettings settings;
    c.spoil(settings);
    const auto refused = check(settings);
    ASSERT_FALSE(refused) << c.field;
    EXPECT_EQ(refused.error().code, c.code) << refused.error().message;
    EXPECT_NE(refused.error().message.find(c.field), std::string::npos)
        << c.field << ": " << refused.error().message;
    EXPECT_FALSE(refused.error().remedy.empty()) << c.field;
  }
}

TEST(QueueSettings, TheBoundsThemselvesAreAllowed) {
  QueueSettings s;
  s.num_workers = base::kWorkersMax;
  s.nice = 19;
  s.lease = base::kLeaseMin;
  s.timeout = base::kLeaseMax;
  s.retries = base::kCountMax;
  s.backoff = {
      .kind = BackoffKind::fixed, .base = Millis{0}, .max = base::kDelayMax, .jitter_percent = 100};
  s.priority = base::kPriorityMin;
  s.payload_bytes_max = static_cast<std::int64_t>(base::kPayloadBytesMax);
  s.keep_done = {.age = base::kRetentionMax, .count = INT64_MAX};
  const auto ok = check(s);
  EXPECT_TRUE(ok) << ok.error().message;
}

// faults.md D4
TEST(Folders, HaveNamesThatAFileSystemTakes) {
  Queue queue;
  queue.id = 7;
  Message message;
  message.seq = 9;
  queue.name = "a%2Fb";
  EXPECT_EQ(folder_of(queue, message), "queue/a%2Fb/" + format_id(message));
  for (int i = 0; i < 200; ++i) queue.name += "%2F";
  const std::string folder = folder_of(queue, message);
  const std::string part = folder.substr(6, folder.rfind('/') - 6);
  EXPECT_LE(part.size(), 255U);
  EXPECT_TRUE(part.ends_with("~7"));
}

TEST(Names, OfAdminStatesAndSyncClassesReadBack) {
  for (const Admin a : {Admin::up, Admin::pause, Admin::drain, Admin::down}) {
    EXPECT_EQ(admin_of(name_of(a)), a);
  }
  for (const Success s : {Success::by_use, Success::word, Success::exit})
    EXPECT_EQ(success_of(name_of(s)), s);
  for (const SyncClass s : {SyncClass::always, SyncClass::relaxed})
    EXPECT_EQ(sync_of(name_of(s)), s);
  EXPECT_EQ(admin_of("UP"), std::nullopt);
  EXPECT_EQ(sync_of("never"), std::nullopt);
  EXPECT_EQ(success_of("by_use"), std::nullopt);
}

TEST(Counters, UnfinishedAreAllThatStillHaveWorkAhead) {
  Counters c;
  std::int64_t next = 1;
  std::int64_t expected = 0;
  for (int s = 0; s < kStateCount; ++s) {
    c.in(static_cast<State>(s)) = next;
    if (!is_finished(static_cast<State>(s))) expected += next;
    next *= 2;
  }
  EXPECT_EQ(c.unfinished(), expected);
}

}  // namespace
}  // namespace rq::core
