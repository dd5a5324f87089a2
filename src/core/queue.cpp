#include "core/queue.h"

#include <fmt/format.h>

#include <chrono>

#include "base/limits.h"
#include "base/names.h"
#include "core/bounds.h"

namespace rq::core {
namespace {

using base::Code;
using base::fail;

constexpr std::array<std::string_view, 4> kAdmins{"up", "pause", "drain", "down"};
constexpr std::array<std::string_view, 2> kSyncs{"always", "relaxed"};
constexpr std::array<std::string_view, 3> kSuccesses{"auto", "word", "exit"};

base::Error bad(std::string_view field, std::string_view value, std::string_view remedy) {
  return fail(Code::bad_value, fmt::format("{}: '{}' is not allowed", field, value),
              std::string{remedy});
}

base::Result<void> check(std::string_view field, const Retention& keep) {
  RQ_TRY(in_range(fmt::format("{}.age_s", field), keep.age, Millis{0}, base::kRetentionMax));
  return in_range(fmt::format("{}.count", field), keep.count, 0, INT64_MAX);
}

base::Result<void> check_environment(const QueueSettings& s) {
  if (s.env_vars.size() > base::kEnvVarsMax || s.env_allow.size() > base::kEnvVarsMax) {
    return fail(Code::too_many, "env_vars and env_allow have too many names",
                fmt::format("at most {} are allowed in each", base::kEnvVarsMax));
  }
  for (const auto& [name, value] : s.env_vars) {
    if (name.empty() || name.find('=') != std::string::npos) {
      return bad("env_vars", name, "a name must not be empty or contain '='");
    }
    RQ_TRY(check_text("env_vars", name, base::kEnvVarBytesMax));
    RQ_TRY(check_text(fmt::format("env_vars.{}", name), value, base::kEnvVarBytesMax));
  }
  for (const std::string& name : s.env_allow) {
    if (name.empty() || name.find('=') != std::string::npos) {
      return bad("env_allow", name, "a name must not be empty or contain '='");
    }
    RQ_TRY(check_text("env_allow", name, base::kEnvVarBytesMax));
  }
  return {};
}

}  // namespace

std::string_view name_of(Admin admin) { return base::name_in(kAdmins, admin); }
std::optional<Admin> admin_of(std::string_view name) {
  return base::value_of<Admin>(kAdmins, name);
}
std::string_view name_of(Success success) { return base::name_in(kSuccesses, success); }
std::optional<Success> success_of(std::string_view name) {
  return base::value_of<Success>(kSuccesses, name);
}
std::string_view name_of(SyncClass sync) { return base::name_in(kSyncs, sync); }
std::optional<SyncClass> sync_of(std::string_view name) {
  return base::value_of<SyncClass>(kSyncs, name);
}

base::Result<void> check(const QueueSettings& s) {
  RQ_TRY(check_text("script", s.script, base::kScriptBytesMax));
  RQ_TRY(check_text("exec_prefix", s.exec_prefix, base::kScriptBytesMax));
  RQ_TRY(in_range("num_workers", s.num_workers, 0, base::kWorkersMax));
  RQ_TRY(check_environment(s));
  RQ_TRY(check_text("user", s.user, base::kNameBytesMax));
  RQ_TRY(in_range("nice", s.nice, -20, 19));
  RQ_TRY(in_range("limits.memory_bytes", s.limits.memory_bytes, 0, INT64_MAX));
  RQ_TRY(in_range("limits.cpu_s", s.limits.cpu_seconds, 0, INT32_MAX));
  RQ_TRY(in_range("limits.open_files", s.limits.open_files, 0, INT32_MAX));
  RQ_TRY(in_range("limits.file_bytes", s.limits.file_bytes, 0, INT64_MAX));
  RQ_TRY(in_range("limits.processes", s.limits.processes, 0, INT32_MAX));
  RQ_TRY(in_range("timeout_s", s.timeout, Millis{0}, base::kLeaseMax));
  RQ_TRY(in_range("grace_s", s.grace, Millis{0}, base::kLeaseMax));
  RQ_TRY(in_range("lease_s", s.lease, base::kLeaseMin, base::kLeaseMax));
  RQ_TRY(in_range("retries", s.retries, 0, base::kCountMax));
  RQ_TRY(in_range("losses", s.losses, 0, base::kCountMax));
  RQ_TRY(check(s.backoff));
  RQ_TRY(in_range("max_count", s.max_count, 0, base::kCountMax));
  RQ_TRY(check("keep_done", s.keep_done));
  RQ_TRY(check("keep_err", s.keep_err));
  RQ_TRY(check("keep_cancelled", s.keep_cancelled));
  RQ_TRY(in_range("priority", s.priority, base::kPriorityMin, base::kPriorityMax));
  RQ_TRY(in_range("messages_max", s.messages_max, 0, INT64_MAX));
  return in_range("payload_bytes_max", s.payload_bytes_max, 0,
                  static_cast<std::int64_t>(base::kPayloadBytesMax));
}

base::Result<void> check(const Backoff& backoff) {
  RQ_TRY(in_range("backoff.base_s", backoff.base, Millis{0}, base::kDelayMax));
  RQ_TRY(in_range("backoff.max_s", backoff.max, Millis{0}, base::kDelayMax));
  return in_range("backoff.jitter_percent", backoff.jitter_percent, 0, 100);
}

Millis delay_after(const Backoff& backoff, std::int64_t failures, std::uint64_t seed) {
  Millis delay = backoff.base;
  if (backoff.kind == BackoffKind::exponential) {
    for (std::int64_t i = 1; i < failures && delay < backoff.max; ++i) delay *= 2;
  }
  delay = std::min(delay, backoff.max);
  if (backoff.jitter_percent == 0 || delay.count() == 0) return delay;
  // splitmix64: spreads neighbours far apart, and the same message draws the same delay again.
  std::uint64_t x = seed + 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebULL;
  x ^= x >> 31U;
  const std::int64_t span = delay.count() * backoff.jitter_percent / 100;
  const auto draw = static_cast<std::int64_t>(x % static_cast<std::uint64_t>(2 * span + 1));
  return delay + Millis{draw - span};
}

Keep keep_of(State state) {
  if (state == State::err) return Keep::err;
  return state == State::cancelled ? Keep::cancelled : Keep::done;
}

const Retention& retention(const QueueSettings& settings, Keep keep) {
  if (keep == Keep::err) return settings.keep_err;
  return keep == Keep::cancelled ? settings.keep_cancelled : settings.keep_done;
}

// A held message waits for whoever held it, whatever the retention.
std::int64_t kept(const Counters& counters, Keep keep) {
  if (keep == Keep::err) return counters.in(State::err)-counters.held;
  if (keep == Keep::cancelled) return counters.in(State::cancelled);
  return counters.in(State::done) + counters.in(State::relayed);
}

std::string folder_of(const Queue& queue, const Message& message) {
  constexpr std::size_t kFileNameBytesMax = 255;
  constexpr std::size_t kCut = 200;
  // No name has a '~'.
  const std::string folder = queue.name.size() <= kFileNameBytesMax
                                 ? queue.name
                                 : fmt::format("{}~{}", queue.name.substr(0, kCut), queue.id);
  return fmt::format("queue/{}/{}", folder, format_id(message));
}

}  // namespace rq::core
