// Real small scripts under the supervisor, without any server. Nothing here sleeps to be on time:
// each test waits for what it is told.
#include "worker/supervisor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include "worker/verdict.h"

namespace rq::worker {
namespace {

namespace fs = std::filesystem;
using base::Millis;
using wire::PipeWord;

constexpr int kTestSecondsMax = 30;

class Scripts : public testing::Test, public Watcher {
 protected:
  Scripts() {
    char path[] = "/tmp/rq-supervisor-XXXXXX";
    dir_ = ::mkdtemp(path);
    supervisor_.emplace(*this);
  }
  ~Scripts() override {
    supervisor_.reset();
    fs::remove_all(dir_);
  }

  // A script of that text, ready to start.
  Launch script(const std::string& text, const std::string& name = "script") {
    const std::string path = dir_ + "/" + name;
    std::ofstream(path) << text;
    ::chmod(path.c_str(), 0755);
    Launch launch;
    launch.program = path;
    launch.argv = {path};
    launch.environment = {"PATH=/usr/bin:/bin", "DIR=" + dir_, "RQ_RUN=test.1"};
    launch.cookie = "RQ_RUN=test.1";
    launch.cwd = dir_;
    launch.log_path = dir_ + "/stdio.log";
    launch.header = " - NOW - RQ START - " + path + "\n";
    launch.grace = Millis{10'000};
    return launch;
  }

  ChildId start(const Launch& launch) {
    Supervisor::Started started;
    const auto failure = supervisor_->start(launch, started);
    EXPECT_FALSE(failure.has_value()) << (failure ? base::text_of_errno(failure->error) : "");
    pid_ = started.process.pid;
    return started.child;
  }

  // Until `done`, or the test has failed.
  void until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{kTestSecondsMax};
    while (!done()) {
      ASSERT_LT(std::chrono::steady_clock::now(), end) << "it does not happen";
      pollfd ready{.fd = supervisor_->fd(), .events = POLLIN, .revents = 0};
      ::poll(&ready, 1, 1000);
      supervisor_->handle();
    }
  }
  const Ended& run(const Launch& launch) {
    const ChildId child = start(launch);
    until([&] { return gone_.count(child) != 0; });
    return ended_[child];
  }
  // Until the script has said so on fd 3.
  void until_line(const std::string& text) {
    until([&] {
      return std::any_of(lines_.begin(), lines_.end(),
                         [&](const wire::PipeLine& line) { return line.text == text; });
    });
  }
  std::string file(const std::string& name) {
    std::ifstream in(dir_ + "/" + name);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  // The process whose number a script has left in a file.
  pid_t pid_in(const std::string& name) { return static_cast<pid_t>(std::stol(file(name))); }
  static bool is_alive(pid_t pid) { return ::kill(pid, 0) == 0; }
  // What is gone has no memory left, and may still be on its way to being reaped.
  void until_dead(pid_t pid) {
    until([pid] { return !is_alive(pid); });
  }

  void on_line(ChildId child, const wire::PipeLine& line) override {
    lines_.push_back(line);
    if (heard_) heard_(child, line);
  }
  void on_ended(ChildId child, Ended&& ended) override { ended_[child] = std::move(ended); }
  void on_gone(ChildId child) override { gone_[child] = true; }

  std::string dir_;
  std::optional<Supervisor> supervisor_;
  std::vector<wire::PipeLine> lines_;
  std::map<ChildId, Ended> ended_;
  std::map<ChildId, bool> gone_;
  std::function<void(ChildId, const wire::PipeLine&)> heard_;
  pid_t pid_ = 0;
};

TEST_F(Scripts, SaysDoneAndHasItsOutputInTheLogUnderTheHeader) {
  const Launch launch = script("#!/bin/sh\necho out\necho err >&2\necho 'done all of it' >&3\n");
  const Ended& ended = run(launch);
  EXPECT_EQ(ended.verdict.decisive, PipeWord::done);
  EXPECT_EQ(ended.verdict.text, "all of it");
  EXPECT_EQ(ended.status, 0);
  EXPECT_FALSE(ended.leftovers);
  EXPECT_EQ(ended.last_output, "out\nerr\n");
  EXPECT_EQ(file("stdio.log"), "\n" + std::to_string(pid_) + launch.header + "out\nerr\n");
  EXPECT_GT(ended.rss_bytes, 0);
  EXPECT_EQ(supervisor_->running(), 0U);
}

TEST_F(Scripts, ASecondAttemptAppendsAndSeesOnlyItsOwnOutput) {
  run(script("#!/bin/sh\necho first\n"));
  EXPECT_EQ(run(script("#!/bin/sh\necho second\n")).last_output, "second\n");
  EXPECT_NE(file("stdio.log").find("first\n"), std::string::npos);
}

TEST_F(Scripts, ReadsThePayloadOnStandardInputToItsEnd) {
  Launch launch = script("#!/bin/sh\ncat >copy\necho done >&3\n");
  launch.payload = std::string(300'000, 'x') + "\nend";
  launch.payload[7] = '\0';
  run(launch);
  EXPECT_EQ(file("copy"), launch.payload);
}

TEST_F(Scripts, ALargePayloadThatNobodyReadsBlocksNothing) {
  Launch launch = script("#!/bin/sh\necho done >&3\n");
  launch.payload = std::string(4 * 1024 * 1024, 'x');
  EXPECT_EQ(run(launch).verdict.decisive, PipeWord::done);
}

TEST_F(Scripts, WithoutAPayloadStandardInputIsEmpty) {
  run(script("#!/bin/sh\nwc -c >count\nreadlink /proc/self/fd/0 >name\n"));
  EXPECT_EQ(file("count"), "0\n");
  EXPECT_EQ(file("name"), "/dev/null\n");
}

TEST_F(Scripts, GetsExactlyTheEnvironmentAndDescriptorsItIsGiven) {
  Launch launch = script("#!/bin/sh\nexec /usr/bin/env >env\n");
  run(launch);
  std::istringstream lines(file("env"));
  std::vector<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("PWD=") && line != "OLDPWD=") seen.push_back(line);  // the shell's own
  }
  std::sort(seen.begin(), seen.end());
  std::vector<std::string> given = launch.environment;
  std::sort(given.begin(), given.end());
  EXPECT_EQ(seen, given);

