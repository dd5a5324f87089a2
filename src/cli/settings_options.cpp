#include "cli/settings_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cmath>
#include <filesystem>
#include <functional>
#include <system_error>

#include "base/limits.h"
#include "cli/text.h"
#include "cli/verb.h"
#include "core/message_check.h"
#include "core/queue.h"
#include "core/settings_json.h"
#include "worker/script.h"

namespace rq::cli {
using base::Code;
using base::fail;
using base::Millis;
using base::Result;

namespace {

// Seconds as the API wants them: whole where they are whole.
json::value seconds(Millis length) {
  if (length.count() % 1000 == 0) return length.count() / 1000;
  return static_cast<double>(length.count()) / 1000;
}

// What a person writes for the field `name`.
Result<json::value> field_value(std::string_view name, std::string_view text) {
  if (text == "null") return json::value(nullptr);
  if (name.ends_with("_s")) {
    RQ_TRY_ASSIGN(length, parse_duration(text));
    return seconds(length);
  }
  if (name.find("_bytes") != std::string_view::npos) {
    RQ_TRY_ASSIGN(bytes, parse_size(text));
    return json::value(bytes);
  }
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  if (!error) return value;
  return json::value(text);
}

// A script that is there from where we stand is told to the server by its whole path.
std::string whole_path(const std::string& script) {
  std::error_code error;
  const bool here = script.starts_with("./") || script.starts_with("../") ||
                    std::filesystem::is_regular_file(script, error);
  if (!here) return script;
  const auto path = std::filesystem::absolute(script, error).lexically_normal();
  return error ? script : path.string();
}

// "7d", "1000", "7d,1000", "7d,any"
Result<json::object> parse_keep(std::string_view text) {
  json::object keep;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    if (part == "any") {
      keep["count"] = nullptr;
      continue;
    }
    const bool is_number = part.find_first_not_of("0123456789.") == std::string_view::npos;
    if (is_number && part.find('.') != std::string_view::npos) {
      return fail(Code::bad_value,
                  fmt::format("'{}' is neither a number of messages nor a length of time", part),
                  "write a length with its unit, a whole number, or both: 36h, 1000 or 7d,1000");
    }
    if (is_number && !part.empty()) {
      boost::system::error_code error;
      keep["count"] = json::parse(part, error);
      if (!error) continue;
    }
    RQ_TRY_ASSIGN(age, parse_duration(part));
    keep["age_s"] = seconds(age);
  }
  return keep;
}

// "fixed:10s", "exponential:15s..1h"
Result<json::object> parse_backoff(std::string_view text) {
  const std::string_view whole = text;
  const std::string_view kind = text.substr(0, text.find(':'));
  text.remove_prefix(std::min(kind.size() + 1, text.size()));
  if (kind != "fixed" && kind != "exponential") {
    return fail(Code::bad_value, fmt::format("backoff '{}': no such kind", whole),
                "write fixed:10s or exponential:15s..1h");
  }
  json::object backoff{{"kind", kind}};
  if (text.empty()) return backoff;
  const std::size_t dots = text.find("..");
  RQ_TRY_ASSIGN(first, parse_duration(text.substr(0, dots)));
  backoff["base_s"] = seconds(first);
  if (dots != std::string_view::npos) {
    RQ_TRY_ASSIGN(longest, parse_duration(text.substr(dots + 2)));
    if (longest < first) {
      return fail(Code::bad_value,
                  fmt::format("backoff '{}': the longest is shorter than the first", whole),
                  fmt::format("the shorter one comes first: {}:{}..{}", kind, text.substr(dots + 2),
                              text.substr(0, dots)));
    }
    backoff["max_s"] = seconds(longest);
  } else if (first > core::Backoff{}.max) {
    backoff["max_s"] = seconds(first);  // no wait is longer than that
  }
  return backoff;
}

json::object& inner(json::object& values, std::string_view name) {
  json::value& value = values[name];
  if (!value.is_object()) value = json::object{};
  return value.get_object();
}

// What the option does not say of it is at its default, whatever the queue had before.
json::object& whole(json::object& values, std::string_view name) {
  json::value& value = values[name];
  if (!value.is_object()) value = core::to_json(core::QueueSettings{}).at(name);
  return value.get_object();
}

}  // namespace

