#include "doors/api/json_in.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "doors/api/json_reader.h"
#include "doors/api/put_reader.h"
#include "doors/api/query.h"

namespace rq::doors::api {
namespace {

using base::Code;

boost::json::object parsed(std::string_view text) { return boost::json::parse(text).as_object(); }

base::Result<core::Put> put_of(std::string_view text, std::string_view queue = "q") {
  return put_from_json(parsed(text), queue, text);
}

TEST(PutFromJson, ReadsEveryField) {
  const auto put = put_of(
      R"({"payload":"p","key":"k","dest":"d","src":"s","orig_id":"o","param1":"1",
                 "param2":"2","param3":"3","param4":"4","content_type":"text/plain","priority":-7,
                 "delay_s":1.5,"count":1,"max_count":2,"retries":3,
                 "backoff":{"kind":"fixed","base_s":1},"timeout_s":4,"lease_s":5,
                 "tags":["a","b","a"],"headers":{"x":"y","a":"b"},"webhooks":["http://h/"],
                 "force_remote":true,"prep":true})",
      "mail");
  ASSERT_TRUE(put) << put.error().message;
  const core::Details& d = put->message.detail_or_default();
  EXPECT_EQ(put->queue, "mail");
  EXPECT_EQ(put->message.payload, "p");
  EXPECT_EQ(d.key, "k");
  EXPECT_EQ(d.param4, "4");
  EXPECT_EQ(put->priority, -7);
  EXPECT_EQ(put->delay, base::Millis{1500});
  EXPECT_EQ(put->message.count, 1);
  EXPECT_EQ(put->max_count, 2);
  EXPECT_EQ(d.retries, 3);
  EXPECT_EQ(d.backoff->kind, core::BackoffKind::fixed);
  EXPECT_EQ(put->message.lease_length, base::Millis{5000});
  EXPECT_EQ(d.tags, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(d.headers, (core::TextPairs{{"x", "y"}, {"a", "b"}}));
  EXPECT_TRUE(d.force_remote);
  EXPECT_TRUE(put->prep);
}

TEST(PutFromJson, APlainPutHasNoDetails) {
  const auto put = put_of(R"({"payload":"p","key":null})");
  ASSERT_TRUE(put);
  EXPECT_EQ(put->message.details, nullptr);
}

TEST(PutFromJson, PayloadComesInThreeForms) {
  EXPECT_EQ(put_of(R"({"payload_base64":"/wA="})")->message.payload, std::string("\xFF\0", 2));
  const auto json = put_of(R"({"payload_json":{"a":[1,null]}})");
  EXPECT_EQ(json->message.payload, R"({"a":[1,null]})");
  EXPECT_EQ(json->message.detail_or_default().content_type, "application/json");
  EXPECT_EQ(put_of(R"({"payload":"a","payload_json":1})").error().code, Code::bad_value);
}

// faults.md D8
TEST(PutFromJson, CarriesJsonAsItCame) {
  for (const std::string_view value :
       {R"([1e400,123456789012345678901234567890,19.99])",
        R"({ "b" : 1.0,"a":-0e+00, "b":"\u0041" })", "19.900", "null", R"("a\/b")", "[]"}) {
    const std::string text = std::string{R"({"key":"k", "payload_json" : )"}.append(value) + " }";
    const auto put = put_of(text);
    ASSERT_TRUE(put) << put.error().message;
    EXPECT_EQ(put->message.payload, value);
    PutReader reader;
    reader.feed(text);
    JsonReader json;
    const auto large = reader.finish(json, "q");
    ASSERT_TRUE(large);
    EXPECT_EQ(large->message.payload, value);
  }
  EXPECT_EQ(put_of(R"({"payload\u005fjson":1e400})")->message.payload, "1e400");
}

// faults.md D8, relative
TEST(FinishFromJson, CarriesAResultAsItCame) {
  const auto result_of = [](const std::string& value) {
    const std::string text = R"({"token":"1.1.1","outcome":"done","result":)" + value + "}";
    auto item = finish_from_json(parsed(text));
    EXPECT_TRUE(item) << item.error().message;
    EXPECT_TRUE(carry_result(*item, text));
    return item->result;
  };
  EXPECT_EQ(result_of("[1e400, 19.99]"), "[1e400, 19.99]");
  EXPECT_EQ(result_of(R"({"n":123456789012345678901234567890})"),
            R"({"n":123456789012345678901234567890})");
  EXPECT_EQ(result_of(R"("a\u0041")"), "aA") << "a text is carried as text";
  EXPECT_EQ(result_of("null"), std::nullopt);
}

TEST(PutFromJson, RefusalsNameTheField) {
  const auto unknown = put_of(R"({"paylaod":"p"})");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::unknown_field);
  EXPECT_NE(unknown.error().message.find("'paylaod'"), std::string::npos);
  const auto wrong = put_of(R"({"priority":"high"})");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message, "priority: \"high\" is not a whole number");
}

TEST(PutFromQuery, ReadsNumbersListsAndTexts) {
  const auto query =
      Query::parse("param1=12&priority=3&tags=a,b&headers=%7B%22h%22:%22v%22%7D&prep=1&due=5");
  ASSERT_TRUE(query);
  const auto put = put_from_query(*query, "q", "image/png", "bytes");
  ASSERT_TRUE(put) << put.error().message;
  EXPECT_EQ(put->message.detail_or_default().param1, "12");
  EXPECT_EQ(put->priority, 3);
  EXPECT_EQ(put->message.detail_or_default().tags.size(), 2U);
  EXPECT_EQ(put->message.detail_or_default().content_type, "image/png");
  EXPECT_EQ(put->due, base::from_ms(5000));
  EXPECT_TRUE(put->prep);
  EXPECT_EQ(put->message.payload, "bytes");
}

