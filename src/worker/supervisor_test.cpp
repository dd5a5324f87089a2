// Real small scripts under the supervisor, without any server. Nothing here sleeps to be on time:
// each test waits for what it is told.
#include "worker/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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
    launch.cwd.reset(::open(dir_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    launch.cwd_path = dir_;
    launch.log.reset(
        ::open((dir_ + "/stdio.log").c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    launch.header = " - NOW - RQ START - " + path + "\n";
    launch.grace = Millis{10'000};
    return launch;
  }

  ChildId start(Launch&& launch) {
    Supervisor::Started started;
    const auto failure = supervisor_->start(std::move(launch), started);
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
  const Ended& run(Launch&& launch) {
    const ChildId child = start(std::move(launch));
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
  Launch launch = script("#!/bin/sh\necho out\necho err >&2\necho 'done all of it' >&3\n");
  const std::string header = launch.header;
  const Ended& ended = run(std::move(launch));
  EXPECT_EQ(ended.verdict.decisive, PipeWord::done);
  EXPECT_EQ(ended.verdict.text, "all of it");
  EXPECT_EQ(ended.status, 0);
  EXPECT_FALSE(ended.leftovers);
  EXPECT_EQ(ended.last_output, "out\nerr\n");
  EXPECT_EQ(file("stdio.log"), "\n" + std::to_string(pid_) + header + "out\nerr\n");
  EXPECT_GT(ended.rss_bytes, 0);
  EXPECT_EQ(supervisor_->running(), 0U);
}

// faults.md B2, relative: its attempt may be waiting for an answer when another process goes on.
TEST_F(Scripts, OneThatHasEndedStillHasItsLogForWhoeverGoesOn) {
  auto memory = KeptMemory::make();
  ASSERT_TRUE(memory.has_value());
  KeptScript& kept = *(*memory)->at(0);
  kept.start_anew();
  Launch launch = script("#!/bin/sh\necho out\n");
  launch.kept = &kept;
  const ChildId child = start(std::move(launch));
  until([&] { return gone_.count(child) != 0; });
  EXPECT_EQ(ended_[child].last_output, "out\n");
  EXPECT_EQ(kept.from_script, -1);
  EXPECT_EQ(kept.to_script, -1);
  ASSERT_EQ(kept.log, ended_[child].log.release()) << "open until its attempt is settled";
  const ChildId again = supervisor_->adopt(kept, {}, false);
  until([&] { return gone_.count(again) != 0; });
  EXPECT_EQ(ended_[again].last_output, "out\n");
  EXPECT_EQ(kept.log, ended_[again].log.get());
}

// faults.md D5, relative: whose child it was is dead, so that nobody sees how it ends.
TEST_F(Scripts, AnOrphanIsWaitedForAndItsWordsCount) {
  for (const bool is_it : {true, false}) {
    auto memory = KeptMemory::make();
    ASSERT_TRUE(memory.has_value());
    KeptScript& kept = *(*memory)->at(0);
    kept.start_anew();
    std::array<int, 2> words{};
    std::array<int, 2> go{};
    ASSERT_EQ(::pipe2(words.data(), O_CLOEXEC | O_NONBLOCK), 0);
    ASSERT_EQ(::pipe2(go.data(), O_CLOEXEC), 0);
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      char byte = 0;
      ::close(go[1]);
      const bool told = ::read(go[0], &byte, 1) == 1;
      ::_exit(told && ::write(words[1], "done well\n", 10) == 10 ? 3 : 4);
    }
    ::close(go[0]);
    ::close(words[1]);
    kept.pid = pid;
    kept.from_script = words[0];
    const std::uint64_t begun = read_process(pid)->start_ticks;
    // Else somebody else has its number.
    const Spawned process{
        .pid = pid, .start_ticks_min = is_it ? begun : begun + 1, .start_ticks_max = begun + 1};
    const ChildId child = supervisor_->adopt(kept, process, true);
    if (is_it) {
      supervisor_->handle();
      EXPECT_EQ(supervisor_->running(), 1U);
      EXPECT_FALSE(kept.has_exited());
      ASSERT_EQ(::write(go[1], "x", 1), 1);
    }
    ::close(go[1]);
    until([&] { return gone_.count(child) != 0; });
    EXPECT_FALSE(ended_[child].was_seen);
    EXPECT_EQ(ended_[child].verdict.decisive.has_value(), is_it);
    EXPECT_EQ(ended_[child].verdict.text, is_it ? "well" : "");
    EXPECT_TRUE(kept.has_exited());
    EXPECT_FALSE(kept.was_seen());
  }
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
  const std::string payload = launch.payload;
  run(std::move(launch));
  EXPECT_EQ(file("copy"), payload);
}

TEST_F(Scripts, ALargePayloadThatNobodyReadsBlocksNothing) {
  Launch launch = script("#!/bin/sh\necho done >&3\n");
  launch.payload = std::string(4 * 1024 * 1024, 'x');
  EXPECT_EQ(run(std::move(launch)).verdict.decisive, PipeWord::done);
}

TEST_F(Scripts, WithoutAPayloadStandardInputIsEmpty) {
  run(script("#!/bin/sh\nwc -c >count\nreadlink /proc/self/fd/0 >name\n"));
  EXPECT_EQ(file("count"), "0\n");
  EXPECT_EQ(file("name"), "/dev/null\n");
}

TEST_F(Scripts, GetsExactlyTheEnvironmentAndDescriptorsItIsGiven) {
  Launch launch = script("#!/bin/sh\nexec /usr/bin/env >env\n");
  std::vector<std::string> given = launch.environment;
  run(std::move(launch));
  std::istringstream lines(file("env"));
  std::vector<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("PWD=") && line != "OLDPWD=") seen.push_back(line);  // the shell's own
  }
  std::sort(seen.begin(), seen.end());
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

// faults.md B8
TEST_F(Scripts, AnswersWaitUntilTheScriptReadsThem) {
  int asked = 0;
  heard_ = [&](ChildId child, const wire::PipeLine& line) {
    if (line.word != PipeWord::dup) return;
    supervisor_->reply(child, wire::pipe_ok(std::to_string(++asked) + std::string(60, '-')));
  };
  const Ended& ended =
      run(script("#!/bin/bash\nfor i in {1..3000}; do echo 'dup 0-X-b' >&3; done\n"
                 "for i in {1..3000}; do read -r -u 4 ok n; [ \"${n%%-*}\" = $i ] || exit 1; done\n"
                 "echo \"done $i\" >&3\n"));
  EXPECT_EQ(ended.verdict.text, "3000");
}

// faults.md B8, relative
TEST_F(Scripts, AScriptThatNeverReadsItsAnswersIsNotReadForEver) {
  const std::string answer = "ok " + std::string(400, '-') + "\n";
  std::size_t answered = 0;
  heard_ = [&](ChildId child, const wire::PipeLine& /*line*/) {
    supervisor_->reply(child, answer);
    answered += answer.size();
  };
  const ChildId child = start(script("#!/bin/bash\nwhile :; do echo 'dup 0-X-b' >&3; done\n"));
  // Until nothing more comes of it.
  pollfd ready{.fd = supervisor_->fd(), .events = POLLIN, .revents = 0};
  while (::poll(&ready, 1, 200) > 0 && answered < 16 * base::kMiB) supervisor_->handle();
  EXPECT_GT(answered, base::kMiB);
  EXPECT_LT(answered, 16 * base::kMiB);
  supervisor_->stop(child);
  until([&] { return gone_.count(child) != 0; });
}

// faults.md B4
TEST_F(Scripts, AWordThatGoesThroughAnotherProcessCounts) {
  for (int i = 0; i < 20; ++i) {
    const Ended& ended =
        run(script("#!/bin/bash\nexec 3> >(sleep 0.01; exec cat >&3)\necho done fine >&3\n"));
    ASSERT_EQ(ended.verdict.decisive, PipeWord::done);
    ASSERT_EQ(ended.verdict.text, "fine");
  }
}

// faults.md B4, relative
TEST_F(Scripts, WithoutAWordAHeldPipeIsWaitedForButNotForEver) {
  const ChildId child = start(script("#!/bin/sh\nsleep 1000 &\necho $! >pid\necho run half >&3\n"));
  until([&] { return ended_.count(child) != 0; });
  EXPECT_EQ(ended_[child].verdict.decisive, std::nullopt);
  EXPECT_LT(ended_[child].wall, Millis{1'500});  // its own time, without the wait
  EXPECT_TRUE(ended_[child].leftovers);
  until([&] { return gone_.count(child) != 0; });
  until_dead(pid_in("pid"));
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
  EXPECT_EQ(verdict_of(ended_[child], core::Success::word).outcome, "stopped");
}

TEST_F(Scripts, AGrandchildThatHoldsFd3DoesNotHoldTheMessage) {
  const ChildId child =
      start(script("#!/bin/sh\nsetsid sleep 1000 &\necho $! >pid\n"
                   "echo done >&3\n"));
  until([&] { return ended_.count(child) != 0; });
  EXPECT_TRUE(ended_[child].leftovers);
  EXPECT_EQ(verdict_of(ended_[child], core::Success::word).outcome, "done");
  EXPECT_EQ(gone_.count(child), 0U);
  until([&] { return gone_.count(child) != 0; });
  until_dead(pid_in("pid"));
}

TEST_F(Scripts, ATimeoutIsTermAndAfterTheGraceKill) {
  Launch launch = script("#!/bin/sh\ntrap '' TERM\necho run deaf >&3\nwhile :; do sleep 1; done\n");
  launch.timeout = Millis{200};
  launch.grace = Millis{200};
  const Ended& ended = run(std::move(launch));
  EXPECT_EQ(ended.cause, StopCause::timed_out);
  EXPECT_TRUE(ended.killed_after_grace);
  EXPECT_TRUE(WIFSIGNALED(ended.status));
  EXPECT_EQ(WTERMSIG(ended.status), SIGKILL);
  EXPECT_GE(ended.wall, Millis{400});
  EXPECT_EQ(verdict_of(ended, core::Success::word).outcome, "timed_out");
}

TEST_F(Scripts, WhoHearsTermAndFinishesItsWorkHasDoneIt) {
  Launch launch = script(
      "#!/bin/sh\ntrap 'echo done saved >&3; exit 0' TERM\necho run ready >&3\n"
      "while :; do sleep 0.05; done\n");
  const ChildId child = start(std::move(launch));
  until_line("ready");
  supervisor_->stop(child);
  until([&] { return gone_.count(child) != 0; });
  EXPECT_EQ(verdict_of(ended_[child], core::Success::word).outcome, "done");
}

TEST_F(Scripts, AboveItsMemoryBoundItIsKilled) {
  Launch launch = script(
      "#!/bin/sh\nhead -c 200000000 /dev/zero | tail -c 150000000 >/dev/null\n"
      "x=$(head -c 100000000 /dev/zero | tr '\\0' x)\nsleep 1000\n");
  launch.memory_bytes = 40'000'000;
  const Ended& ended = run(std::move(launch));
  EXPECT_EQ(ended.cause, StopCause::out_of_memory);
  EXPECT_GT(ended.rss_bytes, launch.memory_bytes);
  EXPECT_EQ(verdict_of(ended, core::Success::word).outcome, "failed");
  EXPECT_NE(post_mortem_of(ended, {.path = "/s", .sha256 = ""}).find("\"out_of_memory\":true"),
            std::string::npos);
}

TEST_F(Scripts, LimitsHoldForTheProcess) {
  Launch launch = script(
      "#!/bin/bash\nulimit -n >files\nulimit -t >cpu\nulimit -f >size\n"
      "nice >nice\n");
  launch.limits = {.cpu_seconds = 7, .open_files = 33, .file_bytes = 1024 * 1024};
  const int nicer = std::min(19, ::nice(0) + 5);  // which anybody may be
  launch.nice = nicer;
  run(std::move(launch));
  EXPECT_EQ(file("files"), "33\n");
  EXPECT_EQ(file("cpu"), "7\n");
  EXPECT_EQ(file("size"), "1024\n");
  EXPECT_EQ(std::stoi(file("nice")), nicer);
}

TEST_F(Scripts, RunsAsAnotherUserWithThatUsersGroups) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ::chmod(dir_.c_str(), 0777);
  const Credentials nobody{.uid = 65534, .gid = 65534, .groups = {65534, 12345}};
  Launch launch = script("#!/bin/sh\nid -u >uid; id -g >gid; id -G >groups\n");
  launch.credentials = &nobody;
  run(std::move(launch));
  EXPECT_EQ(file("uid"), "65534\n");
  EXPECT_EQ(file("gid"), "65534\n");
  EXPECT_EQ(file("groups"), "65534 12345\n");
}

// faults.md D1
TEST_F(Scripts, ALogThatTheScriptReplacesBlocksNobody) {
  const Ended& ended =
      run(script("#!/bin/sh\necho hi\nrm stdio.log\nmkfifo stdio.log\necho done >&3\n"));
  EXPECT_EQ(ended.verdict.decisive, PipeWord::done);
  EXPECT_EQ(ended.last_output, "hi\n");
}

// faults.md B7
TEST_F(Scripts, WhatIsMeantToStayStaysHoweverSoonTheScriptEnds) {
  std::vector<pid_t> stayed;
  for (int i = 0; i < 10; ++i) {
    // The shell that starts it writes its number, which becomes that of sleep.
    run(
        script("#!/bin/sh\nrm -f pid\n"
               "{ sh -c 'echo $PPID' >pid; exec setsid sleep 1000 3>&- 4<&- </dev/null "
               ">/dev/null 2>&1; } &\necho done >&3\n"));
    stayed.push_back(pid_in("pid"));
  }
  for (const pid_t pid : stayed) {
    EXPECT_TRUE(is_alive(pid));
    ::kill(pid, SIGKILL);
    until_dead(pid);
  }
}

// faults.md B7
TEST_F(Scripts, WhatHoldsAFileOfTheScriptDoesNotStayWhateverElseItHasDropped) {
  const char* const kOutputs[] = {"3>&- 4<&-", "4<&- >/dev/null 2>&1", "3>&- >/dev/null 2>&1"};
  for (const char* const kept : kOutputs) {
    // Twice removed, in a session of its own, with an empty environment.
    const std::string text = std::string("#!/bin/sh\nrm -f pid\nsh -c 'setsid env -i /bin/sh -c ") +
                             "\"echo \\$\\$ >pid; exec /bin/sleep 1000\" </dev/null " + kept +
                             " &'\nuntil test -s pid; do sleep 0.01; done\necho done >&3\n";
    const Ended& ended = run(script(text));
    EXPECT_TRUE(ended.leftovers) << kept;
    until_dead(pid_in("pid"));
  }
}

// faults.md B7, relative: a process that stays costs the scripts after it no look at all processes.
TEST_F(Scripts, AStayingProcessIsNoLeftoverOfTheNextScript) {
  run(
      script("#!/bin/sh\nsetsid sleep 1000 3>&- 4<&- </dev/null >/dev/null 2>&1 &\n"
             "echo $! >pid\nsleep 0.1\necho done >&3\n"));
  const Ended& next = run(script("#!/bin/sh\necho done >&3\n"));
  EXPECT_FALSE(next.leftovers);
  EXPECT_TRUE(is_alive(pid_in("pid")));
  ::kill(pid_in("pid"), SIGKILL);
  until_dead(pid_in("pid"));
}

// faults.md D16
TEST_F(Scripts, AboveItsBoundOnProcessesItIsKilled) {
  Launch launch =
      script("#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done\nwait\n");
  launch.processes = 10;
  const Ended& ended = run(std::move(launch));
  EXPECT_EQ(ended.cause, StopCause::too_many_processes);
  // A look may come while the shell still starts them.
  EXPECT_GE(ended.processes, 11);
  EXPECT_LE(ended.processes, 13);
  const Verdict verdict = verdict_of(ended, core::Success::word);
  EXPECT_EQ(verdict.outcome, "failed");
  EXPECT_NE(verdict.reason.find(fmt::format("too many processes: killed with {}", ended.processes)),
            std::string::npos);
}

// faults.md B1, B19
TEST_F(Scripts, AProbeFindsWhatWouldKeepItFromStarting) {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    // Orphans of scripts of other tests.
  }
  SpawnRequest good;
  good.program = "/bin/true";
  good.cwd = dir_;
  EXPECT_FALSE(supervisor_->probe(good).has_value());
  SpawnRequest bad = good;
  bad.program = dir_ + "/none";
  EXPECT_EQ(supervisor_->probe(bad)->step, SpawnFailure::Step::exec);
  bad = good;
  bad.cwd = dir_ + "/none";
  EXPECT_EQ(supervisor_->probe(bad)->step, SpawnFailure::Step::folder);
  bad = good;
  bad.limits.open_files = INT32_MAX;  // more than any kernel gives
  EXPECT_EQ(supervisor_->probe(bad)->step, SpawnFailure::Step::limits);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "nothing is left of it";
  if (::geteuid() != 0) GTEST_SKIP() << "the rest needs root";
  const Credentials nobody{.uid = 65534, .gid = 65534, .groups = {65534}};
  ::chmod(dir_.c_str(), 0700);
  bad = good;
  bad.credentials = &nobody;
  EXPECT_EQ(supervisor_->probe(bad)->step, SpawnFailure::Step::folder);
  ::chmod(dir_.c_str(), 0711);
  EXPECT_FALSE(supervisor_->probe(bad).has_value());
  std::ofstream(dir_ + "/secret") << "x";
  ::chmod((dir_ + "/secret").c_str(), 0600);
  bad.reads = dir_ + "/secret";
  EXPECT_EQ(supervisor_->probe(bad)->step, SpawnFailure::Step::exec);
}

TEST_F(Scripts, WhatCannotBeExecutedIsToldAtOnceAndLeavesNoChild) {
  Launch launch = script("#!/no/such/interpreter\n");
  Supervisor::Started started;
  const auto failure = supervisor_->start(std::move(launch), started);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->step, SpawnFailure::Step::exec);
  EXPECT_EQ(failure->error, ENOENT);
  EXPECT_EQ(supervisor_->running(), 0U);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);

  launch = script("#!/bin/sh\n");
  launch.cwd.reset();
  const auto no_folder = supervisor_->start(std::move(launch), started);
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
  for (int i = 0; i < 40; ++i) {
    Launch one = script("#!/bin/sh\nread -r n\necho \"done $n\" >&3\nexit $((n % 2))\n",
                        "script-" + std::to_string(i));
    one.payload = std::to_string(i) + "\n";
    children.push_back(start(std::move(one)));
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
