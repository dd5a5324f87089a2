#include "doors/api/put_reader.h"

#include <gtest/gtest.h>

#include <string>

#include "base/base64.h"
#include "base/limits.h"
#include "doors/api/json_reader.h"
#include "doors/api/limits.h"

namespace rq::doors::api {
namespace {

using base::Code;

base::Result<core::Put> read(std::string_view text, std::size_t piece) {
  PutReader reader;
  JsonReader json;
  for (std::size_t at = 0; at < text.size(); at += piece) reader.feed(text.substr(at, piece));
  return reader.finish(json, "mail");
}

TEST(PutReader, ReadsTheSameInAnyPieces) {
  constexpr std::string_view kText =
      "\xEF\xBB\xBF { \"key\" : \"k\\\"},\" , \"payload\":\"a\\u00e4\\n\xC3\xA4]}\" ,\n"
      "\"tags\":[\"a,\",\"}\"],\"headers\":{\"h\":\"v\"} } ";
  for (std::size_t piece = 1; piece <= kText.size(); ++piece) {
    const auto put = read(kText, piece);
    ASSERT_TRUE(put) << piece << put.error().message;
    EXPECT_EQ(put->queue, "mail");
    EXPECT_EQ(put->message.payload, "a\xC3\xA4\n\xC3\xA4]}");
    EXPECT_EQ(put->message.detail_or_default().key, "k\"},");
    EXPECT_EQ(put->message.detail_or_default().tags, (std::vector<std::string>{"a,", "}"}));
    EXPECT_EQ(put->message.detail_or_default().headers, (core::TextPairs{{"h", "v"}}));
  }
}

TEST(PutReader, APayloadOfJsonIsCarriedAsItCame) {
  constexpr std::string_view kJson = R"({"a" :[19.99,123456789012345678901234567890, "x"]})";
  for (std::size_t piece = 1; piece < 20; ++piece) {
    const auto put = read("{\"payload_json\": " + std::string(kJson) + " ,\"priority\":3}", piece);
    ASSERT_TRUE(put) << put.error().message;
    EXPECT_EQ(put->message.payload, kJson);
    EXPECT_EQ(put->message.detail_or_default().content_type, "application/json");
    EXPECT_EQ(put->priority, 3);
  }
  EXPECT_EQ(read(R"({"payload_json":null})", 1)->message.payload, "null");
}

TEST(PutReader, ReadsBase64) {
  const std::string bytes(100'000, '\xFF');
  const auto put = read("{\"payload_base64\":\"" + base::to_base64(bytes) + "\"}", 1000);
  ASSERT_TRUE(put) << put.error().message;
  EXPECT_EQ(put->message.payload, bytes);
  EXPECT_EQ(read(R"({"payload_base64":"?"})", 3).error().code, Code::bad_value);
}

TEST(PutReader, RefusesWhatIsNoMessage) {
  for (const char* text :
       {"", "{", "{\"a\"", "{\"payload\":\"x\"", "{\"payload\":}", "{\"payload\" \"x\"}", "{,}",
        "{\"payload\":\"x\",}", "{\"payload\":\"x\"}}", "{\"payload\":\"x\"} x",
        "{\"payload\":\"\\x\"}", "{\"payload_json\":[1,}", "{\"payload_json\":}", "{\"key\":[}",
        "{payload:1}"}) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{100}}) {
      const auto put = read(text, piece);
      ASSERT_FALSE(put) << text;
      EXPECT_EQ(put.error().code, Code::bad_request) << text << ": " << put.error().message;
    }
  }
  EXPECT_EQ(read("[1]", 1).error().code, Code::bad_value);
  EXPECT_EQ(read(R"({"paylaod":"p"})", 1).error().code, Code::unknown_field);
  EXPECT_EQ(read(R"({"payload":5})", 1).error().code, Code::bad_value);
  for (const char* two : {R"({"payload":"a","payload_json":1})", R"({"payload":"a","payload":"b"})",
                          R"({"payload":"a","pay\u006coad":"b"})"}) {
    EXPECT_EQ(read(two, 1).error().code, Code::bad_value) << two;
  }
}

TEST(PutReader, ASecondPayloadIsRefusedHoweverItsNameIsWritten) {
  for (const char* other : {R"("payload")", R"("payload_base64")", R"("payl\u006fad")",
                            R"("payload\u005fbase64")", R"("payload\u005fjson")"}) {
    const std::string text = R"({"payload":"x",)" + std::string(other) + R"(:""})";
    EXPECT_EQ(read(text, 65536).error().code, Code::bad_value) << text;
  }
  EXPECT_TRUE(read(R"({"payload":"x","payload\u005fbase64":null})", 65536));
}

TEST(PutReader, HoldsNoMoreThanAMessageMayHave) {  // faults.md D12
  const std::string most(base::kPayloadBytesMax, 'x');
  EXPECT_TRUE(read("{\"payload\":\"" + most + "\"}", 65536));
  for (const char* field : {"payload", "payload_json"}) {
    const std::string text = std::string("{\"") + field + "\":\"" + std::string(33 << 20, 'x');
    EXPECT_EQ(read(text, 65536).error().code, Code::too_large) << field;
  }
  std::string ones = "{\"payload\":\"x\",\"tags\":[1";
  for (std::size_t i = 0; i < kPutRestValuesMax; ++i) ones += ",1";
  EXPECT_EQ(read(ones + "]}", 65536).error().code, Code::too_many);
  EXPECT_EQ(read("{\"key\":\"" + std::string(kPutRestBytesMax, 'x') + "\"}", 65536).error().code,
            Code::too_large);
  std::string deep = "{\"payload_json\":";
  for (int i = 0; i < 100; ++i) deep += '[';
  EXPECT_EQ(read(deep, 65536).error().code, Code::bad_request);
}

}  // namespace
}  // namespace rq::doors::api
