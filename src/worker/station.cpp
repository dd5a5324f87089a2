#include "worker/station.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"
#include "client/limits.h"
#include "worker/folder.h"

namespace rq::worker {
namespace {

using base::Code;
using base::fail;
using base::Millis;
using base::Result;

constexpr std::size_t kUserBufferBytes = 64 * base::kKiB;
constexpr std::int64_t kAheadMax = 64;  // messages leased ahead of their slots
// So many quick failures in a row, and starts back off.
constexpr int kStormFailures = 5;
constexpr Millis kStormQuick{300};  // a failure is quick below this
constexpr Millis kStormDelayMin{100};
constexpr Millis kStormDelayMax{10'000};
constexpr int kStormDoublingsMax = 20;

// The user's other groups.
std::vector<gid_t> groups_of(const passwd& user) {
  int count = 64;
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  while (::getgrouplist(user.pw_name, user.pw_gid, groups.data(), &count) < 0) {
    groups.resize(static_cast<std::size_t>(count));
  }
  groups.resize(static_cast<std::size_t>(count));
  return groups;
}

std::string own_limits() {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  return fmt::to_string(files.rlim_max);
}

}  // namespace

Station::Station(boost::asio::io_context& io, const std::string& dir, QueueView view)
    : fill_timer(io),
      ahead_timer(io),
      dir_(dir),
      view_(std::move(view)),
      script_(dir, settings().script, settings().exec_prefix) {}

bool Station::update(QueueView view) {
  view_.script_error = std::move(view.script_error);
  if (view.settings == view_.settings) return false;
  view_.settings = std::move(view.settings);
  script_ = ScriptFile(dir_, settings().script, settings().exec_prefix);
  quick_failures_ = 0;
  ended_storm_ = std::exchange(storm_until_, Time{}) > std::chrono::steady_clock::now();
  return true;
}

std::string Station::examine(const Probe& probe) {
  if (const Result<void> user = find_user(); !user) return user.error().message;
  if (credentials_) {
    if (const Result<void> open = let_in(dir_); !open) return open.error().message;
  }
  const auto found = script_.look();
  // Where the worker itself cannot look, what is known of the script stands: each start looks
  // again.
  if (!found) return found.error().code == Code::bad_value ? found.error().message : error;
  SpawnRequest request;
  request.program = (*found)->program;
  if (!(*found)->is_binary) request.reads = (*found)->real_path;
  if (credentials_) request.cwd = dir_ + "/queue";
  request.nice = settings().nice;
  request.limits = child_limits();
  request.credentials = credentials();
  const std::optional<SpawnFailure> failure = probe(std::move(request));
  return failure ? fault_of(*failure) : std::string();
}

ChildLimits Station::child_limits() const {
  const core::ScriptLimits& limits = settings().limits;
  return {.cpu_seconds = limits.cpu_seconds,
          .open_files = limits.open_files,
          .file_bytes = limits.file_bytes};
}

std::string Station::fault_of(const SpawnFailure& failure) const {
  using Step = SpawnFailure::Step;
  const std::string why = base::text_of_errno(failure.error);
  switch (failure.step) {
    case Step::exec:
      if (failure.error == ENOMEM || failure.error == EAGAIN || failure.error == ETXTBSY ||
          failure.error == EMFILE || failure.error == ENFILE) {
        return {};
      }
      if (failure.error == EACCES && credentials_) {
        return fmt::format(
            "script '{}' cannot be read and executed by user '{}': {}; see to the "
            "rights of the file (chmod a+rx) and of the folders above it (chmod a+x)",
            settings().script, settings().user, why);
      }
      return fmt::format(
          "script '{}' cannot be executed: {}; see to the file and to the "
          "interpreter that it names",
          settings().script, why);
    case Step::user:
      return fmt::format("user '{}': {}; run the worker as root, or change 'user' of the queue",
                         settings().user, why);
    case Step::nice:
      return fmt::format(
          "nice {}: {}; only root may give a script a higher priority than the worker has; run the "
          "worker as root, or change 'nice' of the queue",
          settings().nice, why);
    case Step::limits:
      return fmt::format(
          "the limits of the queue cannot be set: {}; a limit may not be above the "
          "worker's own (open_files: {}); change 'limits' of the queue",
          why, own_limits());
    case Step::folder:
      if (!credentials_) return {};
      return fmt::format(
          "user '{}' cannot get to '{}/queue', where its scripts work: {}; let it "
          "enter every folder on the way (chmod a+x), or change 'user' of the queue",
          settings().user, dir_, why);
    case Step::clone:
    case Step::descriptors:
      return {};
  }
  return {};
}

Result<void> Station::find_user() {
  credentials_.reset();
  ScriptUser user;
  if (!settings().user.empty()) {
    passwd entry{};
    passwd* found = nullptr;
    std::vector<char> buffer(kUserBufferBytes);
    ::getpwnam_r(settings().user.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (found == nullptr) {
      return fail(Code::bad_value,
                  fmt::format("user '{}' does not exist on this machine; make it, or change 'user' "
                              "of the queue",
                              settings().user));
    }
    if (entry.pw_uid != ::geteuid()) {
      if (::geteuid() != 0) {
        return fail(Code::bad_value,
                    fmt::format("user '{}': the worker is not root, so it cannot run scripts as "
                                "somebody else; run it as root, or change 'user' of the queue",
                                settings().user));
      }
      credentials_ =
          Credentials{.uid = entry.pw_uid, .gid = entry.pw_gid, .groups = groups_of(entry)};
    }
    user = {.name = entry.pw_name, .home = entry.pw_dir, .shell = entry.pw_shell};
  }
  environment_ = queue_environment(settings(), ::environ, user);
  return {};
}

// How many messages to lease ahead of the slots. Between two short scripts a slot would wait for
// the server longer than it runs.
std::int64_t Station::lead() const {
  if (usual_ >= kAheadScriptMax || quick_failures_ > 0) return 0;
  // One at a time means in order: what is taken and given back might lose its place.
  if (settings().num_workers == 1) return 0;
  return std::min(2 * settings().num_workers, kAheadMax);
}

std::int64_t Station::free() const {
  return settings().num_workers + lead() - busy_ - asked_ - std::ssize(ahead);
}

std::int64_t Station::wanted(Time now) const {
  // One that was made for a script that goes on knows its settings when the server has told them.
  if (removed || !error.empty() || settings().script.empty()) return 0;
  // Until the server has heard that the script is fine, it would give nothing.
  if (!view_.script_error.empty()) return 0;
  const std::int64_t count = free();
  // Some at once are cheaper than one at a time.
  if (count <= 0 || count < lead() / 2 || held_until() > now) return 0;
  return std::min<std::int64_t>(count, base::kReserveMessagesMax);
}

std::optional<Station::Time> Station::held_back(Time now) const {
  if (removed || !error.empty() || held_until() <= now || free() <= 0) return std::nullopt;
  return held_until();
}

void Station::ask_failed(Time now) {
  ask_delay_ = std::clamp(ask_delay_ * 2, client::kReconnectDelayMin, client::kReconnectDelayMax);
  hold_until(now + ask_delay_);
}

std::string Station::storm(std::string_view reason) const {
  if (quick_failures_ < kStormFailures) return {};
  return fmt::format("{} quick failures in a row, the last: {}", quick_failures_, reason);
}

bool Station::note_end(std::string_view outcome, std::chrono::microseconds wall, Time now) {
  usual_ = (usual_ * 7 + wall) / 8;
  if (outcome == "done" || outcome == "relayed") {
    quick_failures_ = 0;
    return std::exchange(storm_until_, Time{}) > now;
  }
  if (outcome != "failed" || wall >= kStormQuick) return false;
  if (runs_commands()) return false;  // one that fails says nothing of the next
  const int beyond = ++quick_failures_ - kStormFailures;
  if (beyond < 0) return false;
  const Millis delay = std::min<Millis>(
      kStormDelayMin * (1LL << std::min(beyond, kStormDoublingsMax)), kStormDelayMax);
  storm_until_ = now + delay;
  spdlog::warn("queue '{}': {} quick failures in a row, the next start waits {} ms", name(),
               quick_failures_, delay.count());
  return false;
}

}  // namespace rq::worker