Result<void> set_field(json::object& values, std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return fail(Code::bad_value, fmt::format("--set '{}': not of the form KEY=VALUE", assignment),
                "for example --set retries=3 or --set limits.open_files=256");
  }
  const std::string_view key = assignment.substr(0, equals);
  const std::string_view text = assignment.substr(equals + 1);
  const std::size_t dot = key.find('.');
  const std::string_view leaf = dot == std::string_view::npos ? key : key.substr(dot + 1);
  RQ_TRY_ASSIGN(value, field_value(leaf, text));
  if (dot == std::string_view::npos) {
    values[key] = std::move(value);
  } else {
    inner(values, key.substr(0, dot))[leaf] = std::move(value);
  }
  return {};
}

namespace {

// "90s", "10m", "7d": as parse_duration() takes it.
std::string written_length(double in_s) {
  struct Unit {
    double in_s;
    const char* name;
  };
  for (const Unit unit : {Unit{86400, "d"}, Unit{3600, "h"}, Unit{60, "m"}}) {
    const double count = in_s / unit.in_s;
    if (count >= 1 && count == std::floor(count)) return fmt::format("{}{}", count, unit.name);
  }
  return fmt::format("{}s", in_s);
}

std::string written_keep(const json::value& keep) {
  const std::string count = text_at(keep, "count");
  return fmt::format("{},{}", written_length(number_at(keep, "age_s").value_or(0)),
                     count.empty() ? "any" : count);
}

std::string written_backoff(const json::value& backoff) {
  return fmt::format("{}:{}..{}", text_at(backoff, "kind"),
                     written_length(number_at(backoff, "base_s").value_or(0)),
                     written_length(number_at(backoff, "max_s").value_or(0)));
}

// What its option would have to say for what holds without it. `key`: "lease_s", "limits.cpu_s".
std::string written_default(std::string_view key) {
  const json::value standard = core::to_json(core::QueueSettings{});
  const std::size_t dot = key.find('.');
  const bool nested = dot != std::string_view::npos;
  const json::value& holder = nested ? at(standard, key.substr(0, dot)) : standard;
  const std::string_view leaf = nested ? key.substr(dot + 1) : key;
  if (leaf.starts_with("keep_")) return written_keep(at(holder, leaf));
  if (leaf == "backoff") return written_backoff(at(holder, leaf));
  const double number = number_at(holder, leaf).value_or(0);
  if (leaf.ends_with("_s") && number != 0) return written_length(number);
  const std::string text = text_at(holder, leaf);
  return text.empty() ? "''" : text;
}

using Take = std::function<Result<void>(const std::string&)>;

// The options of the settings: where they are declared, and where their values go.
class SettingsOptions {
 public:
  SettingsOptions(CLI::App& app, json::object& values, Defaults defaults)
      : app_(app), values_(values), defaults_(defaults) {}
  void add_all();

 private:
  void add_script_options();   // what runs, and in which environment
  void add_attempt_options();  // what becomes of an attempt that takes long, or fails
  void add_limit_options();
  void add_store_options();  // what the queue holds, and for how long

  void add(const std::string& name, const std::string& type, Take take, const std::string& help);
  // One that sets this field: help tells its default.
  void add_taken(const std::string& name, const std::string& type, const std::string& key,
                 Take take, const std::string& help);
  // Its text is the value; as a number, a length or a size.
  void add_plain(const std::string& name, const std::string& type, const std::string& key,
                 const std::string& help);
  void add_field(const std::string& name, const std::string& type, const std::string& key,
                 const std::string& help);

  CLI::App& app_;
  json::object& values_;
  const Defaults defaults_;
};

void SettingsOptions::add(const std::string& name, const std::string& type, Take take,
                          const std::string& help) {
  app_.add_option_function<std::vector<std::string>>(
          name,
          [take = std::move(take)](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) {
              if (auto taken = take(text); !taken) throw BadOption{std::move(taken).error()};
            }
          },
          help)
      ->type_name(type)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false)
      ->group("Settings");
}

