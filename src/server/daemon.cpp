#include "server/daemon.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/lock_file.h"
#include "base/machine.h"
#include "base/stray_signals.h"
#include "doors/api/api_door.h"
#include "doors/beanstalk/door.h"
#include "net/loop.h"
#include "pipeline/desk.h"
#include "pipeline/events.h"
#include "pipeline/pipeline.h"
#include "pipeline/readers.h"
#include "server/janitor.h"
#include "server/last_seen.h"
#include "server/log.h"
#include "server/store_watch.h"
#include "server/worker_keeper.h"
#include "store/sqlite/open.h"

namespace rq::server {
namespace {

using base::Code;
using base::fail;
using base::Result;
namespace fs = std::filesystem;

constexpr int kReaderThreads = 2;
constexpr int kSearchThreads = 1;  // what is left of the machine belongs to others
// Open connections are given this long to get their last replies when the server ends.
constexpr std::chrono::seconds kCloseDown{5};
// A round time, so that tests know it.
constexpr base::Instant kManualStart = base::from_ms(1'800'000'000'000);

Result<void> make_folders(const fs::path& dir) {
  for (const fs::path& folder : {dir, dir / "db", dir / "queue", dir / "scripts", dir / "run"}) {
    std::error_code error;
    const bool made = fs::create_directories(folder, error);
    if (error) {
      return fail(Code::internal,
                  fmt::format("cannot make '{}': {}", folder.string(), error.message()),
                  "see to the rights of the folder above, or name another with --dir");
    }
    // Messages are nobody else's business. A folder that was there, from a backup or with a group
    // let in, keeps its group; all others are shut out of the store and of the socket.
    if (made) ::chmod(folder.c_str(), 0700);
    if (folder.filename() == "db" || folder.filename() == "run") {
      fs::permissions(folder, fs::perms::others_all, fs::perm_options::remove, error);
    }
  }
  return {};
}

// One server on a directory.
Result<base::LockFile> lock_directory(const fs::path& dir) {
  const fs::path pid_file = dir / "run" / "server.pid";
  auto lock = base::LockFile::take(dir / "run" / "server.lock", pid_file);
  if (!lock && lock.error().code == Code::exists) {
    return fail(Code::exists,
                fmt::format("a server (pid {}) runs on '{}' already",
                            base::LockFile::pid_in(pid_file), dir.string()),
                "stop it, or give this one another --dir");
  }
  return lock;
}

Result<pipeline::Readers::Views> open_readers(const fs::path& file, int count) {
  pipeline::Readers::Views views;
  for (int i = 0; i < count; ++i) {
    RQ_TRY_ASSIGN(reader, store::sqlite::open_reader(file));
    views.push_back(std::move(reader));
  }
  return views;
}

// What comes to sigwait() alone; threads inherit the mask.
sigset_t heard_signals() {
  sigset_t heard;
  ::sigemptyset(&heard);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) ::sigaddset(&heard, signal);
  return heard;
}

// SIGHUP: the log file by its name, the configuration from its file. Of that, what can change while
// the server runs changes; the rest is named.
void reload(const ServerOptions& options, ServerConfig& config, Log& log) {
  if (auto opened = log.reopen(); !opened) spdlog::error("SIGHUP: {}", opened.error().message);
  auto read = load_config(options);
  if (!read) {
    spdlog::error("SIGHUP: {}; {}: the configuration stays as it was", read.error().message,
                  read.error().remedy);
    return;
  }
  log.set_level(read->log_level);
  const std::string later =
      fmt::format("{}", fmt::join(changed_for_the_next_start(config, *read), ", "));
  config.log_level = read->log_level;
  spdlog::info("SIGHUP: the configuration was read; log_level is {}{}", config.log_level,
               later.empty() ? "" : fmt::format("; at the next start of the server: {}", later));
}

void tell_who_defines(const ServerConfig& config, const std::string& address) {
  if (address.empty()) return;
  if (config.define_over_tcp) {
    spdlog::warn(
        "whoever reaches {} may define queues, and so run programs on this machine as user {}: "
        "define_over_tcp is true",
        address, ::geteuid());
  } else {
    spdlog::info("over {} queues cannot be defined, only over the unix socket (define_over_tcp)",
                 address);
  }
}

// Until one of them ends the server. A null door: there is no beanstalkd port.
void hear_signals(const ServerOptions& options, ServerConfig& config, Log& log,
                  doors::beanstalk::BeanstalkDoor* beanstalk,
                  const std::function<void()>& on_new_log) {
  const sigset_t heard = heard_signals();
  for (int signal = 0; signal != SIGTERM && signal != SIGINT;) {
    if (::sigwait(&heard, &signal) != 0) continue;
    if (signal == SIGHUP) {
      reload(options, config, log);
      on_new_log();
    } else if (signal == SIGUSR1) {
      // As beanstalkd does; there is no way back but a restart.
      if (beanstalk != nullptr) beanstalk->set_draining(true);
      spdlog::info("SIGUSR1: {}", beanstalk != nullptr ? "the beanstalkd port takes no more jobs"
                                                       : "there is no beanstalkd port to drain");
    } else {
      spdlog::info("SIG{}: ending", ::sigabbrev_np(signal));
    }
  }
}

// Not with a clock that is moved by hand.
std::optional<LastSeen> open_last_seen(const ServerConfig& config, pipeline::Clock& clock) {
  if (config.manual_clock) return std::nullopt;
  auto opened = LastSeen::open(config.dir / "run" / "server.seen", clock);
  if (opened) return std::move(*opened);
  spdlog::warn("{}; {}", opened.error().message, opened.error().remedy);
  return std::nullopt;
}

void tell_what_was_set_aside(const fs::path& file) {
  const auto aside = store::sqlite::set_aside_in(file);
  if (!aside || aside->total == 0) return;
  spdlog::warn(
      "damaged rows of the store have been set aside: {}; the last one: {}; see: rq doctor",
      aside->total, aside->newest.front());
}

doors::api::ApiSettings http_settings(const ServerConfig& config, const fs::path& file) {
  const auto store = store::sqlite::store_files(file);
  return {.dir = config.dir,
          .address = config.http,
          .define_over_tcp = config.define_over_tcp,
          .store = store.database,
          .store_log = store.log};
}

// Again and again: what fails is tried again. `fault`: what it was at the time before. False:
// another process holds the lock of this server.
bool keep_lock(base::LockFile& lock, std::optional<Code>& fault) {
  const Result<void> kept = lock.keep();
  const std::optional<Code> now = kept ? std::nullopt : std::optional{kept.error().code};
  const bool is_taken = now == Code::exists;
  if (std::exchange(fault, now) == now) return !is_taken;  // it is told already
  if (kept) {
    spdlog::info("this server has its lock again");
  } else {
    spdlog::log(is_taken ? spdlog::level::critical : spdlog::level::err,
                "the lock of this server is gone and cannot be made again: {}; {}",
                kept.error().message, kept.error().remedy);
  }
  return !is_taken;
}

void keep_files(base::LockFile& lock, std::optional<Code>& fault, doors::api::ApiDoor& http,
                std::optional<LastSeen>& last_seen, const pipeline::Clock& clock) {
  http.set_lock_taken(!keep_lock(lock, fault));
  if (last_seen) last_seen->note(clock);
}

store::sqlite::Options store_options(const ServerConfig& config) {
  return {.wal_bytes = config.wal_bytes,
          .threads = true,
          .room_bytes = core::kRoomBytes,
          .cache_bytes = config.cache_bytes};
}

// Null: it is not wanted.
Result<std::unique_ptr<doors::beanstalk::BeanstalkDoor>> open_beanstalk(
    pipeline::Desk& desk, const ServerConfig& config) {
  std::unique_ptr<doors::beanstalk::BeanstalkDoor> door;
  if (config.beanstalk.empty()) return door;
  const auto body_bytes_max = static_cast<std::size_t>(config.beanstalk_job_bytes_max);
  door = std::make_unique<doors::beanstalk::BeanstalkDoor>(
      desk, doors::beanstalk::DoorOptions{.body_bytes_max = body_bytes_max});
  RQ_TRY(door->listen(config.beanstalk));
  return door;
}

// Waits, for a while, until those who have asked have their answers.
void close_doors(net::Loop& loop, WorkerKeeper& keeper, doors::api::ApiDoor& http,
                 doors::beanstalk::BeanstalkDoor* beanstalk) {
  auto closed = std::make_shared<std::promise<void>>();
  boost::asio::post(loop.io(), [&keeper, &http, beanstalk, closed] {
    keeper.stop();
    if (beanstalk != nullptr) beanstalk->set_draining(true);
    http.close_down([closed] { closed->set_value(); });
  });
  static_cast<void>(closed->get_future().wait_for(kCloseDown));
}

Result<int> serve(const ServerOptions& options, ServerConfig& config, Log& log,
                  base::LockFile& lock) {
  const fs::path file = store::sqlite::store_file(config.dir);
  pipeline::Clock clock(
      config.manual_clock ? pipeline::Clock::Mode::manual : pipeline::Clock::Mode::wall,
      kManualStart);
  std::optional<LastSeen> last_seen = open_last_seen(config, clock);
  pipeline::Pipeline pipeline(store::sqlite::make_store(file, store_options(config)), clock);
  RQ_TRY_ASSIGN(boot, pipeline.open());
  tell_what_was_set_aside(file);
  RQ_TRY_ASSIGN(quick, open_readers(file, kReaderThreads));
  RQ_TRY_ASSIGN(search, open_readers(file, kSearchThreads));
  RQ_TRY_ASSIGN(janitor_view, store::sqlite::open_reader(file));
  RQ_TRY_ASSIGN(watch_view, store::sqlite::open_reader(file));
  pipeline::Readers readers(std::move(quick), std::move(search));
  net::Loop loop;
  pipeline::Desk desk(loop, pipeline);
  pipeline::EventHub events(loop);
  pipeline.add_sink(events);
  Janitor janitor(pipeline, std::move(janitor_view), config.dir);
  const auto end = [] { ::kill(::getpid(), SIGTERM); };
  StoreWatch watch(pipeline, std::move(watch_view), end);
  readers.on_damage(
      [&watch](std::vector<core::Suspect>&& suspects) { watch.examine(std::move(suspects)); });
  pipeline.on_failure(end);
  pipeline.on_damage([&watch] { watch.look_again(); });
  pipeline.on_waste([&janitor] { janitor.wake(); });
  doors::api::ApiDoor http(desk, readers, events, http_settings(config, file));
  http.set_boot(boot);
  std::optional<Code> fault;  // of the lock
  pipeline.on_alive([&] { keep_files(lock, fault, http, last_seen, clock); });
  RQ_TRY_ASSIGN(beanstalk, open_beanstalk(desk, config));
  RQ_TRY(http.listen());
  pipeline.start();
  janitor.start();
  watch.start();
  WorkerKeeper keeper(loop.io(), config.dir);
  if (config.worker) boost::asio::post(loop.io(), [&keeper] { keeper.start(); });
  loop.start();
  spdlog::info("rq {} serves {} (boot {}): {}{}", RQ_VERSION, config.dir.string(), boot,
               http.address().empty() ? "unix socket" : "http://" + http.address(),
               beanstalk ? fmt::format(", beanstalk port {}", beanstalk->port()) : "");
  tell_who_defines(config, http.address());

  hear_signals(options, config, log, beanstalk.get(), [&loop, &keeper] {
    boost::asio::post(loop.io(), [&keeper] { keeper.tell_of_new_log(); });
  });

  close_doors(loop, keeper, http, beanstalk.get());
  watch.stop();
  janitor.stop();
  pipeline.stop();  // what was taken in is committed
  readers.stop();
  loop.stop();
  return pipeline.failed() || watch.store_is_gone() ? base::row_of(Code::unknown_outcome).exit_code
                                                    : 0;
}

}  // namespace

Result<int> run_server(const ServerOptions& options) {
  RQ_TRY_ASSIGN(config, load_config(options));
  Log log(config.log_level);
  const sigset_t heard = heard_signals();
  ::pthread_sigmask(SIG_BLOCK, &heard, nullptr);
  // A client that goes away is an error of its own socket, and a file that may not grow one of its
  // write.
  for (const int signal : {SIGPIPE, SIGXFSZ}) ::signal(signal, SIG_IGN);
  const sigset_t stray = base::stray_signals();
  ::pthread_sigmask(SIG_BLOCK, &stray, nullptr);
  base::raise_open_files();  // as many connections as their bound allows
  RQ_TRY(make_folders(config.dir));
  RQ_TRY_ASSIGN(lock, lock_directory(config.dir));
  auto served = serve(options, config, log, lock);
  // The store turned out to be damaged while it was opened: it is rebuilt now.
  if (!served && fs::exists(store::sqlite::rebuild_mark(store::sqlite::store_file(config.dir)))) {
    spdlog::error("{}", served.error().message);
    served = serve(options, config, log, lock);
  }
  return served;
}

}  // namespace rq::server
