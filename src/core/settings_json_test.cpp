#include "core/settings_json.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "core/json_fields.h"

namespace rq::core {
namespace {

namespace json = boost::json;

json::object parsed(std::string_view text) { return json::parse(text).as_object(); }

TEST(SettingsJson, DefaultsSurviveTheRoundTrip) {
  const QueueSettings standard;
  const auto back = merge_settings(QueueSettings{}, to_json(standard));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, standard);
}

TEST(SettingsJson, EveryFieldSurvivesTheRoundTrip) {
  QueueSettings s;
  s.script = "/bin/true";
  s.exec_prefix = "bash -lc";
  s.num_workers = 7;
  s.env_vars = {{"B", "2"}, {"A", "1"}};
  s.env_allow = {"PATH", "HOME"};
  s.user = "nobody";
  s.nice = -3;
  s.limits = {
      .memory_bytes = 1, .cpu_seconds = 2, .open_files = 3, .file_bytes = 4, .processes = 5};
  s.success = Success::word;
  s.timeout = Millis{1500};
  s.grace = Millis{250};
  s.lease = Millis{100};
  s.retries = 3;
  s.losses = 0;
  s.backoff = {
      .kind = BackoffKind::fixed, .base = Millis{1}, .max = Millis{2}, .jitter_percent = 0};
  s.max_count = 1;
  s.keep_done = {.age = Millis{1000}, .count = 0};
  s.keep_err = {.age = Millis{2000}, .count = 9};
  s.sync = SyncClass::relaxed;
  s.priority = -5;
  s.put_over_tcp = false;
  s.messages_max = 10;
  s.payload_bytes_max = 1024;
  // Through text, as it is stored.
  const auto back = merge_settings(QueueSettings{}, parsed(json::serialize(to_json(s))));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, s);
}

TEST(SettingsJson, ChangesKeepWhatTheyDoNotName) {
  QueueSettings before;
  before.script = "/bin/a";
  before.limits.open_files = 64;
  const auto after = merge_settings(before, parsed(R"({"nice":5,"limits":{"cpu_s":9}})"));
  ASSERT_TRUE(after);
  EXPECT_EQ(after->script, "/bin/a");
  EXPECT_EQ(after->nice, 5);
  EXPECT_EQ(after->limits.open_files, 64);
  EXPECT_EQ(after->limits.cpu_seconds, 9);
}

// faults.md D2, relative: whoever puts there says what runs.
TEST(SettingsJson, AQueueOfCommandLinesTakesNoneOverTcpUnlessItIsSaid) {
  const auto commands = merge_settings(QueueSettings{}, parsed(R"({"script":"@exec-payload"})"));
  ASSERT_TRUE(commands) << commands.error().message;
  EXPECT_FALSE(commands->put_over_tcp);
  const auto open =
      merge_settings(*commands, parsed(R"({"script":"@exec-payload","put_over_tcp":true})"));
  ASSERT_TRUE(open) << open.error().message;
  EXPECT_TRUE(open->put_over_tcp);
  EXPECT_TRUE(merge_settings(*open, parsed(R"({"nice":1})"))->put_over_tcp) << "it stays as it is";
}

TEST(SettingsJson, NullBringsBackTheDefault) {
  QueueSettings before;
  before.lease = Millis{5000};
  before.limits.open_files = 64;
  before.backoff.jitter_percent = 50;
  const auto after =
      merge_settings(before, parsed(R"({"lease_s":null,"limits":null,"backoff":null})"));
  ASSERT_TRUE(after);
  EXPECT_EQ(*after, QueueSettings{});
}

TEST(SettingsJson, UnknownFieldsAreRefusedByName) {
  for (const char* text : {R"({"num_worker":1})", R"({"limits":{"num_worker":1}})",
                           R"({"backoff":{"num_worker":1}})", R"({"keep_err":{"num_worker":1}})"}) {
    const auto out = merge_settings(QueueSettings{}, parsed(text));
    ASSERT_FALSE(out) << text;
    EXPECT_EQ(out.error().code, base::Code::unknown_field) << text;
    EXPECT_NE(out.error().message.find("'num_worker'"), std::string::npos) << out.error().message;
  }
}

