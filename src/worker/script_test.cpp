#include "worker/script.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/fd.h"
#include "base/temp_dir_rig.h"

namespace rq::worker {
namespace {

namespace fs = std::filesystem;

class ScriptFiles : public testing::Test {
 protected:
  ScriptFiles() { fs::create_directory(dir_ + "/scripts"); }

  void write(const std::string& name, const std::string& text, mode_t mode = 0755) {
    std::ofstream(dir_ + "/" + name) << text;
    ::chmod((dir_ + "/" + name).c_str(), mode);
  }
  std::string error_of(const std::string& script, const std::string& prefix = "") {
    const auto result = ScriptFile(dir_, script, prefix).look();
    return result ? "" : result.error().message;
  }
  base::test::TempDir temp_;
  std::string dir_ = temp_.path();
};

TEST_F(ScriptFiles, IsFoundByPathBelowTheDirectoryAndBelowScripts) {
  write("here.sh", "#!/bin/sh\n");
  write("scripts/there.sh", "#!/bin/sh\n");
  for (const std::string& script : {std::string("here.sh"), std::string("there.sh"),
                                    std::string("scripts/there.sh"), dir_ + "/here.sh"}) {
    ScriptFile file(dir_, script, "");
    const auto found = file.look();
    ASSERT_TRUE(found.has_value()) << script;
    EXPECT_EQ((*found)->argv, std::vector<std::string>{(*found)->real_path});
  }
}

TEST_F(ScriptFiles, EachFaultHasItsOwnText) {
  EXPECT_NE(error_of("none.sh").find("does not exist"), std::string::npos);
  write("plain", "#!/bin/sh\n", 0644);
  EXPECT_NE(error_of("plain").find("chmod +x"), std::string::npos);
  write("empty", "");
  EXPECT_NE(error_of("empty").find("is empty"), std::string::npos);
  write("binary", std::string("\xca\xfe\0\1", 4));
  EXPECT_NE(error_of("binary").find("neither a program nor text"), std::string::npos);
  write("lost", "#!/no/such/shell -x\n");
  EXPECT_NE(error_of("lost").find("'/no/such/shell'"), std::string::npos);
  write("env", "#!/usr/bin/env no-such-program\n");
  EXPECT_NE(error_of("env").find("'no-such-program'"), std::string::npos);
  write("dos", "#!/bin/sh\r\necho\r\n");
  EXPECT_NE(error_of("dos").find("DOS"), std::string::npos);
  EXPECT_NE(error_of("scripts").find("not a file"), std::string::npos);
  EXPECT_EQ(error_of("/bin/true"), "");
}

// faults.md B12
TEST_F(ScriptFiles, ATextWithoutAnInterpreterIsForTheShell) {
  write("text", "echo hello\n");
  ScriptFile file(dir_, "text", "");
  const auto script = file.look();
  ASSERT_TRUE(script.has_value()) << script.error().message;
  EXPECT_EQ((*script)->program, "/bin/sh");
  EXPECT_EQ((*script)->argv, (std::vector<std::string>{"sh", dir_ + "/text"}));
}

// faults.md B5
TEST_F(ScriptFiles, ALinkThatIsChangedLeadsElsewhereAtOnce) {
  for (const char* version : {"v1", "v2"}) fs::create_directory(dir_ + "/" + version);
  write("v1/job.sh", "#!/bin/sh\n");
  fs::create_hard_link(dir_ + "/v1/job.sh", dir_ + "/v2/job.sh");
  fs::create_directory_symlink("v1", dir_ + "/current");
  ScriptFile file(dir_, "current/job.sh", "");
  ASSERT_TRUE(file.look().has_value());
  EXPECT_EQ((*file.look())->real_path, dir_ + "/v1/job.sh");
  fs::create_directory_symlink("v2", dir_ + "/next");
  fs::rename(dir_ + "/next", dir_ + "/current");
  EXPECT_EQ((*file.look())->real_path, dir_ + "/v2/job.sh");
  EXPECT_EQ((*file.look())->argv, std::vector<std::string>{dir_ + "/v2/job.sh"});
}

// Whoever brings a new version puts a file in the place of the one that is looked at.
TEST_F(ScriptFiles, OneThatIsReplacedInThisMomentHasNoName) {
  write("old.sh", "#!/bin/sh\n");
  write("x (deleted)", "#!/bin/sh\n");
  const base::Fd old(::open((dir_ + "/old.sh").c_str(), O_RDONLY | O_CLOEXEC));
  const std::string seen = "/proc/self/fd/" + std::to_string(old.get());
  EXPECT_EQ(error_of(seen), "");
  fs::create_hard_link(dir_ + "/old.sh", dir_ + "/kept.sh");
  fs::remove(dir_ + "/old.sh");
  EXPECT_NE(error_of(seen).find("does not exist"), std::string::npos) << "it has another name only";
  EXPECT_EQ(error_of("x (deleted)"), "") << "that is its name";
}

TEST_F(ScriptFiles, APrefixIsSplitOrGoesThroughTheShell) {
  write("plain.sh", "echo hello\n");  // the prefix runs it
  ScriptFile split(dir_, "plain.sh", "bash -l");
  const auto script = split.look();
  ASSERT_TRUE(script.has_value()) << script.error().message;
  EXPECT_TRUE((*script)->program.ends_with("/bash"));
  EXPECT_EQ((*script)->argv, (std::vector<std::string>{"bash", "-l", dir_ + "/plain.sh"}));
  ScriptFile shell(dir_, "plain.sh", "cd / && bash");
  EXPECT_EQ((*shell.look())->argv,
            (std::vector<std::string>{"sh", "-c", "cd / && bash " + dir_ + "/plain.sh"}));
  EXPECT_NE(error_of("plain.sh", "no-such-program").find("'no-such-program'"), std::string::npos);
}

TEST_F(ScriptFiles, AChangedFileIsAnotherVersion) {
  write("a.sh", "#!/bin/sh\n# 1\n");
  ScriptFile file(dir_, "a.sh", "");
  const std::string first = (*file.look())->sha256;
  EXPECT_EQ(first.size(), 64U);
  EXPECT_EQ((*file.look())->sha256, first);
  write("b.sh", "#!/bin/sh\n# 2\n");
  fs::rename(dir_ + "/b.sh", dir_ + "/a.sh");
  EXPECT_NE((*file.look())->sha256, first);
}

TEST_F(ScriptFiles, WhatTheExecRefusedIsRefusedUntilTheFileChanges) {
  write("a.sh", "#!/bin/sh\n# 1\n");
  ScriptFile file(dir_, "a.sh", "");
  ASSERT_TRUE(file.look().has_value());
  file.blame("it does not work");
  ASSERT_FALSE(file.look().has_value());
  EXPECT_EQ(file.look().error().message, "it does not work");
  write("a.sh", "#!/bin/sh\n# mended\n");
  EXPECT_TRUE(file.look().has_value());
}

TEST_F(ScriptFiles, SomeAreInsideOfTheProgram) {
  ScriptFile file(dir_, "@exec-payload", "");
  const auto script = file.look();
  ASSERT_TRUE(script.has_value());
  EXPECT_EQ((*script)->program, "/proc/self/exe") << "there for as long as the process is";
  EXPECT_EQ((*script)->argv, (std::vector<std::string>{"rq", "exec-payload"}));
  EXPECT_EQ((*script)->sha256.size(), 64U);
  const auto unknown = ScriptFile(dir_, "@other", "").look();
  ASSERT_FALSE(unknown.has_value());
  EXPECT_NE(unknown.error().message.find("@exec-payload"), std::string::npos) << "which there are";
}

TEST(NeedsShell, AsRubyDecides) {
  for (const char* yes : {"a | b", "a 'b c'", "a $X", "a*", "X=1 a", "exec a", "a; b", "a > b"}) {
    EXPECT_TRUE(needs_shell(yes)) << yes;
  }
  for (const char* no : {"bash -lc /a/b", "env A=b /a", "nice -n 5 /x.sh", "/usr/bin/python3 -u"}) {
    EXPECT_FALSE(needs_shell(no)) << no;
  }
}

}  // namespace
}  // namespace rq::worker
