// faults.md D8, relative: of a field that is there twice one value was lost without a word.
#include "doors/api/strict_parser.h"

#include <gtest/gtest.h>

#include <string>

#include <boost/json/serialize.hpp>

#include "doors/api/json_reader.h"

namespace rq::doors::api {
namespace {

namespace json = boost::json;

base::Result<json::value> parse(std::string_view text, std::size_t piece_bytes) {
  StrictParser parser({});
  boost::system::error_code error;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view piece = rest.substr(0, piece_bytes);
    rest.remove_prefix(piece.size());
    parser.write(true, piece, error);
    EXPECT_FALSE(error) << text << ": " << error.message();
  }
  parser.write(false, {}, error);
  EXPECT_FALSE(error) << text << ": " << error.message();
  return parser.release(text);
}

TEST(StrictParser, AFieldThatIsThereTwiceIsNamedHoweverTheTextIsCut) {
  struct Row {
    const char* text;
    const char* field;
  };
  for (const Row& row :
       {Row{R"({"payload":"a","key":"k","payload":"b"})", "payload"},
        Row{R"({"a":{"open_files":1,"open_files":1}})", "open_files"},
        Row{R"([{"a":1},{"b":1,"b":2}])", "b"}, Row{R"({"a":{"x":1,"y":2},"a":5})", "a"},
        Row{R"({"key":1,"k\u0065y":2})", "key"},
        Row{R"({"payload_json":{"z":1},"c":[{"d":1,"d":1}]})", "d"},
        Row{R"({"result":1,"result":2})", "result"}}) {
    for (const std::size_t bytes : {1UL, 3UL, 1000UL}) {
      const auto value = parse(row.text, bytes);
      ASSERT_FALSE(value) << row.text;
      EXPECT_EQ(value.error().code, base::Code::bad_value);
      EXPECT_NE(value.error().message.find("'" + std::string(row.field) + "'"), std::string::npos)
          << value.error().message;
    }
  }
}

TEST(StrictParser, OneFieldInManyObjectsAndWhatIsCarriedIsLeftAsItStands) {
  for (const char* text :
       {R"([{"a":1},{"a":{"a":{"a":[]}}}])", R"({"payload_json":{"a":1,"b":[{"c":1}]},"a":2})",
        R"({"items":[{"result":{"token":1}},{"token":2}]})", R"({"":1," ":2})", "17", "null"}) {
    for (const std::size_t bytes : {1UL, 1000UL}) {
      const auto value = parse(text, bytes);
      ASSERT_TRUE(value) << text << ": " << value.error().message;
      EXPECT_EQ(json::serialize(*value), text);
    }
  }
  EXPECT_TRUE(parse(R"({"payload_json":{"a":1,"a":2}})", 1));
  EXPECT_TRUE(parse(R"({"items":[{"result":[{"a":1,"a":2}],"token":"t"}]})", 1000));
}

TEST(StrictParser, TheReaderRefusesAndReadsOn) {
  JsonReader reader;
  EXPECT_FALSE(reader.parse(R"({"a":1,"a":2})"));
  EXPECT_TRUE(reader.parse(R"({"a":1,"b":2})"));
  EXPECT_FALSE(reader.parse(R"({"a":{"b":)"));
  EXPECT_TRUE(reader.parse(R"({"a":{"a":2}})"));
}

}  // namespace
}  // namespace rq::doors::api
