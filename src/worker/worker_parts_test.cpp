// The small parts: what is read from the API, the environment, folders, the record of what runs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <functional>

#include "worker/environment.h"
#include "worker/folder.h"
#include "worker/home.h"
#include "worker/messages.h"
#include "worker/process_tree.h"
#include "worker/running_record.h"

namespace rq::worker {
namespace {

namespace fs = std::filesystem;

class Folder : public testing::Test {
 protected:
  Folder() {
    char path[] = "/tmp/rq-worker-XXXXXX";
    dir_ = ::mkdtemp(path);
  }
  ~Folder() override { fs::remove_all(dir_); }
  std::string dir_;
};

TEST(Reserved, IsReadWithItsLeaseAndPayload) {
  const auto read = parse_reserved(R"({"messages":[{"id":"20261121.0021.54.865.9","seq":9,
    "queue":"q","param1":"a","count":2,"tags":["x","y"],"payload_base64":"AP8B","timeout_s":1.5,
    "folder":"queue/q/9","lease":{"token":"9.1.7","attempt":1,"since":"2026-11-21T00:21:54.865Z",
    "until":"2026-11-21T00:22:24.865Z"}}]})");
  ASSERT_TRUE(read.has_value());
  const LeasedMessage& message = read->at(0);
  EXPECT_EQ(message.token, "9.1.7");
  EXPECT_EQ(message.lease, base::Millis{30'000});
  EXPECT_EQ(message.payload, std::string("\0\xff\x01", 3));
  EXPECT_EQ(message.timeout, base::Millis{1500});
  EXPECT_EQ(message.tags.size(), 2U);
  EXPECT_EQ(message.count, 2);
  EXPECT_FALSE(parse_reserved("{}").has_value());
  EXPECT_FALSE(parse_reserved(R"({"messages":[{"id":"1"}]})").has_value());
}

TEST(QueueView, LeavesAsideWhatANewerServerKnows) {
  const auto value = parse_json(R"({"name":"q","script_error":null,"settings":{"script":"a.sh",
    "num_workers":3,"shiny":1,"limits":{"open_files":5,"gpus":2},"env_vars":{"A":"b"}}})");
  ASSERT_TRUE(value.has_value());
  const auto view = parse_queue(*value);
  ASSERT_TRUE(view.has_value()) << view.error().message;
  EXPECT_EQ(view->settings.num_workers, 3);
  EXPECT_EQ(view->settings.limits.open_files, 5);
  EXPECT_EQ(view->settings.env_vars.at(0).second, "b");
}

TEST(Environments, OnlyTheListAndWhatTheQueueSaysGetThrough) {
  core::QueueSettings settings;
  settings.env_allow = {"EXTRA"};
  settings.env_vars = {{"A", "b"}, {"PATH", "/only"}, {"RQ_COUNT", "99"}};
  const char* const own[] = {"PATH=/bin", "LC_ALL=C", "SECRET=x", "EXTRA=y", "RQ_EVIL=1", nullptr};
  EXPECT_EQ(queue_environment(settings, own, {}),
            (Environment{"PATH=/only", "LC_ALL=C", "EXTRA=y", "A=b"}));
  const Environment as_user =
      queue_environment({}, own, {.name = "joe", .home = "/home/joe", .shell = "/bin/sh"});
  EXPECT_NE(std::find(as_user.begin(), as_user.end(), "HOME=/home/joe"), as_user.end());
}

