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
      "auth = 'required'\nanonymous = ['read']\nbeanstalk_rights = ['work']\n"
      "audit_days = 30\nbeanstalk_job_bytes_max = 100\nwal_bytes = 2097152\ncache_bytes = 4194304\n"
      "[users]\nroot = ['manage', 'define:a*']\n4711 = ['read']\n[groups]\nroot = ['admin']\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->http.at(0).at.text(), "127.0.0.1:1");
  EXPECT_EQ(config->beanstalk.at(0).at.text(), "127.0.0.1:2");
  EXPECT_EQ(config->log_level, "warn");
  EXPECT_FALSE(config->worker);
  EXPECT_EQ(config->auth, kAuthRequired);
  EXPECT_EQ(config->anonymous.text(), "read");
  EXPECT_EQ(beanstalk_rights_of(*config).text(), "work");
  const access::Policy policy = policy_of(*config);
  EXPECT_TRUE(policy.required);
  ASSERT_EQ(policy.users.size(), 3U);
  EXPECT_EQ(policy.users[0].id, 4711U);
  EXPECT_EQ(policy.users[1].id, 0U);
  EXPECT_EQ(policy.users[1].rights.text(), "manage, define:a*");
  EXPECT_TRUE(policy.users[2].group);
  EXPECT_EQ(config->beanstalk_job_bytes_max, 100);
  EXPECT_EQ(config->wal_bytes, 2 << 20);
  EXPECT_EQ(config->cache_bytes, 4 << 20);
  EXPECT_EQ(config->audit_days, 30);
}

TEST(Config, AnEmptyFileIsTheDefaults) {
  const auto config = parsed("# nothing\n");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->http, std::vector{usual_address()});
  EXPECT_TRUE(config->worker);
  EXPECT_FALSE(policy_of(*config).required);
  EXPECT_EQ(config->anonymous.text(), "enqueue, work, read");
  EXPECT_EQ(beanstalk_rights_of(*config).text(), "enqueue, work, read, manage");
}

TEST(Config, RefusalsNameTheSettingAndTheLine) {
  const auto unknown = parsed("no_such = 1\n");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::unknown_field);
  EXPECT_NE(unknown.error().message.find("'no_such'"), std::string::npos);
  for (const char* text :
       {"http = 5\n", "worker = 'yes'\n", "auth = 1\n", "anonymous = 'read'\n", "anonymous = [1]\n",
        "anonymous = ['reed']\n", "anonymous = ['read:m*l']\n", "users = 1\n",
        "[users]\nno-such-user = ['read']\n", "[groups]\nroot = 'read'\n", "wal_bytes = '1'\n",
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
            "did you mean 'http'? the settings are http, auth, anonymous, users, groups, "
            "beanstalk, "
            "beanstalk_rights, beanstalk_job_bytes_max, log_level, worker, wal_bytes, cache_bytes, "
            "audit_days"},
           {"http = 'x'\nworker\n", "mend the file, or move it away to use the defaults"},
           {"http = '127.0.0.1:1\n", "mend the file, or move it away to use the defaults"}}) {
    const auto config = parsed(text);
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().remedy, remedy) << text;
  }
}

TEST(Config, TheNearestNameIsTold) {
  const auto setting = parsed("anonymus = ['read']\n");
  ASSERT_FALSE(setting);
  EXPECT_TRUE(setting.error().remedy.starts_with("did you mean 'anonymous'? "))
      << setting.error().remedy;
  const auto right = parsed("[users]\nroot = ['manag:mail-*']\n");
  ASSERT_FALSE(right);
  EXPECT_NE(right.error().message.find("'users'.root: there is no right 'manag'"),
            std::string::npos)
      << right.error().message;
  EXPECT_TRUE(right.error().remedy.starts_with("did you mean 'manage'? ")) << right.error().remedy;
}

