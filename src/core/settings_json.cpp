#include "core/settings_json.h"

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include "base/limits.h"
#include "core/json_fields.h"
#include "core/message_check.h"

namespace rq::core {
namespace {

using base::Code;
using base::fail;
namespace json = boost::json;

// No shell starts with less: whoever gives less has forgotten the unit.
constexpr std::int64_t kMemoryOfAScriptMin = 1 * base::kMiB;

json::object to_json(const TextPairs& pairs) {
  json::object out;
  for (const auto& [name, value] : pairs) out[name] = value;
  return out;
}

json::array to_json(const std::vector<std::string>& texts) {
  json::array out;
  for (const std::string& text : texts) out.emplace_back(text);
  return out;
}

json::object to_json(const Retention& keep) {
  json::object out{{"age_s", json_seconds(keep.age)}, {"count", nullptr}};
  if (keep.count != kKeepAny) out["count"] = keep.count;
  return out;
}

json::object to_json(const ScriptLimits& limits) {
  return {{"memory_bytes", limits.memory_bytes},
          {"cpu_s", limits.cpu_seconds},
          {"open_files", limits.open_files},
          {"file_bytes", limits.file_bytes},
          {"processes", limits.processes}};
}

// One field of the settings: a null brings back the default, an object goes to `merge`, anything
// else is for the reader that follows.
template <typename T, typename Merge>
void merge_object(Fields& fields, const json::object& changes, std::string_view name, T& out,
                  const T& standard, const Merge& merge) {
  const json::value* value = changes.if_contains(name);
  const json::object* object = fields.object(name);
  if (value != nullptr && value->is_null()) out = standard;
  if (object == nullptr) return;
  if (auto merged = merge(*object, out); !merged) fields.refuse(std::move(merged).error());
}

base::Result<void> merge_limits(const json::object& object, ScriptLimits& out) {
  Fields fields(object, "limits");
  fields.integer("memory_bytes", out.memory_bytes, 0, INT64_MAX);
  fields.integer("cpu_s", out.cpu_seconds, 0, INT32_MAX);
  fields.integer("open_files", out.open_files, 0, INT32_MAX);
  fields.integer("file_bytes", out.file_bytes, 0, INT64_MAX);
  fields.integer("processes", out.processes, 0, INT32_MAX);
  return fields.finish();
}

base::Result<void> merge_keep(const json::object& object, Retention& out) {
  Fields fields(object, "the retention");
  fields.seconds("age_s", out.age, Millis{0}, base::kRetentionMax);
  // Here a null is a value: no bound.
  const json::value* count = object.if_contains("count");
  if (count != nullptr && count->is_null()) out.count = kKeepAny;
  fields.integer("count", out.count, 0, kKeepAny);
  return fields.finish();
}

// One of a few words. `remedy` names them.
template <typename Enum>
void word(Fields& fields, std::string_view name, Enum& out,
          std::optional<Enum> (*of)(std::string_view), std::string_view remedy) {
  std::string text;
  if (!fields.text(name, text, base::kNameBytesMax)) return;
  if (const auto known = of(text)) {
    out = *known;
  } else {
    fields.refuse(fail(Code::bad_value, fmt::format("{}: '{}' is not allowed", name, text),
                       std::string{remedy}));
  }
}

}  // namespace

json::object to_json(const QueueSettings& s) {
  return {{"script", s.script},
          {"exec_prefix", s.exec_prefix},
          {"num_workers", s.num_workers},
          {"env_vars", to_json(s.env_vars)},
          {"env_allow", to_json(s.env_allow)},
          {"user", s.user},
          {"nice", s.nice},
          {"limits", to_json(s.limits)},
          {"success", name_of(s.success)},
          {"timeout_s", json_seconds(s.timeout)},
          {"grace_s", json_seconds(s.grace)},
          {"lease_s", json_seconds(s.lease)},
          {"retries", s.retries},
          {"losses", s.losses},
          {"backoff", to_json(s.backoff)},
          {"max_count", s.max_count},
          {"keep_done", to_json(s.keep_done)},
          {"keep_err", to_json(s.keep_err)},
          {"keep_cancelled", to_json(s.keep_cancelled)},
          {"sync", name_of(s.sync)},
          {"priority", s.priority},
          {"put_over_tcp", s.put_over_tcp},
          {"messages_max", s.messages_max},
          {"payload_bytes_max", s.payload_bytes_max}};
}

base::Result<QueueSettings> merge_settings(const QueueSettings& base, const json::object& changes) {
  const QueueSettings standard;
  QueueSettings out = base;
  const auto reset = [&changes](std::string_view name, auto& value, const auto& to) {
    const json::value* given = changes.if_contains(name);
    if (given != nullptr && given->is_null()) value = to;
  };
  reset("script", out.script, standard.script);
  reset("exec_prefix", out.exec_prefix, standard.exec_prefix);
  reset("num_workers", out.num_workers, standard.num_workers);
  reset("env_vars", out.env_vars, standard.env_vars);
  reset("env_allow", out.env_allow, standard.env_allow);
  reset("user", out.user, standard.user);
  reset("nice", out.nice, standard.nice);
  reset("success", out.success, standard.success);
  reset("timeout_s", out.timeout, standard.timeout);
  reset("grace_s", out.grace, standard.grace);
  reset("lease_s", out.lease, standard.lease);
  reset("retries", out.retries, standard.retries);
  reset("losses", out.losses, standard.losses);
  reset("max_count", out.max_count, standard.max_count);
  reset("sync", out.sync, standard.sync);
  reset("priority", out.priority, standard.priority);
  reset("put_over_tcp", out.put_over_tcp, standard.put_over_tcp);
  reset("messages_max", out.messages_max, standard.messages_max);
  reset("payload_bytes_max", out.payload_bytes_max, standard.payload_bytes_max);

  Fields fields(changes, "the queue settings");
  fields.text("script", out.script, base::kScriptBytesMax);
  fields.text("exec_prefix", out.exec_prefix, base::kScriptBytesMax);
  fields.integer("num_workers", out.num_workers, 0, base::kWorkersMax);
  fields.pairs("env_vars", out.env_vars, base::kEnvVarsMax, base::kEnvVarBytesMax,
               base::kEnvVarBytesMax);
  fields.texts("env_allow", out.env_allow, base::kEnvVarsMax, base::kEnvVarBytesMax);
  fields.text("user", out.user, base::kNameBytesMax);
  fields.integer("nice", out.nice, -20, 19);
  merge_object(fields, changes, "limits", out.limits, standard.limits, merge_limits);
  word(fields, "success", out.success, success_of, "give auto, word or exit");
  fields.seconds("timeout_s", out.timeout, Millis{0}, base::kLeaseMax);
  fields.seconds("grace_s", out.grace, Millis{0}, base::kLeaseMax);
  fields.seconds("lease_s", out.lease, base::kLeaseMin, base::kLeaseMax);
  fields.integer("retries", out.retries, 0, base::kCountMax);
  fields.integer("losses", out.losses, 0, base::kCountMax);
  merge_object(fields, changes, "backoff", out.backoff, standard.backoff, merge_backoff);
  fields.integer("max_count", out.max_count, 0, base::kCountMax);
  merge_object(fields, changes, "keep_done", out.keep_done, standard.keep_done, merge_keep);
  merge_object(fields, changes, "keep_err", out.keep_err, standard.keep_err, merge_keep);
  merge_object(fields, changes, "keep_cancelled", out.keep_cancelled, standard.keep_cancelled,
               merge_keep);
  word(fields, "sync", out.sync, sync_of, "give always or relaxed");
  fields.integer("priority", out.priority, base::kPriorityMin, base::kPriorityMax);
  // What is put into a queue of command lines runs.
  if (runs_commands(out) && !runs_commands(base)) out.put_over_tcp = false;
  fields.boolean("put_over_tcp", out.put_over_tcp);
  fields.integer("messages_max", out.messages_max, 0, INT64_MAX);
  fields.integer("payload_bytes_max", out.payload_bytes_max, 0,
                 static_cast<std::int64_t>(base::kPayloadBytesMax));
  RQ_TRY(fields.finish());
  RQ_TRY(check(out));
  return out;
}

namespace {

void add_changed(const json::object& before, const json::object& after, std::string_view within,
                 std::string& out) {
  for (const auto& [key, value] : after) {
    const json::value* was = before.if_contains(key);
    if (was != nullptr && *was == value) continue;
    const std::string_view name(key.data(), key.size());
    // Variables come and go; the fields of other objects stay.
    if (was != nullptr && was->is_object() && value.is_object() && name != "env_vars") {
      add_changed(was->get_object(), value.get_object(), fmt::format("{}{}.", within, name), out);
    } else {
      out += fmt::format("{}{}{}", out.empty() ? "" : ", ", within, name);
    }
  }
}

}  // namespace

std::string changed_names(const QueueSettings& before, const QueueSettings& after) {
  std::string out;
  add_changed(to_json(before), to_json(after), {}, out);
  return out;
}

base::Result<void> check_given(const QueueSettings& given) {
  if (const std::int64_t memory = given.limits.memory_bytes;
      memory > 0 && memory < kMemoryOfAScriptMin) {
    return fail(Code::bad_value,
                fmt::format("limits.memory_bytes: {} bytes are too little for any program", memory),
                fmt::format("give 0 (no bound), or {} and more, for example {} (--memory 50M)",
                            kMemoryOfAScriptMin, 50 * base::kMiB));
  }
  const auto refuse = [](std::string_view field, std::string_view name) {
    return fail(
        Code::bad_value,
        fmt::format("{}: '{}': names that begin with RQ_ are set by rq itself", field, name),
        "choose another name; docs/SCRIPTS.md lists what a script finds");
  };
  for (const auto& [name, value] : given.env_vars) {
    if (name.starts_with("RQ_")) return refuse("env_vars", name);
  }
  for (const std::string& name : given.env_allow) {
    if (name.starts_with("RQ_")) return refuse("env_allow", name);
  }
  return {};
}

}  // namespace rq::core