TEST(Environments, RqsVariablesAreExact) {
  LeasedMessage message;
  message.id = "20261121.0021.54.865.9";
  message.queue = "test";
  message.dest = "/q/other";
  message.attempt = 2;
  message.tags = {"a", "b"};
  WorkerFacts worker{.base_url = "http://h:1/",
                     .dir = "/d",
                     .server = "unix:/d/run/rq.sock",
                     .version = "1",
                     .env = "e"};
  AttemptFacts attempt{.script = "./s", .real_script = "/s", .job_dir = "/j", .cookie = "RQ_RUN=1"};
  const Environment environment = message_environment({"PATH=/bin"}, worker, attempt, message);
  const std::vector<std::string> wanted{"PATH=/bin",
                                        "RQ_SCRIPT=./s",
                                        "RQ_REALSCRIPT=/s",
                                        "RQ_HOST=http://h:1/",
                                        "RQ_DIR=/d",
                                        "RQ_SERVER=unix:/d/run/rq.sock",
                                        "RQ_DEST=http://h:1/q/other",
                                        "RQ_DEST_QUEUE=other",
                                        "RQ_MSG_ID=20261121.0021.54.865.9",
                                        "RQ_FULL_MSG_ID=http://h:1/q/test/20261121.0021.54.865.9",
                                        "RQ_ORIG_MSG_ID=http://h:1/q/test/20261121.0021.54.865.9",
                                        "RQ_MSG_DIR=/j",
                                        "RQ_WRITE=3",
                                        "RQ_READ=4",
                                        "RQ_PIPE=3",
                                        "RQ_COUNT=0",
                                        "RQ_PARAM1=",
                                        "RQ_PARAM2=",
                                        "RQ_PARAM3=",
                                        "RQ_PARAM4=",
                                        "RQ_VER=1",
                                        "RQ_ENV=e",
                                        "RQ_QUEUE=test",
                                        "RQ_ATTEMPT=2",
                                        "RQ_CONTENT_TYPE=",
                                        "RQ_TAGS=a,b",
                                        "RQ_PRIORITY=0",
                                        "RQ_KEY=",
                                        "RQ_RUN=1"};
  EXPECT_EQ(environment, wanted);

  const auto has = [&](std::string_view entry) {
    const Environment all = message_environment({}, worker, attempt, message);
    return std::any_of(all.begin(), all.end(),
                       [entry](const std::string& one) { return one.starts_with(entry); });
  };
  attempt.other_user = true;
  EXPECT_TRUE(has("RQ_SERVER=http://h:1/")) << "the socket is the worker's user's";
  worker.base_url = "/";
  EXPECT_FALSE(has("RQ_SERVER=")) << "it cannot get there at all";
  EXPECT_FALSE(has("RQ_HOST="));
  EXPECT_TRUE(has("RQ_DEST=/q/other"));
  worker.dir.clear();
  EXPECT_FALSE(has("RQ_DIR=")) << "the server is elsewhere";
}

constexpr uid_t kNobody = 65534;

// This thread looks at files as that user does, if it may choose.
struct AsNobody {
  AsNobody() : before(::setfsuid(::geteuid() == 0 ? kNobody : ::geteuid())) {}
  ~AsNobody() { ::setfsuid(static_cast<uid_t>(before)); }
  const int before;
};

TEST_F(Folder, IsMadeWithItsPartsAndNeverOutside) {
  const auto made = prepare_folder(dir_, "queue/q/1", nullptr);
  ASSERT_TRUE(made.has_value());
  EXPECT_TRUE(fs::is_directory(dir_ + "/queue/q/1/job"));
  EXPECT_EQ(made->job, dir_ + "/queue/q/1/job");
  EXPECT_TRUE(prepare_folder(dir_, "queue/q/1", nullptr).has_value());
  for (const char* bad : {"", "/etc", "../x", "queue/../../x", "a//b", "a/./b"}) {
    EXPECT_FALSE(prepare_folder(dir_, bad, nullptr).has_value()) << bad;
  }
}