  run(script("#!/bin/sh\nexec ls /proc/self/fd >fds\n"));
  EXPECT_EQ(file("fds"), "0\n1\n2\n3\n4\n5\n");  // 5 is ls, reading the folder
}

TEST_F(Scripts, HasItsOwnSessionAndGroupAndNoBlockedSignals) {
  run(
      script("#!/bin/sh\necho $$ >pid\ncut -d' ' -f5,6 /proc/$$/stat >ids\n"
             "exec grep -E 'SigBlk|SigIgn' /proc/self/status >masks\n"));
  const std::string pid = std::to_string(pid_in("pid"));
  EXPECT_EQ(file("ids"), pid + " " + pid + "\n");
  EXPECT_EQ(file("masks"), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_F(Scripts, PipesAreBlockingAndADupIsAnswered) {
  heard_ = [this](ChildId child, const wire::PipeLine& line) {
    if (line.word == PipeWord::dup) supervisor_->reply(child, wire::pipe_ok("http://h/q/b/1"));
  };
  const Ended& ended = run(script(
      "#!/bin/bash\necho 'dup 0-X-b' >&3\nread -r -u 4 answer\necho \"done $answer\" >&3\n"));
  EXPECT_EQ(ended.verdict.text, "ok http://h/q/b/1");
}

TEST_F(Scripts, AReplyToAScriptThatHasGoneIsDropped) {
  ASSERT_EQ(::mkfifo((dir_ + "/fifo").c_str(), 0600), 0);
  const ChildId child =
      start(script("#!/bin/sh\nexec 4<&-\necho run closed >&3\n"
                   "read -r line <fifo\n"));
  until_line("closed");
  supervisor_->reply(child, "ok nobody\n");
  supervisor_->reply(child, "ok nobody\n");
  std::ofstream(dir_ + "/fifo") << "go\n";
  until([&] { return gone_.count(child) != 0; });
  EXPECT_TRUE(WIFEXITED(ended_[child].status));
}

TEST_F(Scripts, StopReachesTheWholeTreeAlsoWhatHasLeftTheSession) {
  const ChildId child = start(
      script("#!/bin/sh\n"
             "sleep 1000 & echo $! >group.pid\n"
             "setsid sh -c 'echo $$ >session.pid; exec sleep 1000' &\n"
             // Twice removed: its parent is gone, its session is its own, its pipes are closed.
             "sh -c 'setsid sh -c \"echo \\$\\$ >orphan.pid; exec sleep 1000\" 3>&- 4<&- "
             ">/dev/null 2>&1 &'\n"
             "while ! test -s session.pid || ! test -s orphan.pid; do sleep 0.01; done\n"
             "echo run ready >&3\nwait\n"));
  until_line("ready");
  const pid_t all[] = {pid_in("group.pid"), pid_in("session.pid"), pid_in("orphan.pid"), pid_};
  for (const pid_t pid : all) EXPECT_TRUE(is_alive(pid));
  supervisor_->stop(child);
  until([&] { return gone_.count(child) != 0; });
  for (const pid_t pid : all) until_dead(pid);
  EXPECT_EQ(ended_[child].cause, StopCause::asked);
  EXPECT_FALSE(ended_[child].killed_after_grace);
  EXPECT_EQ(verdict_of(ended_[child]).outcome, "stopped");
}

TEST_F(Scripts, AGrandchildThatHoldsFd3DoesNotHoldTheMessage) {
  const ChildId child =
      start(script("#!/bin/sh\nsetsid sleep 1000 &\necho $! >pid\n"
                   "echo done >&3\n"));
  until([&] { return ended_.count(child) != 0; });
  EXPECT_TRUE(ended_[child].leftovers);
  EXPECT_EQ(verdict_of(ended_[child]).outcome, "done");
  EXPECT_EQ(gone_.count(child), 0U);
  until([&] { return gone_.count(child) != 0; });
  until_dead(pid_in("pid"));
}

TEST_F(Scripts, ATimeoutIsTermAndAfterTheGraceKill) {
  Launch launch = script("#!/bin/sh\ntrap '' TERM\necho run deaf >&3\nwhile :; do sleep 1; done\n");
  launch.timeout = Millis{200};
  launch.grace = Millis{200};
  const Ended& ended = run(launch);
  EXPECT_EQ(ended.cause, StopCause::timed_out);
  EXPECT_TRUE(ended.killed_after_grace);
  EXPECT_TRUE(WIFSIGNALED(ended.status));
  EXPECT_EQ(WTERMSIG(ended.status), SIGKILL);
  EXPECT_GE(ended.wall, Millis{400});
  EXPECT_EQ(verdict_of(ended).outcome, "timed_out");
}

TEST_F(Scripts, WhoHearsTermAndFinishesItsWorkHasDoneIt) {
  Launch launch = script(
      "#!/bin/sh\ntrap 'echo done saved >&3; exit 0' TERM\necho run ready >&3\n"
      "while :; do sleep 0.05; done\n");
  const ChildId child = start(launch);
  until_line("ready");
  supervisor_->stop(child);
  until([&] { return gone_.count(child) != 0; });
  EXPECT_EQ(verdict_of(ended_[child]).outcome, "done");
}

TEST_F(Scripts, AboveItsMemoryBoundItIsKilled) {
  Launch launch = script(
      "#!/bin/sh\nhead -c 200000000 /dev/zero | tail -c 150000000 >/dev/null\n"
      "x=$(head -c 100000000 /dev/zero | tr '\\0' x)\nsleep 1000\n");
  launch.memory_bytes = 40'000'000;
  const Ended& ended = run(launch);
  EXPECT_EQ(ended.cause, StopCause::out_of_memory);
  EXPECT_GT(ended.rss_bytes, launch.memory_bytes);
  EXPECT_EQ(verdict_of(ended).outcome, "failed");
  EXPECT_NE(post_mortem_of(ended, {.path = "/s", .sha256 = ""}).find("\"out_of_memory\":true"),
            std::string::npos);
}

TEST_F(Scripts, LimitsHoldForTheProcess) {
  Launch launch = script(
      "#!/bin/bash\nulimit -n >files\nulimit -t >cpu\nulimit -f >size\n"
      "nice >nice\n");
  launch.limits = {.cpu_seconds = 7, .open_files = 33, .file_bytes = 1024 * 1024, .processes = 0};
  launch.nice = 5;
  run(launch);
  EXPECT_EQ(file("files"), "33\n");
  EXPECT_EQ(file("cpu"), "7\n");
  EXPECT_EQ(file("size"), "1024\n");
  EXPECT_EQ(std::stoi(file("nice")), 5 + ::nice(0));
}

TEST_F(Scripts, RunsAsAnotherUserWithThatUsersGroups) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ::chmod(dir_.c_str(), 0777);
  const Credentials nobody{.uid = 65534, .gid = 65534, .groups = {65534, 12345}};
  Launch launch = script("#!/bin/sh\nid -u >uid; id -g >gid; id -G >groups\n");
  launch.credentials = &nobody;
  run(launch);
  EXPECT_EQ(file("uid"), "65534\n");
  EXPECT_EQ(file("gid"), "65534\n");
  EXPECT_EQ(file("groups"), "65534 12345\n");
}

TEST_F(Scripts, ALogThatIsALinkIsNotWrittenTo) {
  std::ofstream(dir_ + "/precious") << "keep";
  fs::create_symlink(dir_ + "/precious", dir_ + "/stdio.log");
  Supervisor::Started started;
  const auto failure = supervisor_->start(script("#!/bin/sh\necho x\n"), started);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->step, SpawnFailure::Step::folder);
  EXPECT_EQ(file("precious"), "keep");
}

TEST_F(Scripts, WhatCannotBeExecutedIsToldAtOnceAndLeavesNoChild) {
  Launch launch = script("#!/no/such/interpreter\n");
  Supervisor::Started started;
  const auto failure = supervisor_->start(launch, started);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->step, SpawnFailure::Step::exec);
  EXPECT_EQ(failure->error, ENOENT);
  EXPECT_EQ(supervisor_->running(), 0U);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);

