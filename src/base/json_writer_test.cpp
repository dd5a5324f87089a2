#include "base/json_writer.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace rq::base {
namespace {

std::string json_of(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonString, EscapesWhatMustBe) {
  EXPECT_EQ(json_of("a\"b\\c\n\r\t\x01\x7F"), R"("a\"b\\c\n\r\t\u0001\u007f")");
  EXPECT_EQ(json_of("häß€😀"), "\"häß€😀\"");
}

TEST(JsonString, WhatIsNoUtf8IsReplaced) {
  EXPECT_EQ(json_of("a\xFFz"), "\"a\xEF\xBF\xBDz\"");
  EXPECT_EQ(json_of("\xC3"), "\"\xEF\xBF\xBD\"");
  EXPECT_EQ(json_of("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST(JsonString, AnyBytesMakeValidJson) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    bytes += static_cast<char>(i);
    bytes += static_cast<char>(255 - i);
  }
  boost::system::error_code error;
  boost::json::parse(json_of(bytes), error);
  EXPECT_FALSE(error) << error.message();
}

// It is looked at eight bytes at a time: each byte is seen at each place.
TEST(JsonString, EachByteIsEscapedWhereverItStands) {
  for (int i = 0; i < 128; ++i) {
    const std::string one(1, static_cast<char>(i));
    const std::string quoted = json_of(one);
    const std::string escaped = quoted.substr(1, quoted.size() - 2);
    EXPECT_EQ(escaped == one, i >= 0x20 && i < 0x7F && i != '"' && i != '\\') << i;
    for (std::size_t before = 0; before < 10; ++before) {
      for (std::size_t after = 0; after < 10; ++after) {
        const std::string left(before, 'l');
        const std::string right(after, '~');
        ASSERT_EQ(json_of(left + one + right), '"' + left + escaped + right + '"') << i;
      }
    }
  }
}

TEST(JsonObject, WritesEachKindOfField) {
  std::string out;
  JsonObject object(out);
  object.text("text", "a\"b");
  object.number("number", -7);
  object.boolean("boolean", true);
  object.instant("instant", from_ms(0));
  object.seconds("whole", Millis{2'000});
  object.seconds("part", Millis{250});
  object.null("null");
  object.raw("raw", "[1]");
  object.close();
  EXPECT_EQ(out,
            R"({"text":"a\"b","number":-7,"boolean":true,"instant":"1970-01-01T00:00:00.000Z",)"
            R"("whole":2,"part":0.25,"null":null,"raw":[1]})");
}

TEST(JsonObject, WithoutFieldsIsEmpty) {
  std::string out;
  JsonObject(out).close();
  EXPECT_EQ(out, "{}");
}

}  // namespace
}  // namespace rq::base