// faults.md D1
TEST_F(Folder, NothingThatAScriptPutsThereIsFollowedOrBlocks) {
  const auto made = prepare_folder(dir_, "queue/q/1", nullptr);
  ASSERT_TRUE(made.has_value());
  const std::string log = made->job + "/stdio.log";
  std::ofstream(dir_ + "/precious") << "keep";
  const std::function<void()> tricks[] = {
      [&] { fs::create_symlink(dir_ + "/precious", log); },
      [&] { fs::create_hard_link(dir_ + "/precious", log); },
      [&] { ASSERT_EQ(::mkfifo(log.c_str(), 0600), 0); },
  };
  for (const auto& trick : tricks) {
    fs::remove(log);
    trick();
    const auto opened = open_log(*made, nullptr);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    ASSERT_EQ(::write(opened->get(), "text", 4), 4);
    EXPECT_EQ(::fcntl(opened->get(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(log)));
    EXPECT_EQ(fs::file_size(dir_ + "/precious"), 4U);
    EXPECT_EQ(fs::file_size(log), 4U);
  }
  // What cannot give way is the message's own fault.
  fs::remove(log);
  fs::create_directory(log);
  const auto folder = open_log(*made, nullptr);
  ASSERT_FALSE(folder.has_value());
  EXPECT_EQ(folder.error().code, base::Code::bad_value);
}

// faults.md D1, relative
TEST_F(Folder, OfAMessageThatWaitsIsLookedAtAgainBeforeItsScriptStarts) {
  const auto place = open_workplace(dir_, "queue/q/1", nullptr);
  ASSERT_TRUE(place.has_value());
  EXPECT_TRUE(is_as_opened(*place));
  const std::string log = place->folder.job + "/stdio.log";
  std::filesystem::rename(log, log + ".old");
  EXPECT_FALSE(is_as_opened(*place)) << "its log has another name";
  std::filesystem::rename(log + ".old", log);
  EXPECT_TRUE(is_as_opened(*place));
  std::filesystem::rename(dir_ + "/queue/q/1", dir_ + "/queue/q/2");
  EXPECT_FALSE(is_as_opened(*place)) << "its folder has another name";
}

// faults.md B11, relative: a script that closed its own folder held up all of its queue.
TEST_F(Folder, WhatAScriptHasClosedIsItsMessagesFault) {
  ::chmod(dir_.c_str(), 0711);
  ASSERT_TRUE(prepare_folder(dir_, "queue/q/1", nullptr).has_value());
  for (const char* part : {"/queue/q/1", "/queue/q/1/job"}) {
    static_cast<void>(::chown((dir_ + part).c_str(), kNobody, kNobody));  // for root
    ASSERT_EQ(::chmod((dir_ + part).c_str(), 0), 0);
    const AsNobody restricted;  // root may go in anyway
    const auto place = open_workplace(dir_, "queue/q/1", nullptr);
    ASSERT_FALSE(place.has_value()) << part;
    EXPECT_EQ(place.error().code, base::Code::bad_value) << part;
    ::chmod((dir_ + part).c_str(), 0700);
  }
}

// faults.md D14, relative: in the place of a directory that was moved away nothing is made.
TEST_F(Folder, IsNotMadeWithoutTheDirectory) {
  fs::remove_all(dir_);
  const auto made = prepare_folder(dir_, "queue/q/1", nullptr);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, base::Code::internal) << "the message goes back";
  EXPECT_FALSE(fs::exists(dir_));
}

TEST_F(Folder, AJobFolderThatIsALinkIsNotGoneInto) {
  ASSERT_TRUE(prepare_folder(dir_, "queue/q/1", nullptr).has_value());
  fs::create_directory(dir_ + "/elsewhere");
  fs::remove(dir_ + "/queue/q/1/job");
  fs::create_directory_symlink(dir_ + "/elsewhere", dir_ + "/queue/q/1/job");
  const auto made = prepare_folder(dir_, "queue/q/1", nullptr);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, base::Code::bad_value);
}