TEST(SettingsJson, ReadsAsPeopleWriteIt) {
  const char* const text = R"({"a":[0.05,1.5,[],{}],"b":{"c":"x\"y","d":null},"e":-7})";
  EXPECT_EQ(plain_json(boost::json::parse(text)), text);
}

TEST(SettingsJson, ANumberIsShownAsPeopleWriteIt) {  // faults.md C2, relative: it was 4E-4
  const auto out = merge_settings(QueueSettings{}, parsed(R"({"timeout_s":0.0004})"));
  ASSERT_FALSE(out);
  EXPECT_NE(out.error().message.find("timeout_s: 0.0004 "), std::string::npos)
      << out.error().message;
}

TEST(SettingsJson, WrongKindsAndValuesAreRefused) {
  for (const char* text : {R"({"script":1})",
                           R"({"num_workers":"1"})",
                           R"({"num_workers":-1})",
                           R"({"num_workers":1.5})",
                           R"({"env_vars":[]})",
                           R"({"env_vars":{"A":1}})",
                           R"({"env_vars":{"A=B":"1"}})",
                           R"({"env_allow":{}})",
                           R"({"env_allow":[1]})",
                           R"({"nice":20})",
                           R"({"limits":5})",
                           R"({"limits":{"cpu_s":-1}})",
                           R"({"timeout_s":-1})",
                           R"({"timeout_s":0.0004})",
                           R"({"keep_err":{"age_s":1e-9}})",
                           R"({"lease_s":0})",
                           R"({"lease_s":1e300})",
                           R"({"sync":"maybe"})",
                           R"({"sync":true})",
                           R"({"backoff":{"kind":"linear"}})",
                           R"({"backoff":{"jitter_percent":101}})",
                           R"({"priority":18446744073709551615})",
                           R"({"keep_done":{"count":-1}})",
                           R"({"script":"a\u0000b"})"}) {
    const auto out = merge_settings(QueueSettings{}, parsed(text));
    ASSERT_FALSE(out) << text;
    EXPECT_EQ(out.error().code, base::Code::bad_value) << text;
    EXPECT_FALSE(out.error().remedy.empty()) << text;
  }
}

TEST(SettingsJson, TellsWhichSettingsDiffer) {
  const QueueSettings before;
  QueueSettings after;
  EXPECT_EQ(changed_names(before, after), "");
  after.retries = 3;
  after.limits.open_files = 256;
  after.env_vars = {{"PASSWORD", "secret"}};
  after.keep_done.count = 7;
  EXPECT_EQ(changed_names(before, after), "env_vars, limits.open_files, retries, keep_done.count");
}

TEST(SettingsJson, SomeOfWhatAQueueMayHaveCannotBeGivenAnyMore) {
  QueueSettings given;
  EXPECT_TRUE(check_given(given));
  given.limits.memory_bytes = 1024 * 1024;
  EXPECT_TRUE(check_given(given));
  given.limits.memory_bytes -= 1;
  EXPECT_TRUE(check(given)) << "one that has it keeps it";
  const auto little = check_given(given);
  ASSERT_FALSE(little);
  EXPECT_EQ(little.error().code, base::Code::bad_value);
  EXPECT_NE(little.error().message.find("limits.memory_bytes"), std::string::npos);
  given.limits.memory_bytes = 0;
  given.env_vars = {{"RQ_X", "1"}};
  EXPECT_FALSE(check_given(given));
  given.env_vars.clear();
  given.env_allow = {"RQ_HOST"};
  EXPECT_FALSE(check_given(given));
}

}  // namespace
}  // namespace rq::core
