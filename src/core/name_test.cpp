#include "core/name.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "base/limits.h"

namespace rq::core {
namespace {

const std::string kLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+/;.$_()";

rc::Gen<std::string> foreign_names() {
  return rc::gen::suchThat(
      rc::gen::container<std::string>(rc::gen::elementOf(kLetters)), [](const std::string& t) {
        return !t.empty() && t.front() != '-' && t.size() <= base::kNameBytesMax;
      });
}

RC_GTEST_PROP(EscapedName, IsAQueueNameAndComesBack, ()) {
  const std::string name = *foreign_names();
  const auto queue = escaped_queue_name(name);
  RC_ASSERT(queue.has_value());
  RC_ASSERT(check_queue_name(*queue).has_value());
  RC_ASSERT(unescaped_queue_name(*queue) == name);
  RC_ASSERT(queue->find('/') == std::string::npos);
  RC_ASSERT(queue->front() != '.');
}

RC_GTEST_PROP(QueueName, OneThatIsAllowedStandsForExactlyOneName, ()) {
  const auto pieces = *rc::gen::nonEmpty(rc::gen::container<std::vector<std::string>>(
      rc::gen::element<std::string>("a", "Z", "9", ".", "-", "_", "%2E", "%2B", "%2F", "%28")));
  std::string name;
  for (const std::string& piece : pieces) name += piece;
  if (!check_queue_name(name)) return;
  const auto back = escaped_queue_name(unescaped_queue_name(name));
  RC_ASSERT(back.has_value());
  RC_ASSERT(*back == name);
}

TEST(QueueName, TakesWhatNeedsNoEscape) {
  for (const char* name :
       {"a", "mail", "A.b_c-d:e", "0", "_x", ":x", "x%2Fy", "%2Ehidden", "%24"}) {
    const auto ok = check_queue_name(name);
    EXPECT_TRUE(ok) << name << ": " << (ok ? "" : ok.error().message);
  }
  EXPECT_TRUE(check_queue_name(std::string(base::kNameBytesMax, 'x')));
}

TEST(QueueName, EveryRefusalNamesTheCharacterAndTheRemedy) {
  const struct {
    std::string name;
    std::string named;
  } cases[] = {
      {"a/b", "'/'"},        {"..", "'.'"},
      {".a", "'.'"},         {"-a", "'-'"},
      {"a b", "' '"},        {"a\nb", "\\x0a"},
      {"a%", "'%'"},         {"a%2", "'%'"},
      {"a%41", "'%'"},       {"a%2f", "'%'"},
      {"a%2Eb", "'%'"},      {"a+b", "'+'"},
      {"\xc3\xa4", "\\xc3"}, {std::string("a\0b", 3), "\\x00"},
      {"", "empty"},         {"a'b", "'''"},
      {"a\"b", "'\"'"},      {"a\\b", "'\\'"},
      {"a*b", "'*'"},        {std::string(base::kNameBytesMax + 1, 'x'), "201"},
  };
  for (const auto& c : cases) {
    const auto refused = check_queue_name(c.name);
    ASSERT_FALSE(refused) << c.name;
    EXPECT_EQ(refused.error().code, base::Code::bad_name) << c.name;
    EXPECT_NE(refused.error().message.find(c.named), std::string::npos) << refused.error().message;
    EXPECT_FALSE(refused.error().remedy.empty()) << c.name;
  }
}

TEST(QueueName, EveryByteIsEitherTakenOrNamed) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool plain = std::isalnum(byte) != 0 || c == '.' || c == '_' || c == '-' || c == ':';
    const auto checked = check_queue_name(std::string("a") + c);
    EXPECT_EQ(checked.has_value(), plain && byte < 128) << byte;
  }
}

TEST(EscapedName, WhatIsAllowedNowhereIsRefused) {
  for (const char* name : {"", "-a", "a b", "a%2Fb", "a\tb", "a,b"}) {
    const auto refused = escaped_queue_name(name);
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, base::Code::bad_name) << name;
  }
}

TEST(WorkerName, MayHoldHostAndPath) {
  EXPECT_TRUE(check_worker_name("host.example:12@cell/1"));
  for (const char* name : {"", "a b", "-a", "a%2Fb", "a\n"}) EXPECT_FALSE(check_worker_name(name));
}

}  // namespace
}  // namespace rq::core