void SettingsOptions::add_taken(const std::string& name, const std::string& type,
                                const std::string& key, Take take, const std::string& help) {
  const bool told = defaults_ == Defaults::told;
  add(name, type, std::move(take),
      told ? fmt::format("{} (default {})", help, written_default(key)) : help);
}

void SettingsOptions::add_plain(const std::string& name, const std::string& type,
                                const std::string& key, const std::string& help) {
  const auto take = [&values = values_, key](const std::string& text) -> Result<void> {
    values[key] = text;
    return {};
  };
  add_taken(name, type, key, take, help);
}

void SettingsOptions::add_field(const std::string& name, const std::string& type,
                                const std::string& key, const std::string& help) {
  const auto take = [&values = values_, key](const std::string& text) {
    return set_field(values, key + "=" + text);
  };
  add_taken(name, type, key, take, help);
}

Result<void> take_script(json::object& values, const std::string& text) {
  // One inside of rq, which is the same everywhere.
  if (text.starts_with('@')) {
    if (auto found = worker::ScriptFile({}, text, {}).look(); !found) {
      return fail(Code::bad_value, found.error().message,
                  fmt::format("a file of that name: --script ./{}", text));
    }
  }
  values["script"] = whole_path(text);
  return {};
}

Result<void> take_variable(json::object& values, const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return fail(Code::bad_value, fmt::format("--env '{}': not of the form NAME=VALUE", text),
                "for example --env STAGE=test");
  }
  inner(values, "env_vars")[text.substr(0, equals)] = text.substr(equals + 1);
  return {};
}

Result<void> take_allowed(json::object& values, const std::string& text) {
  json::value& list = values["env_allow"];
  if (!list.is_array()) list = json::array{};
  list.get_array().emplace_back(text);
  return {};
}

Result<void> take_backoff(json::object& values, const std::string& text) {
  RQ_TRY_ASSIGN(backoff, parse_backoff(text));
  for (auto& [name, value] : backoff) whole(values, "backoff")[name] = value;
  return {};
}

void SettingsOptions::add_script_options() {
  add_taken(
      "--script", "PATH", "script",
      [&values = values_](const std::string& text) { return take_script(values, text); },
      "Program that is run for each message. Without a / in front: from this folder when it is "
      "there, else from the server's directory or its scripts/. '': none, for workers elsewhere");
  add_plain("--exec-prefix", "WORDS", "exec_prefix",
            "Stands before the script: 'bash -lc'. '': nothing");
  add_field("-j,--num-workers", "N", "num_workers", "Scripts at a time");
  add_plain("--success", "RULE", "success",
            "What an exit with 0 means: auto (done; for a script that speaks on fd 3 as word), "
            "word (done only if it has said so there), exit (done)");
  add(
      "--env", "A=B",
      [&values = values_](const std::string& text) { return take_variable(values, text); },
      "Variable of the script's environment");
  add(
      "--env-allow", "NAME",
      [&values = values_](const std::string& text) { return take_allowed(values, text); },
      "Variable handed on from the worker's environment");
}

void SettingsOptions::add_attempt_options() {
  add_field("--timeout", "TIME", "timeout_s", "Longest an attempt may take; 0: any time");
  add_field("--grace", "TIME", "grace_s", "From TERM to KILL");
  add_field("--lease", "TIME", "lease_s", "A worker that is silent for so long has lost it");
  add_field("--retries", "N", "retries", "Failed attempts that are repeated");
  add_field("--losses", "N", "losses", "Lost leases in a row before err; 0: any number");
  add_taken(
      "--backoff", "HOW", "backoff",
      [&values = values_](const std::string& text) { return take_backoff(values, text); },
      fmt::format("fixed:10s or exponential:15s..1h. Each wait is up to {} % shorter or longer, so "
                  "that not all come at once; --set backoff.jitter_percent=0: it is not",
                  core::Backoff{}.jitter_percent));
  add_field("--max-count", "N", "max_count", "Bound on resends");
}

