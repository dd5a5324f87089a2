#include "worker/worker.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/address.h"
#include "base/check.h"
#include "base/lock_file.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/stray_signals.h"
#include "core/name.h"
#include "worker/holder.h"
#include "worker/home.h"
#include "worker/loop.h"
#include "worker/running_record.h"

namespace rq::worker {
namespace {

using base::Code;
using base::fail;
using base::Result;

// A program that dies sooner, so often in a row, goes on with nothing, and starts later each time.
// More often than it takes to hold back a message (kPoisonDeaths): the others go on meanwhile.
constexpr std::chrono::seconds kLivedWell{10};
constexpr std::uint32_t kDeathsInARow = 6;
constexpr std::chrono::milliseconds kDeathDelayMin{100};
constexpr std::chrono::milliseconds kDeathDelayMax{10'000};
constexpr std::uint32_t kDeathDoublingsMax = 10;
constexpr const char* kSocketBelow = "/run/rq.sock";  // of the server of a directory, below it

// Blocked, not ignored: what is ignored would be inherited by scripts.
void block_stray_signals() {
  sigset_t stray = base::stray_signals();
  ::sigaddset(&stray, SIGUSR1);  // means something to a server only
  RQ_CHECK(::sigprocmask(SIG_BLOCK, &stray, nullptr) == 0);
}

// A worker name as part of a file name.
std::string file_part(std::string name) {
  std::replace(name.begin(), name.end(), '/', '%');
  return name;
}

// What a worker keeps stands in its directory, which is its working directory: see home.h.
std::string lock_stem(const std::string& name) {
  return name == "local" ? "run/worker" : "run/worker-" + file_part(name);
}

// A socket with its whole path: it is named from where the worker was started.
Result<WorkerOptions> from_anywhere(WorkerOptions options) {
  if (options.server.empty()) return options;
  RQ_TRY_ASSIGN(address, base::parse_server_address(options.server));
  if (!address.socket_path.empty()) {
    std::error_code failed;
    const auto whole = std::filesystem::absolute(address.socket_path, failed);
    if (!failed) address.socket_path = whole.string();
  }
  options.server = address.text();
  return options;
}

// Gives the real path of the directory.
Result<std::string> go_home(const WorkerOptions& options, const std::string& name,
                            const std::optional<Handed>& handed) {
  // A program before this one has begun there. Has the directory been moved away since, or another
  // taken its place? Then it is the working directory already.
  if (handed &&
      !base::is_file_of(fmt::format("{}/{}.lock", options.dir, lock_stem(name)), handed->lock)) {
    return options.dir;
  }
  return enter_home(options.dir);
}

Result<base::LockFile> lock_name(const std::string& name, const std::optional<Handed>& handed) {
  const std::string stem = lock_stem(name);
  if (handed) {
    return base::LockFile::take_over(base::Fd(handed->lock), stem + ".lock", stem + ".pid");
  }
  auto lock = base::LockFile::take(stem + ".lock", stem + ".pid");
  if (!lock && lock.error().code == Code::exists) {
    return fail(Code::exists, fmt::format("a worker named '{}' runs in this directory", name),
                "stop it, or give this one another --name");
  }
  return lock;
}

// A server's leases are known by the name of their worker, so another machine's worker has another.
Result<std::string> name_of(const WorkerOptions& options) {
  std::string name = options.name;
  if (name.empty() && options.server.starts_with("http")) {
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) == 0) name = host.data();
  }
  if (name.empty()) name = "local";
  RQ_TRY(core::check_worker_name(name));
  return name;
}

// What a program before this one has handed on; null: nothing, or nothing that can be used.
std::unique_ptr<KeptMemory> handed_memory(const std::optional<Handed>& handed) {
  if (!handed) return nullptr;
  auto memory = KeptMemory::take_over(base::Fd(handed->memory));
  if (memory) return *std::move(memory);
  spdlog::warn("{}: scripts that run are ended", memory.error().message);
  return nullptr;
}

// After a program that has made way, or died. One that dies at once, again and again, may die of
// what it goes on with: then nothing goes on.
RunningRecord::Leftovers take_over(KeptMemory::Past& past, RunningRecord& record) {
  if (past.orderly != 0) return record.take_over(false);
  const auto lived =
      std::chrono::steady_clock::now().time_since_epoch() - std::chrono::nanoseconds{past.begun_ns};
  past.deaths = lived < kLivedWell ? past.deaths + 1 : 1;
  if (past.deaths < kDeathsInARow) return record.take_over(true);
  spdlog::error("the worker has died {} times, each time within {} s: scripts that ran are ended",
                past.deaths, kLivedWell.count());
  const std::uint32_t doublings = std::min(past.deaths - kDeathsInARow, kDeathDoublingsMax);
  std::this_thread::sleep_for(std::min(kDeathDelayMin * (1 << doublings), kDeathDelayMax));
  record.for_kept([](KeptScript& script) { script.close_files(); });
  return record.clean_up();
}

// The command line of the program that takes over from this one.
std::vector<std::string> arguments(const WorkerOptions& options, const std::string& root) {
  std::vector<std::string> argv{"rq", "worker", "--dir", root};
  const auto add = [&argv](const char* name, const std::string& value) {
    if (value.empty()) return;
    argv.emplace_back(name);
    argv.push_back(value);
  };
  add("--server", options.server);
  add("--name", options.name);
  add("--base-url", options.base_url);
  add("--env", options.env);
  if (options.kept) argv.emplace_back("--kept");
  return argv;
}

LoopFacts facts_of(const WorkerOptions& options, const std::string& root, const std::string& name,
                   const base::ServerAddress& server) {
  LoopFacts facts;
  facts.dir = root;
  facts.name = name;
  facts.untold_file = fmt::format("run/worker-{}.untold", file_part(name));
  facts.worker.name = name;
  // Unless it is given, the server says it.
  facts.worker.base_url = options.base_url;
  if (!facts.worker.base_url.ends_with('/')) facts.worker.base_url.push_back('/');
  facts.base_url_fixed = !options.base_url.empty();
  if (!server.socket_path.empty()) facts.worker.dir = root;
  facts.worker.server = server.text();
  facts.worker.version = RQ_VERSION;
  facts.worker.env = options.env;
  facts.kept = options.kept;
  return facts;
}

Result<void> make_run_folder(const std::string& root) {
  if (::mkdir("run", 0700) == 0 || errno == EEXIST) return {};
  return fail(Code::internal,
              fmt::format("cannot make '{}/run': {}", root, base::text_of_errno(errno)),
              "see to the rights of the folder");
}

void tell_of(const RunningRecord::Leftovers& leftovers) {
  if (leftovers.begun.empty() && leftovers.processes == 0) return;
  spdlog::warn(
      "a worker before this one died: {} scripts were under way and cannot go on, {} processes "
      "of theirs were still there and are killed; their messages go back",
      leftovers.begun.size(), leftovers.processes);
}

}  // namespace