// faults.md B1
TEST_F(Folder, OfAnotherUserCanBeEnteredByThatUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ::chmod(dir_.c_str(), 0700);
  const mode_t before = ::umask(0077);
  const Credentials nobody{.uid = 65534, .gid = 65534, .groups = {}};
  ASSERT_TRUE(let_in(dir_).has_value());
  const auto made = prepare_folder(dir_, "queue/q/1", &nobody);
  ::umask(before);
  ASSERT_TRUE(made.has_value()) << made.error().message;
  struct stat info {};
  for (const char* part : {"", "/queue", "/queue/q", "/queue/q/1"}) {
    ASSERT_EQ(::stat((dir_ + part).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0711U) << part;
  }
  ASSERT_EQ(::stat(made->job.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U) << "what it works on is nobody else's";
  EXPECT_EQ(info.st_uid, 65534U);
  const auto log = open_log(*made, &nobody);
  ASSERT_TRUE(log.has_value());
  ASSERT_EQ(::fstat(log->get(), &info), 0);
  EXPECT_EQ(info.st_uid, 65534U);
}

// faults.md D5
TEST_F(Folder, ARecordTellsWhoseWorkerDiedAndHowOften) {
  const std::string path = dir_ + "/record";
  const Spawned nobody{.pid = 999'999'999, .start_ticks_min = 1, .start_ticks_max = 2};
  // Runs these messages, and dies.
  const auto live_and_die = [&](const std::vector<std::string>& tokens) {
    auto record = RunningRecord::open(path);
    EXPECT_TRUE(record.has_value());
    const RunningRecord::Leftovers left = (*record)->clean_up();
    for (const std::string& token : tokens) {
      const int slot = (*record)->begin(token);
      EXPECT_GE(slot, 0);
      // The last one is the end of its worker before that knows its process.
      if (token != tokens.back()) (*record)->began(slot, nobody);
    }
    EXPECT_GE((*record)->add("9.1.1"), 0);
    (*record)->remove((*record)->begin("8.1.1"));
    return left;
  };
  EXPECT_TRUE(live_and_die({"1.1.1", "2.1.1"}).begun.empty());
  auto left = live_and_die({"1.2.1", "2.2.1"});
  ASSERT_EQ(left.begun.size(), 2U);
  EXPECT_EQ(left.begun[0].deaths, 1);
  EXPECT_EQ(left.not_begun, std::vector<std::string>{"9.1.1"});
  left = live_and_die({"1.3.1"});
  EXPECT_EQ(left.begun[1].deaths, 2);
  auto record = RunningRecord::open(path);
  ASSERT_TRUE(record.has_value());
  left = (*record)->clean_up();
  ASSERT_EQ(left.begun.size(), 1U);
  EXPECT_EQ(left.begun[0].token, "1.3.1");
  EXPECT_EQ(left.begun[0].deaths, 3) << "it was there each time";
  EXPECT_TRUE((*record)->is_suspect(2)) << "it was there twice, and has not run since";
  (*record)->clear(2);
  EXPECT_FALSE((*record)->is_suspect(2));
  EXPECT_FALSE((*record)->is_suspect(8));
}

// faults.md B11, relative: a script that tells its worker to end, which it does in good order.
TEST_F(Folder, WhoIsAccusedStaysSoWhenItsWorkerEndsInGoodOrder) {
  const std::string path = dir_ + "/record";
  for (const std::int64_t times : {1, 2, 3}) {
    auto record = RunningRecord::open(path);
    ASSERT_TRUE(record.has_value());
    EXPECT_TRUE((*record)->clean_up().begun.empty());
    EXPECT_EQ((*record)->is_suspect(1), times == 3);
    const int slot = (*record)->begin("1.1.1");
    EXPECT_EQ((*record)->accuse(slot, 1), times);
    (*record)->remove(slot);
  }
}

TEST_F(Folder, WhoIsAccusedInAnAttemptIsNotAccusedOfItsEndAgain) {
  const std::string path = dir_ + "/record";
  {
    auto record = RunningRecord::open(path);
    ASSERT_TRUE(record.has_value());
    static_cast<void>((*record)->clean_up());
    EXPECT_EQ((*record)->accuse((*record)->begin("1.1.1"), 1), 1);
  }
  auto record = RunningRecord::open(path);
  ASSERT_TRUE(record.has_value());
  static_cast<void>((*record)->clean_up());
  EXPECT_FALSE((*record)->is_suspect(1)) << "the worker has died, in the same attempt";
}

TEST_F(Folder, WhoIsMostSuspectIsRememberedAmongMany) {
  auto record = RunningRecord::open(dir_ + "/record");
  ASSERT_TRUE(record.has_value());
  static_cast<void>((*record)->clean_up());
  EXPECT_EQ((*record)->accuse(-1, 1), 1);
  EXPECT_EQ((*record)->accuse(-1, 1), 2);
  for (std::int64_t seq = 2; seq < 1000; ++seq) EXPECT_EQ((*record)->accuse(-1, seq), 1);
  EXPECT_EQ((*record)->accuse(-1, 999), 2) << "the last one, too";
  EXPECT_TRUE((*record)->is_suspect(1));
}

TEST(ProcessTable, KnowsWhoDescendsFromWhom) {
  const ProcessTable now = ProcessTable::read();
  const pid_t self = ::getpid();
  EXPECT_EQ(now.is_below(self, ::getppid()), true);
  EXPECT_EQ(now.is_below(::getppid(), self), false);
  EXPECT_EQ(now.is_below(self, self), false) << "not below itself";
  EXPECT_EQ(now.is_below(999'999'999, self), std::nullopt);
}

// faults.md B2, relative: the file is a copy. Whatever is done to it, a worker that runs goes on.
TEST_F(Folder, ARecordWhoseFileIsCutBesideItKnowsAllTheSame) {
  const std::string path = dir_ + "/record";
  auto record = RunningRecord::open(path);
  ASSERT_TRUE(record.has_value());
  static_cast<void>((*record)->clean_up());
  const int first = (*record)->begin("1.1.1");
  ASSERT_EQ(::truncate(path.c_str(), 0), 0);
  ASSERT_GE((*record)->begin("2.1.1"), 0);
  (*record)->remove(first);
  fs::remove(path);
  // The next program of the same worker has the memory, and makes the file anew.
  auto memory = base::Fd(::fcntl((*record)->fd(), F_DUPFD_CLOEXEC, 0));
  EXPECT_NE(::ftruncate(memory.get(), 0), 0) << "nobody can cut it";
  auto next = RunningRecord::open(path, std::move(memory));
  ASSERT_TRUE(next.has_value());
  auto left = (*next)->clean_up();
  ASSERT_EQ(left.begun.size(), 1U);
  EXPECT_EQ(left.begun[0].token, "2.1.1");
  const int third = (*next)->begin("3.1.1");
  ASSERT_GE(third, 0);
  (*next)->began(third, Spawned{.pid = 99'999'999});
  // And the next worker of the name has the file.
  auto other = RunningRecord::open(path);
  ASSERT_TRUE(other.has_value());
  left = (*other)->clean_up();
  ASSERT_EQ(left.begun.size(), 1U);
  EXPECT_EQ(left.begun[0].token, "3.1.1");
}

// faults.md C18, relative: somebody cleans up beside a worker that runs.
TEST_F(Folder, ARecordWhoseFileIsTakenAwayIsMadeAnewWithAllThatItHeld) {
  const std::string path = dir_ + "/record";
  auto record = RunningRecord::open(path);
  ASSERT_TRUE(record.has_value());
  static_cast<void>((*record)->clean_up());
  ASSERT_GE((*record)->add("1.1.1"), 0);
  for (const bool moved : {false, true}) {
    if (moved) {
      fs::rename(path, path + "-away");
    } else {
      fs::remove(path);
    }
    (*record)->keep_file();
    (*record)->keep_file();
    EXPECT_TRUE(fs::exists(path));
    ASSERT_GE((*record)->add(moved ? "2.1.1" : "3.1.1"), 0) << "what comes next goes there as well";
  }
  auto next = RunningRecord::open(path);
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ((*next)->clean_up().not_begun.size(), 3U);
}

// faults.md B2, relative
TEST_F(Folder, ARecordThatIsNoFileIsRefusedByName) {
  for (const auto& [name, make] :
       {std::pair<std::string, std::function<void(const std::string&)>>{
            "folder", [](const std::string& at) { fs::create_directory(at); }},
        {"link", [](const std::string& at) { fs::create_symlink("/etc/passwd", at); }},
        {"pipe", [](const std::string& at) { ASSERT_EQ(::mkfifo(at.c_str(), 0600), 0); }}}) {
    make(dir_ + "/" + name);
    const auto record = RunningRecord::open(dir_ + "/" + name);
    ASSERT_FALSE(record.has_value()) << name;
    EXPECT_NE(record.error().message.find(name + "' is not a file"), std::string::npos)
        << record.error().message;
  }
}

// A script in the kept memory whose process is a child of this one.
pid_t be_script(KeptScript& kept, std::int64_t seq) {
  kept.seq = seq;
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::pause();
    ::_exit(0);
  }
  kept.pid = pid;
  return pid;
}

// Issue 10, item 6; faults.md D5.
TEST_F(Folder, ScriptsThatLiveGoOnAndTheirMessagesAreWitnessesOnce) {
  auto memory = KeptMemory::make();
  auto record = RunningRecord::open(dir_ + "/record");
  ASSERT_TRUE(memory.has_value() && record.has_value());
  (*record)->keep_in(**memory);
  static_cast<void>((*record)->clean_up());
  const int lives = (*record)->begin("1.1.1");
  const int ended = (*record)->begin("2.1.1");
  const int unknown = (*record)->begin("3.1.1");
  ASSERT_GE((*record)->begin("4.1.1"), 0) << "one that had no process yet";
  const pid_t pid = be_script(*(*record)->kept(lives), 1);
  (*record)->kept(ended)->pid = 999'999'999;
  (*memory)->note_exit(999'999'999, 3 << 8, rusage{});
  (*record)->kept(unknown)->pid = 999'999'998;
  const std::string mark = (*record)->mark();
  const std::string before = (*record)->next_mark();

  auto left = (*record)->take_over(true);
  ASSERT_EQ(left.staying.size(), 3U);
  EXPECT_EQ(left.staying[0].slot, lives);
  EXPECT_FALSE(left.staying[0].orphaned);
  EXPECT_EQ(left.staying[0].deaths, 1);
  EXPECT_TRUE(left.staying[0].witness);
  EXPECT_EQ(left.staying[1].slot, ended);
  EXPECT_TRUE((*record)->kept(ended)->has_exited());
  EXPECT_FALSE(left.staying[1].orphaned);
  EXPECT_EQ(left.staying[2].slot, unknown) << "its words may be in its pipe";
  EXPECT_TRUE(left.staying[2].orphaned);
  EXPECT_TRUE(left.begun.empty());
  EXPECT_EQ(left.not_begun, std::vector<std::string>{"4.1.1"});
  EXPECT_EQ((*record)->mark(), mark);
  EXPECT_NE((*record)->next_mark(), before);

  (*record)->remove(ended);
  (*record)->remove(unknown);
  left = (*record)->take_over(true);
  ASSERT_EQ(left.staying.size(), 1U);
  EXPECT_EQ(left.staying[0].deaths, 1) << "it is the same attempt";
  left = (*record)->take_over(false);
  ASSERT_EQ(left.staying.size(), 1U) << "and no death at all when the worker makes way";
  EXPECT_EQ(left.staying[0].deaths, 1);
  (*record)->remove(lives);

  const int again = (*record)->begin("1.2.1");
  (*record)->kept(again)->pid = pid;
  left = (*record)->take_over(true);
  ASSERT_EQ(left.staying.size(), 1U);
  EXPECT_EQ(left.staying[0].deaths, 2) << "another attempt, another death";
  EXPECT_TRUE((*record)->is_suspect(1));
  ::kill(pid, SIGKILL);
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  left = (*record)->take_over(true);
  ASSERT_EQ(left.staying.size(), 1U);
  EXPECT_TRUE(left.staying[0].orphaned);
  (*record)->remove(again);
  EXPECT_TRUE((*record)->take_over(true).staying.empty());
  EXPECT_NE((*record)->mark(), mark) << "nothing has the old one any more";
}

// faults.md B2, relative: a slot is used again, and its worker dies before that script begins.
TEST_F(Folder, WhatAScriptHasLeftInItsSlotIsNotClosedForTheNextOne) {
  auto memory = KeptMemory::make();
  auto record = RunningRecord::open(dir_ + "/record");
  ASSERT_TRUE(memory.has_value() && record.has_value());
  (*record)->keep_in(**memory);
  static_cast<void>((*record)->clean_up());
  const base::Fd other(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int slot = (*record)->begin("1.1.1");
  KeptScript& kept = *(*record)->kept(slot);
  kept.from_script = kept.to_script = kept.log = other.get();
  (*record)->remove(slot);
  ASSERT_EQ((*record)->add("2.1.1"), slot);
  EXPECT_EQ((*record)->take_over(true).not_begun, std::vector<std::string>{"2.1.1"});
  EXPECT_NE(::fcntl(other.get(), F_GETFD), -1) << "by now it is somebody else's";
}

TEST(KeptScript, OfAnotherFormIsNotGoneOnWith) {
  auto memory = KeptMemory::make();
  ASSERT_TRUE(memory.has_value());
  base::Fd copy(::fcntl((*memory)->fd(), F_DUPFD_CLOEXEC, 0));
  const std::uint32_t older = 1;
  ASSERT_EQ(::pwrite(copy.get(), &older, sizeof older, 4), static_cast<ssize_t>(sizeof older));
  const auto taken = KeptMemory::take_over(std::move(copy));
  ASSERT_FALSE(taken.has_value());
  EXPECT_NE(taken.error().message.find("another form"), std::string::npos);
}

TEST(KeptScript, RemembersWhatWasSaidAndWhatIsNotAnswered) {
  auto memory = KeptMemory::make();
  ASSERT_TRUE(memory.has_value());
  KeptScript& kept = *(*memory)->at(7);
  kept.start_anew();
  EXPECT_FALSE(kept.verdict().spoke);
  wire::PipeVerdict verdict;
  verdict.note(wire::parse_pipe_line("resend 60-later"));
  verdict.note(wire::parse_pipe_line("run on"));
  kept.note(verdict);
  EXPECT_EQ(kept.verdict().decisive, wire::PipeWord::resend);
  EXPECT_EQ(kept.verdict().delay_s, 60);
  EXPECT_EQ(kept.verdict().text, "on");
  // More in all than there is room for at once.
  for (int i = 0; i < 20'000; ++i) {
    kept.add_dup("5-X-queue-with-a-name", "queue-with-a-name", 5);
    if (i >= 3) kept.drop_dup();
  }
  kept.add_dup("nonsense", "", 0);
  EXPECT_EQ(kept.waiting_dups(),
            (std::vector<std::string>{"dup 5-X-queue-with-a-name", "dup 5-X-queue-with-a-name",
                                      "dup 5-X-queue-with-a-name", "dup nonsense"}));
  EXPECT_EQ((*memory)->at(static_cast<int>(KeptMemory::kScriptsMax)), nullptr);
}

TEST_F(Folder, WhatIsLeftOfADeadWorkersScriptsIsKilled) {
  const std::string path = dir_ + "/record";
  pid_t left = 0;
  {
    auto record = RunningRecord::open(path);
    ASSERT_TRUE(record.has_value());
    static_cast<void>((*record)->clean_up());
    // A process that carries the mark, as a script's would.
    const std::string mark = (*record)->mark() + "1";
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    left = ::fork();
    ASSERT_GE(left, 0);
    if (left == 0) {
      ::dup2(pipe[1], 3);
      const char* const argv[] = {"sleep", "20", nullptr};
      const char* const envp[] = {mark.c_str(), nullptr};
      ::setsid();
      ::execve("/bin/sleep", const_cast<char* const*>(argv), const_cast<char* const*>(envp));
      ::_exit(127);
    }
    ::close(pipe[0]);
    ::close(pipe[1]);
    while (!has_environment(left, mark, true)) {
      ASSERT_EQ(::kill(left, 0), 0);
    }
  }
  int status = 0;
  // A copy of the directory is no reason to kill the scripts of the original.
  std::filesystem::copy_file(path, path + "-copy");
  auto copy = RunningRecord::open(path + "-copy");
  ASSERT_TRUE(copy.has_value());
  EXPECT_EQ((*copy)->clean_up().processes, 0U);
  EXPECT_EQ(::waitpid(left, &status, WNOHANG), 0) << "it lives";

  auto record = RunningRecord::open(path);
  ASSERT_TRUE(record.has_value());
  EXPECT_GE((*record)->clean_up().processes, 1U);
  ASSERT_EQ(::waitpid(left, &status, 0), left);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

// faults.md D14, relative: a worker stays with its directory, wherever that goes.
TEST_F(Folder, AWorkerGoesAlongWithItsHome) {
  const base::Fd before(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  const std::string home = dir_ + "/home";
  fs::create_directory(home);
  fs::create_directory_symlink(home, dir_ + "/link");
  const auto entered = enter_home(dir_ + "/link");
  ASSERT_TRUE(entered) << entered.error().message;
  EXPECT_EQ(*entered, fs::canonical(home));
  EXPECT_TRUE(is_home_at(home));
  std::ofstream("mine") << "x";

  fs::rename(home, dir_ + "/away");
  EXPECT_FALSE(is_home_at(home)) << "moved away";
  fs::create_directory(home);
  EXPECT_FALSE(is_home_at(home)) << "another one is there";
  EXPECT_TRUE(fs::exists("mine")) << "and its own files are where it is";
  EXPECT_FALSE(is_home_removed());
  fs::remove_all(dir_ + "/away");
  EXPECT_TRUE(is_home_removed());
  EXPECT_FALSE(enter_home(dir_ + "/none"));
  ASSERT_EQ(::fchdir(before.get()), 0);
}

}  // namespace
}  // namespace rq::worker
