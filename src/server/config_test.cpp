#include "server/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "base/temp_dir_rig.h"

namespace rq::server {
namespace {

using base::Code;

base::Result<ServerConfig> parsed(std::string_view text) {
  ServerConfig config;
  RQ_TRY(read_config(text, "rq.toml", config));
  return config;
}

TEST(Config, ReadsEverySetting) {
  const auto config = parsed(
      "http = '127.0.0.1:1'\nbeanstalk = '127.0.0.1:2'\nlog_level = 'warn'\nworker = false\n"
      "define_over_tcp = true\n"
      "beanstalk_job_bytes_max = 100\nwal_bytes = 2097152\ncache_bytes = 4194304\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->http, "127.0.0.1:1");
  EXPECT_EQ(config->beanstalk, "127.0.0.1:2");
  EXPECT_EQ(config->log_level, "warn");
  EXPECT_FALSE(config->worker);
  EXPECT_TRUE(config->define_over_tcp);
  EXPECT_EQ(config->beanstalk_job_bytes_max, 100);
  EXPECT_EQ(config->wal_bytes, 2 << 20);
  EXPECT_EQ(config->cache_bytes, 4 << 20);
}

TEST(Config, AnEmptyFileIsTheDefaults) {
  const auto config = parsed("# nothing\n");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->http, "127.0.0.1:3333");
  EXPECT_TRUE(config->worker);
  EXPECT_FALSE(config->define_over_tcp);
}

TEST(Config, RefusalsNameTheSettingAndTheLine) {
  const auto unknown = parsed("no_such = 1\n");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::unknown_field);
  EXPECT_NE(unknown.error().message.find("'no_such'"), std::string::npos);
  for (const char* text :
       {"http = 5\n", "worker = 'yes'\n", "define_over_tcp = 1\n", "wal_bytes = '1'\n",
        "wal_bytes = 1\n", "cache_bytes = 999999999999999\n", "beanstalk_job_bytes_max = 0\n",
        "log_level = ['a']\n"}) {
    const auto config = parsed(text);
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, Code::bad_value) << text;
  }
  // faults.md D: letters from U+00A0 to U+0499 where none may stand.
  for (const char* text : {"be.nh = [[1[2\u00dc0", "\u00dc = 1\n", "http = \u00a0\u0401\n"}) {
    const auto config = parsed(text);
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, Code::bad_request) << text;
  }
  const auto broken = parsed("http = 'x'\nworker = \n");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, Code::bad_request);
  EXPECT_NE(broken.error().message.find("line 2"), std::string::npos) << broken.error().message;
}

// faults.md C, relative: what was wrong was said in the words of the parser alone.
// faults.md E, relative: the parser takes for certain what it has not looked at.
TEST(Config, WhatItsParserDoesNotExpectIsRefused) {
  for (const std::string_view text : {"[;", "[ ;2[2", "[[;]]", "[=]", "[#"}) {
    ServerConfig config;
    const auto read = read_config(text, "rq.toml", config);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, base::Code::bad_request) << text;
    EXPECT_TRUE(read.error().message.starts_with("rq.toml")) << read.error().message;
  }
}

TEST(Config, ATextWithoutQuotesIsToldSo) {
  for (const auto& [text, remedy] : std::map<std::string, std::string>{
           {"# here\r\nhttp = 127.0.0.1:1  # there\n",
            "a text stands in quotes: http = \"127.0.0.1:1\""},
           {"log_level=debug", "a text stands in quotes: log_level = \"debug\""},
           {"http = \u201cx:1\u201d\n", "a text stands in quotes: http = \"x:1\""},
           {"worker = yes\n", "give true or false"},
           {"worker = True", "give true or false"},
           {"wal_bytes = 64M", "give a number from 1048576 to 4294967296, in digits alone"},
           {"htp = x\n",
            "the settings are http, define_over_tcp, beanstalk, beanstalk_job_bytes_max, "
            "log_level, worker, wal_bytes, cache_bytes"},
           {"http = 'x'\nworker\n", "mend the file, or move it away to use the defaults"},
           {"http = '127.0.0.1:1\n", "mend the file, or move it away to use the defaults"}}) {
    const auto config = parsed(text);
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().remedy, remedy) << text;
  }
}

TEST(Config, FlagsGoBeforeTheFile) {
  const base::test::TempDir folder;
  const std::filesystem::path& dir = folder.path();
  std::ofstream{dir / "rq.toml"} << "http = '127.0.0.1:1'\nworker = false\nlog_level = 'error'\n";
  const auto file = load_config({.dir = dir.string()});
  ASSERT_TRUE(file);
  EXPECT_EQ(file->http, "127.0.0.1:1");
  EXPECT_TRUE(file->dir.is_absolute());
  const auto flags = load_config({.dir = dir.string(),
                                  .http = "",
                                  .log_level = "debug",
                                  .worker = true,
                                  .manual_clock = true});
  ASSERT_TRUE(flags);
  EXPECT_EQ(flags->http, "");
  EXPECT_EQ(flags->log_level, "debug");
  EXPECT_TRUE(flags->worker);
  EXPECT_TRUE(flags->manual_clock);
  EXPECT_FALSE(load_config({.dir = dir.string(), .log_level = "loud"}));
}

}  // namespace
}  // namespace rq::server
