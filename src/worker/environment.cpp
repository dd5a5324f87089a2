#include "worker/environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace rq::worker {
namespace {

constexpr std::array<std::string_view, 8> kAlwaysAllowed{"PATH",  "HOME", "USER", "LOGNAME",
                                                         "SHELL", "LANG", "TZ",   "TMPDIR"};

constexpr std::string_view kNoAddress = "/";

std::string entry(std::string_view name, std::string_view value) {
  std::string text;
  text.reserve(name.size() + value.size() + 1);
  text.append(name).append("=").append(value);
  return text;
}

std::string_view name_of(std::string_view entry_text) {
  return entry_text.substr(0, entry_text.find('='));
}

// Replaces the entry of that name, or adds it.
void put(Environment& environment, std::string_view name, std::string_view value) {
  const auto found = std::find_if(environment.begin(), environment.end(),
                                  [name](const std::string& e) { return name_of(e) == name; });
  if (found != environment.end()) {
    *found = entry(name, value);
  } else {
    environment.push_back(entry(name, value));
  }
}

std::string dest_url(std::string_view base_url, std::string_view dest) {
  if (dest.starts_with("http:") || dest.starts_with("https:")) return std::string(dest);
  if (dest.starts_with("/q/")) dest.remove_prefix(3);
  return fmt::format("{}q/{}", base_url, dest);
}

// The element after "/q/", or the bare name.
std::string_view dest_queue(std::string_view dest) {
  const std::size_t at = dest.find("/q/");
  if (at == std::string_view::npos) return dest;
  dest.remove_prefix(at + 3);
  return dest.substr(0, dest.find('/'));
}

}  // namespace

Environment queue_environment(const core::QueueSettings& settings, const char* const* own,
                              const ScriptUser& user) {
  Environment environment;
  for (const char* const* at = own; *at != nullptr; ++at) {
    const std::string_view text = *at;
    const std::string_view name = name_of(text);
    const bool allowed =
        name.starts_with("LC_") ||
        std::find(kAlwaysAllowed.begin(), kAlwaysAllowed.end(), name) != kAlwaysAllowed.end() ||
        std::find(settings.env_allow.begin(), settings.env_allow.end(), name) !=
            settings.env_allow.end();
    if (allowed && !name.starts_with("RQ_")) environment.emplace_back(text);
  }
  if (!user.name.empty()) {
    put(environment, "USER", user.name);
    put(environment, "LOGNAME", user.name);
    put(environment, "HOME", user.home);
    put(environment, "SHELL", user.shell);
  }
  for (const auto& [name, value] : settings.env_vars) {
    if (!name.starts_with("RQ_")) put(environment, name, value);
  }
  return environment;
}

Environment message_environment(const Environment& of_queue, const WorkerFacts& worker,
                                const AttemptFacts& attempt, const LeasedMessage& message) {
  Environment environment;
  environment.reserve(of_queue.size() + 32);
  environment = of_queue;
  const auto add = [&environment](std::string_view name, std::string_view value) {
    environment.push_back(entry(name, value));
  };
  const std::string_view dest = message.dest.empty() ? message.queue : message.dest;
  const std::string full = full_id(worker.base_url, message.queue, message.id);
  add("RQ_SCRIPT", attempt.script);
  add("RQ_REALSCRIPT", attempt.real_script);
  if (worker.base_url != kNoAddress) add("RQ_HOST", worker.base_url);
  // So that `rq put next …` in a script finds its server.
  if (!worker.dir.empty()) add("RQ_DIR", worker.dir);
  if (!attempt.other_user) {
    add("RQ_SERVER", worker.server);
  } else if (worker.base_url != kNoAddress) {
    add("RQ_SERVER", worker.base_url);
  }
  add("RQ_DEST", dest_url(worker.base_url, dest));
  add("RQ_DEST_QUEUE", dest_queue(dest));
  add("RQ_MSG_ID", message.id);
  add("RQ_FULL_MSG_ID", full);
  add("RQ_ORIG_MSG_ID", message.orig_id.empty() ? full : message.orig_id);
  add("RQ_MSG_DIR", attempt.job_dir);
  add("RQ_WRITE", "3");
  add("RQ_READ", "4");
  add("RQ_PIPE", "3");
  add("RQ_COUNT", std::to_string(message.count));
  add("RQ_PARAM1", message.param1);
  add("RQ_PARAM2", message.param2);
  add("RQ_PARAM3", message.param3);
  add("RQ_PARAM4", message.param4);
  if (message.force_remote) add("RQ_FORCE_REMOTE", "1");
  add("RQ_VER", worker.version);
  add("RQ_ENV", worker.env);
  add("RQ_QUEUE", message.queue);
  add("RQ_ATTEMPT", std::to_string(message.attempt));
  add("RQ_CONTENT_TYPE", message.content_type);
  add("RQ_TAGS", fmt::format("{}", fmt::join(message.tags, ",")));
  add("RQ_PRIORITY", std::to_string(message.priority));
  add("RQ_KEY", message.key);
  environment.push_back(attempt.cookie);
  return environment;
}

std::string full_id(std::string_view base_url, std::string_view queue, std::string_view id) {
  return fmt::format("{}q/{}/{}", base_url, queue, id);
}

}  // namespace rq::worker
