#include "client/token.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "base/temp_dir_rig.h"

namespace rq::client {
namespace {

using base::Code;

class TokenTest : public testing::Test {
 protected:
  std::string file(const std::string& text, mode_t mode = 0600) {
    const std::string path = (dir_.path() / "token").string();
    std::ofstream{path} << text;
    ::chmod(path.c_str(), mode);
    return path;
  }
  base::test::TempDir dir_;
};

TEST_F(TokenTest, IsTheFirstLineOfAFileThatNobodyElseReads) {
  EXPECT_EQ(*read_token_file(file("rq_a_b\nmore\n")), "rq_a_b");
  EXPECT_EQ(*read_token_file(file("rq_a_b")), "rq_a_b");
  for (const mode_t mode : {0640U, 0604U, 0660U}) {
    EXPECT_EQ(read_token_file(file("rq_a_b\n", mode)).error().code, Code::forbidden);
  }
  EXPECT_EQ(read_token_file(file("")).error().code, Code::bad_value);
  EXPECT_EQ(read_token_file(file("two words\n")).error().code, Code::bad_value);
  EXPECT_EQ(read_token_file(file("rq_a\r\n")).error().code, Code::bad_value);
  EXPECT_EQ(read_token_file(dir_.path()).error().code, Code::not_found);
}

// pitfalls NA2: the error does not quote it.
TEST_F(TokenTest, AnErrorDoesNotTellIt) {
  const auto refused = read_token_file(file("rq_secret with a blank\n"));
  EXPECT_EQ(refused.error().message.find("secret"), std::string::npos);
}

// pitfalls NA4.
TEST_F(TokenTest, IsTakenOutOfTheEnvironment) {
  ::setenv("RQ_TOKEN", "rq_a_b", 1);
  const char* const before = ::getenv("RQ_TOKEN");
  EXPECT_EQ(*find_token(""), "rq_a_b");
  EXPECT_EQ(::getenv("RQ_TOKEN"), nullptr);
  EXPECT_EQ(std::string_view(before, 6), "xxxxxx");
  EXPECT_EQ(*find_token(""), "");
  ::setenv("RQ_TOKEN", "rq_from_environment", 1);
  ::setenv("RQ_TOKEN_FILE", file("rq_from_file\n").c_str(), 1);
  EXPECT_EQ(*find_token(""), "rq_from_file");
  EXPECT_EQ(::getenv("RQ_TOKEN"), nullptr) << "also when it is not the one";
  EXPECT_EQ(find_token("/nonexistent/token").error().code, Code::not_found) << "the option first";
  ::unsetenv("RQ_TOKEN_FILE");
}

TEST_F(TokenTest, IsNotSentInTheOpen) {
  for (const char* here : {"http://127.0.0.1:3333", "http://localhost:1", "http://[::1]:1",
                           "unix:/run/rq.sock", "http://127.9.9.9:1"}) {
    Server server = *parse_server(here);
    EXPECT_TRUE(show_token(server, "rq_a_b")) << here;
    EXPECT_EQ(server.token, "rq_a_b");
  }
  Server server = *parse_server("http://192.0.2.7:3333");
  EXPECT_EQ(show_token(server, "rq_a_b").error().code, Code::forbidden);
  EXPECT_EQ(server.token, "");
  EXPECT_TRUE(show_token(server, ""));
}

}  // namespace
}  // namespace rq::client