TEST(ReserveFromJson, QueuesAreNamesOrObjects) {
  const auto reserve = reserve_from_json(
      parsed(R"({"queues":["a",{"queue":"b","limit":2}],"limit":5,"wait_s":2,"lease_s":0.5})"),
      base::from_ms(1000));
  ASSERT_TRUE(reserve) << reserve.error().message;
  EXPECT_EQ(reserve->queues->at(1).queue, "b");
  EXPECT_EQ(reserve->queues->at(1).limit, 2);
  EXPECT_EQ(reserve->limit, 5);
  EXPECT_EQ(reserve->wait_until, base::from_ms(3000));
  EXPECT_EQ(reserve->lease, base::Millis{500});
}

TEST(ReserveFromJson, WithoutWaitThereIsNone) {
  const auto reserve = reserve_from_json(parsed(R"({"queues":["a"],"wait_s":0})"), base::Instant{});
  ASSERT_TRUE(reserve);
  EXPECT_FALSE(reserve->wait_until);
}

TEST(FinishFromJson, AStringResultIsTextAndAnyOtherIsJson) {
  EXPECT_EQ(done_from_json(parsed(R"({"token":"1.2.3","result":"text"})"))->result, "text");
  EXPECT_EQ(done_from_json(parsed(R"({"token":"1.2.3","result":{"a":1}})"))->result, R"({"a":1})");
  EXPECT_FALSE(done_from_json(parsed(R"({"token":"1.2.3"})"))->result);
}

TEST(FinishFromJson, ErrCountsUnlessToldNotTo) {
  EXPECT_EQ(err_from_json(parsed(R"({"token":"1.2.3"})"))->outcome, core::Outcome::failed);
  EXPECT_EQ(err_from_json(parsed(R"({"token":"1.2.3","retry":false})"))->outcome,
            core::Outcome::err);
}

TEST(FinishFromJson, ThePostMortemIsKeptAsGiven) {
  const auto item =
      done_from_json(parsed(R"({"token":"1.2.3","post_mortem":{"exit_code":0,"wall_s":1.25}})"));
  ASSERT_TRUE(item);
  EXPECT_EQ(parsed(item->post_mortem).at("wall_s").as_double(), 1.25);
  EXPECT_EQ(done_from_json(parsed(R"({"token":"1.2.3","post_mortem":{"exit":0}})")).error().code,
            Code::unknown_field);
}

// faults.md B2, relative: an end that is refused leaves its message to the end of its lease.
TEST(FinishFromJson, WhatWasMeasuredMayBeAsLongAsAnythingRuns) {
  for (const char* seconds : {"0.0003", "1e-6", "0", "1e9"}) {
    const auto item = done_from_json(parsed(fmt::format(
        R"({{"token":"1.2.3","post_mortem":{{"wall_s":{0},"user_s":{0},"system_s":{0}}}}})",
        seconds)));
    EXPECT_TRUE(item) << seconds << ": " << item.error().message;
  }
  for (const char* seconds : {"\"long\"", "-0.001", "1e300", "1e11"}) {
    const auto item = done_from_json(
        parsed(fmt::format(R"({{"token":"1.2.3","post_mortem":{{"wall_s":{}}}}})", seconds)));
    ASSERT_FALSE(item) << seconds;
    EXPECT_EQ(item.error().code, Code::bad_value);
  }
}

// faults.md B2, relative
TEST(FinishFromJson, HowAScriptEndedIsWithinWhatAMachineKnows) {
  const auto reads = [](std::string_view end) {
    return done_from_json(parsed(fmt::format(R"({{"token":"1.2.3","post_mortem":{{{}}}}})", end)))
        .has_value();
  };
  for (const char* end : {R"("signal":1)", R"("signal":64)", R"("signal":"SIGSEGV")",
                          R"("exit_code":255)", R"("exit_code":-1073741819)"}) {
    EXPECT_TRUE(reads(end)) << end;
  }
  for (const char* end :
       {R"("signal":-1)", R"("signal":0)", R"("signal":65)", R"("signal":99999999999)",
        R"("signal":"")", R"("signal":"SIGSOMETHINGTHATNOMACHINEHASEVERHEARDOF")",
        R"("signal":1e300)", R"("exit_code":99999999999)", R"("exit_code":1.5)"}) {
    EXPECT_FALSE(reads(end)) << end;
  }
}

TEST(JsonReader, ValuesDoNotOutgrowTheirMemory) {
  JsonReader reader;
  for (int i = 0; i < 3; ++i) {
    const std::string text = "{\"a\":\"" + std::string(100'000, 'x') + "\"}";
    const auto value = reader.parse_object(text);
    ASSERT_TRUE(value);
    EXPECT_EQ((*value)->at("a").as_string().size(), 100'000U);
    EXPECT_FALSE(reader.parse("{\"a\":"));
    EXPECT_TRUE(reader.parse_object(""));
  }
}

TEST(JsonReader, DepthIsBounded) {
  JsonReader reader;
  const auto deep = reader.parse(std::string(100, '[') + std::string(100, ']'));
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().message, "the JSON is nested too deeply");
}

}  // namespace
}  // namespace rq::doors::api