Result<int> run_worker(const WorkerOptions& given) {
  // As the server writes: both may have one log.
  base::log_to_stderr("worker");
  block_stray_signals();
  base::raise_open_files();  // a message that waits for a slot has two
  RQ_TRY_ASSIGN(name, name_of(given));
  const std::optional<Handed> handed = Handed::parse(given.goes_on);
  RQ_TRY_ASSIGN(options, from_anywhere(given));
  RQ_TRY_ASSIGN(root, go_home(options, name, handed));
  if (const Result<void> made = make_run_folder(root); !made && !handed) return made.error();
  RQ_TRY_ASSIGN(
      server, client::parse_server(options.server.empty() ? root + kSocketBelow : options.server));
  RQ_TRY_ASSIGN(lock, lock_name(name, handed));
  RQ_TRY_ASSIGN(record, RunningRecord::open(fmt::format("run/worker-{}.running", file_part(name)),
                                            handed ? base::Fd(handed->record) : base::Fd()));

  std::unique_ptr<KeptMemory> memory = handed_memory(handed);
  const bool goes_on = memory != nullptr;
  if (!goes_on) {
    RQ_TRY_ASSIGN(fresh, KeptMemory::make());
    memory = std::move(fresh);
  }
  record->keep_in(*memory);
  const RunningRecord::Leftovers leftovers =
      goes_on ? take_over(memory->past(), *record) : record->clean_up();
  Holder holder({.argv = arguments(options, root),
                 .dir = root,
                 .server = options.kept ? "run/server.pid" : ""},
                lock, *memory, *record);
  if (const std::optional<int> code = holder.hold()) return *code;

  tell_of(leftovers);
  LoopFacts facts = facts_of(options, root, name, server.address);
  facts.holder = holder.pid();
  facts.stops = &memory->past().stops;
  facts.make_way = [&holder] { holder.make_way(); };
  // Its own server, not one that has come to the place of its directory.
  if (server.address.socket_path == root + kSocketBelow) {
    server.address.socket_path = std::string(kSocketBelow).substr(1);
  }
  boost::asio::io_context io(1);
  Loop loop(io, std::move(facts), std::move(server), *record);
  loop.hand_back(leftovers);
  loop.go_on_with(leftovers.staying);
  loop.start();
  io.run();
  RQ_CHECK(loop.has_ended());
  return 0;
}

}  // namespace rq::worker