  launch = script("#!/bin/sh\n");
  launch.cwd = dir_ + "/none";
  const auto no_folder = supervisor_->start(launch, started);
  ASSERT_TRUE(no_folder.has_value());
  EXPECT_EQ(no_folder->step, SpawnFailure::Step::folder);
}

TEST_F(Scripts, AbandonKillsAtOnceAndTellsNoMoreLines) {
  const ChildId child =
      start(script("#!/bin/sh\ntrap '' TERM\necho run ready >&3\n"
                   "while :; do sleep 1; done\n"));
  until_line("ready");
  supervisor_->abandon(child);
  until([&] { return gone_.count(child) != 0; });
  EXPECT_EQ(ended_[child].cause, StopCause::abandoned);
  EXPECT_EQ(WTERMSIG(ended_[child].status), SIGKILL);
}

TEST_F(Scripts, ManyAtOnceEachEndInTheirOwnWay) {
  std::vector<ChildId> children;
  const Launch launch = script("#!/bin/sh\nread -r n\necho \"done $n\" >&3\nexit $((n % 2))\n");
  for (int i = 0; i < 40; ++i) {
    Launch one = launch;
    one.payload = std::to_string(i) + "\n";
    children.push_back(start(one));
  }
  until([&] { return gone_.size() == children.size(); });
  for (std::size_t i = 0; i < children.size(); ++i) {
    EXPECT_EQ(ended_[children[i]].verdict.text, std::to_string(i));
    EXPECT_EQ(WEXITSTATUS(ended_[children[i]].status), i % 2);
  }
}

TEST_F(Scripts, ALineWrittenJustBeforeTheEndCounts) {
  std::string text = "#!/bin/bash\n";
  text += "for i in $(seq 1 2000); do echo \"run $i\" >&3; done\necho done last >&3\n";
  const Ended& ended = run(script(text));
  EXPECT_EQ(lines_.size(), 2001U);
  EXPECT_EQ(ended.verdict.decisive, PipeWord::done);
}

TEST_F(Scripts, WhileItIsNotReadTheScriptWaits) {
  const ChildId child =
      start(script("#!/bin/bash\necho run ready >&3\nread -r -u 4 go\n"
                   "for i in $(seq 1 30000); do echo \"run $i\" >&3; done\n"
                   "echo done >&3\n"));
  until_line("ready");
  supervisor_->set_reading(child, false);
  supervisor_->reply(child, "go\n");
  const std::size_t before = lines_.size();
  pollfd quiet{.fd = supervisor_->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&quiet, 1, 50), 0);  // nothing comes
  EXPECT_EQ(lines_.size(), before);
  supervisor_->set_reading(child, true);
  until([&] { return gone_.count(child) != 0; });
  EXPECT_EQ(lines_.size(), 30002U);
}

}  // namespace
}  // namespace rq::worker
