#include "worker/worker.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <memory>

#include "base/check.h"
#include "base/lock_file.h"
#include "core/name.h"
#include "worker/loop.h"
#include "worker/running_record.h"

namespace rq::worker {
namespace {

using base::Code;
using base::fail;
using base::Result;

// A worker name as part of a file name.
std::string file_part(std::string name) {
  std::replace(name.begin(), name.end(), '/', '%');
  return name;
}

Result<base::LockFile> lock_name(const std::string& run_dir, const std::string& name) {
  const std::string stem = run_dir + (name == "local" ? "/worker" : "/worker-" + file_part(name));
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

}  // namespace

Result<int> run_worker(const WorkerOptions& options) {
  RQ_TRY_ASSIGN(name, name_of(options));
  const std::unique_ptr<char, void (*)(void*)> dir(::realpath(options.dir.c_str(), nullptr),
                                                   ::free);
  if (!dir) {
    return fail(Code::not_found,
                fmt::format("directory '{}': {}", options.dir, base::text_of_errno(errno)),
                "make it, or name another with --dir");
  }
  const std::string root = dir.get();
  const std::string run_dir = root + "/run";
  if (::mkdir(run_dir.c_str(), 0755) != 0 && errno != EEXIST) {
    return fail(Code::internal,
                fmt::format("cannot make '{}': {}", run_dir, base::text_of_errno(errno)),
                "see to the rights of the folder");
  }
  RQ_TRY_ASSIGN(server, client::parse_server(options.server.empty() ? root + "/run/rq.sock"
                                                                    : options.server));
  RQ_TRY_ASSIGN(lock, lock_name(run_dir, name));
  RQ_TRY_ASSIGN(record,
                RunningRecord::open(fmt::format("{}/worker-{}.running", run_dir, file_part(name))));

  const RunningRecord::Leftovers leftovers = record->clean_up();
  if (!leftovers.begun.empty() || leftovers.processes > 0) {
    spdlog::warn(
        "a worker before this one died: {} scripts were under way, {} processes of theirs "
        "were still there and are killed; their messages go back",
        leftovers.begun.size(), leftovers.processes);
  }
  LoopFacts facts;
  facts.dir = root;
  facts.name = name;
  facts.worker.base_url = options.base_url.empty() ? "http://127.0.0.1:3333/" : options.base_url;
  if (!facts.worker.base_url.ends_with('/')) facts.worker.base_url.push_back('/');
  facts.base_url_fixed = !options.base_url.empty();
  facts.worker.version = RQ_VERSION;
  facts.worker.env = options.env;
  facts.kept = options.kept;
  boost::asio::io_context io(1);
  Loop loop(io, std::move(facts), std::move(server), *record);
  loop.hand_back(leftovers);
  loop.start();
  io.run();
  RQ_CHECK(loop.has_ended());
  return 0;
}

}  // namespace rq::worker