void SettingsOptions::add_limit_options() {
  add_plain("--user", "NAME", "user", "Run the script as this user. '': as the worker's");
  add_field("--nice", "N", "nice", "Priority of its processes");
  add_field("--memory", "SIZE", "limits.memory_bytes",
            "Bound on the memory of an attempt; 0: none");
  add_field("--cpu", "TIME", "limits.cpu_s", "Bound on the CPU time of a process; 0: none");
  add_field("--open-files", "N", "limits.open_files",
            "Bound on open files of a process; 0: the hard limit of the worker");
  add_field("--file-size", "SIZE", "limits.file_bytes", "Bound on a file it writes; 0: none");
  add_field("--processes", "N", "limits.processes",
            "Bound on the processes of an attempt; 0: none");
}

void SettingsOptions::add_store_options() {
  struct Kept {
    const char* option;
    const char* key;
    const char* help;
  };
  for (const Kept& kept :
       {Kept{"--keep-done", "keep_done",
             "How long done messages are kept, and how many: 7d, 1000 or "
             "7d,1000"},
        Kept{"--keep-err", "keep_err", "The same of messages in err: 90d,any keeps any number"},
        Kept{"--keep-cancelled", "keep_cancelled", "The same of cancelled messages"}}) {
    const auto take = [&values = values_, key = kept.key](const std::string& text) -> Result<void> {
      RQ_TRY_ASSIGN(keep, parse_keep(text));
      for (auto& [name, value] : keep) whole(values, key)[name] = value;
      return {};
    };
    add_taken(kept.option, "KEEP", kept.key, take, kept.help);
  }
  add_plain("--sync", "CLASS", "sync", "always (an OK is on disk) or relaxed");
  add_field("--priority", "N", "priority", "Of messages that bring none; larger goes first");
  add_field("--max-messages", "N", "messages_max",
            "Unfinished messages it may hold; 0: any number");
  add_field("--max-payload", "SIZE", "payload_bytes_max",
            fmt::format("Largest payload it takes; 0: {}, the most that there is",
                        show_size(static_cast<double>(base::kPayloadBytesMax))));
}

void SettingsOptions::add_all() {
  add_script_options();
  add_attempt_options();
  add_limit_options();
  add_store_options();
  add(
      "--set", "KEY=VALUE",
      [&values = values_](const std::string& text) { return set_field(values, text); },
      "Any setting by its name in docs/API.md");
}

// "keep_done: at most 7 messages, each for 7 d"
std::string keep_text(const json::value& keep, std::string_view name) {
  const std::string count = at(keep, "count").is_null()
                                ? "any number of messages"
                                : "at most " + show_messages(count_at(keep, "count"));
  return fmt::format("{}: {}, each for {}", name, count,
                     show_duration(number_at(keep, "age_s").value_or(0)));
}

}  // namespace

std::vector<std::string> notes_on(const json::object& given, const json::value& settings) {
  std::vector<std::string> out;
  const json::value standard = core::to_json(core::QueueSettings{});
  for (const auto& [key, value] : given) {
    const std::string_view name(key.data(), key.size());
    if (!name.starts_with("keep_")) continue;
    // A bare number is so many messages, while of other settings it is seconds.
    const json::value& keep = at(settings, name);
    const json::value& usual = at(standard, name);
    const auto differs = [&](const char* field) {
      return number_at(keep, field) != number_at(usual, field);
    };
    if (differs("count") && !differs("age_s")) out.push_back(keep_text(keep, name));
  }
  if (takes_commands_over_tcp(settings)) {
    out.emplace_back(
        "put_over_tcp is true: whoever reaches the server over TCP may run any command here");
  }
  return out;
}

bool takes_commands_over_tcp(const json::value& settings) {
  if (!settings.is_object()) return false;
  const auto read = core::merge_settings({}, settings.get_object());
  return read && read->put_over_tcp && core::runs_commands(*read);
}

std::vector<std::string> hindrances_in(const json::value& settings) {
  std::vector<std::string> out;
  if (number_at(settings, "num_workers") == 0) {
    out.emplace_back("num_workers is 0, so no script is started: give -j 1 or more");
  }
  return out;
}

std::shared_ptr<GivenSettings> add_settings_options(CLI::App& app, Defaults defaults) {
  auto given = std::make_shared<GivenSettings>();
  SettingsOptions(app, given->values, defaults).add_all();
  return given;
}

}  // namespace rq::cli