TEST(Config, WhatNobodyMayHaveIsRefused) {
  const base::test::TempDir folder;
  for (const char* text :
       {"anonymous = ['admin']\n", "auth = 'maybe'\n", "beanstalk_rights = ['read:a*']\n",
        "auth = 'required'\nbeanstalk = '127.0.0.1:1'\n"}) {
    std::ofstream{folder.path() / "rq.toml"} << text;
    const auto config = load_config({.dir = folder.path().string()});
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, Code::bad_value) << text;
  }
  std::ofstream{folder.path() / "rq.toml"}
      << "auth = 'required'\nbeanstalk = '127.0.0.1:1'\nbeanstalk_rights = ['enqueue']\n";
  EXPECT_TRUE(load_config({.dir = folder.path().string()}));
}

// pitfalls NT, NA: what other machines reach is encrypted, and asks who calls.
TEST(Config, WhatOthersReachWantsTlsAndCallers) {
  const base::test::TempDir folder;
  const auto load = [&folder](const std::string& text) {
    std::ofstream{folder.path() / "rq.toml"} << text;
    return load_config({.dir = folder.path().string()});
  };
  const std::string files = "tls_certificate = 'a'\ntls_key = 'b'\n";
  const std::string required = "auth = 'required'\n";
  EXPECT_TRUE(load(required + files + "http = ['127.0.0.1:1', 'https://0.0.0.0:2']\n"));
  EXPECT_TRUE(load(files + "http = 'https://127.0.0.1:2'\n"));
  for (const std::string& refused :
       {required + files + "http = '0.0.0.0:2'\n", files + "http = 'https://0.0.0.0:2'\n",
        required + files + "beanstalk_rights = ['work']\nbeanstalk = '[::]:2'\n"}) {
    const auto config = load(refused);
    ASSERT_FALSE(config) << refused;
    EXPECT_EQ(config.error().code, Code::forbidden) << refused;
    EXPECT_FALSE(config.error().remedy.empty());
  }
  for (const std::string& wrong :
       {std::string("http = 'https://127.0.0.1:2'\n"), std::string("http = 'ftp://127.0.0.1:2'\n"),
        std::string("[certificates]\n'DNS:a' = ['read']\n"),
        std::string("tls_client_ca = 'c'\n[certificates]\n'a' = ['read']\n"),
        std::string("trusted_proxies = ['10.0.0.1/8']\n"),
        std::string("http = ['127.0.0.1:1', '127.0.0.1:1']\n")}) {
    const auto config = load(wrong);
    ASSERT_FALSE(config) << wrong;
    EXPECT_EQ(config.error().code, Code::bad_value) << wrong;
  }
  const auto all = load(
      "tls_client_ca = 'c'\ntrusted_proxies = ['10.0.0.0/8', '::1']\n"
      "[certificates]\n'DNS:a' = ['read']\n");
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(policy_of(*all).certificates.at(0).name, "DNS:a");
  EXPECT_EQ(policy_of(*all).trusted_proxies.size(), 2U);
}

TEST(Config, FlagsGoBeforeTheFile) {
  const base::test::TempDir folder;
  const std::filesystem::path& dir = folder.path();
  std::ofstream{dir / "rq.toml"} << "http = '127.0.0.1:1'\nworker = false\nlog_level = 'error'\n";
  const auto file = load_config({.dir = dir.string()});
  ASSERT_TRUE(file);
  EXPECT_EQ(file->http.at(0).at.port, 1);
  EXPECT_TRUE(file->dir.is_absolute());
  const auto flags = load_config({.dir = dir.string(),
                                  .http = std::vector<std::string>{""},
                                  .log_level = "debug",
                                  .worker = true,
                                  .manual_clock = true});
  ASSERT_TRUE(flags);
  EXPECT_TRUE(flags->http.empty());
  EXPECT_EQ(flags->log_level, "debug");
  EXPECT_TRUE(flags->worker);
  EXPECT_TRUE(flags->manual_clock);
  EXPECT_FALSE(load_config({.dir = dir.string(), .log_level = "loud"}));
}

}  // namespace
}  // namespace rq::server
