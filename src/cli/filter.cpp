#include "cli/filter.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>
#include <vector>

#include "base/iso8601.h"
#include "cli/nearest.h"
#include "cli/text.h"
#include "core/fingerprint.h"

namespace rq::cli {
using base::Result;

namespace {
constexpr std::string_view kFilters = "Which messages";

// "2h": two hours ago; else a time, and a clock alone is the last one.
Result<std::string> time_of(const std::string& text) {
  const auto now = std::chrono::time_point_cast<base::Millis>(std::chrono::system_clock::now());
  const bool plain_number = text.find_first_not_of("0123456789.") == std::string::npos;
  if (const auto ago = parse_duration(text); ago && !plain_number) {
    return base::to_iso8601(now - *ago);
  }
  RQ_TRY_ASSIGN(at, parse_time(text, now, Clock::last));
  return base::to_iso8601(at);
}
}  // namespace

void MessageFilter::declare(CLI::App& app) {
  const auto add = [&app](const char* name, std::string& into, const char* type, const char* help) {
    app.add_option(name, into, help)->type_name(type)->group(std::string(kFilters));
  };
  add("--queue", queue, "QUEUE", "Of this queue");
  add("--state", state, "STATE",
      "prep scheduled que run done relayed err cancelled; several with commas between");
  add("--mark", mark, "MARK", "failed timed_out lost killed held exhausted");
  add("--tag", tag, "TAG", "With this tag");
  add("--key", key, "KEY", "With this client key");
  add("--text", text, "TEXT", "With this in payload, params, src, dest, progress or result");
  add("--fingerprint", fingerprint, "TEXT",
      "In err, with a reason of this kind: as rq list --by reason names it");
  add("--after", after, "WHEN",
      "Created at or after: 2h (ago), a time, or 08:30 (UTC, the last one)");
  add("--before", before, "WHEN", "Created before: the same");
}

bool MessageFilter::empty() const { return state.empty() && state_alone(); }

bool MessageFilter::state_alone() const {
  return queue.empty() && mark.empty() && tag.empty() && key.empty() && text.empty() &&
         fingerprint.empty() && after.empty() && before.empty();
}

std::string MessageFilter::words() const {
  std::string out;
  const auto add = [&out](std::string_view name, const std::string& value) {
    if (!value.empty()) out += fmt::format(" --{} {}", name, shell_quote(value));
  };
  add("queue", queue);
  add("mark", mark);
  add("tag", tag);
  add("key", key);
  add("text", text);
  add("after", after);
  add("before", before);
  return out;
}

std::string MessageFilter::hint_when_none() const {
  if (fingerprint.empty()) return {};
  const std::string kind = core::fingerprint(fingerprint);
  if (kind == fingerprint) return "--fingerprint takes what rq list --by reason names";
  return fmt::format("--fingerprint takes a kind of reason, not a reason; of this one it is {}",
                     shell_quote(kind));
}

Result<std::vector<std::pair<std::string, std::string>>> MessageFilter::pairs() const {
  std::vector<std::pair<std::string, std::string>> out;
  const auto add = [&out](const char* name, const std::string& value) {
    if (!value.empty()) out.emplace_back(name, value);
  };
  add("queue", queue);
  if (const std::string_view meant = state_meant(state); !meant.empty()) {
    return base::fail(
        base::Code::bad_value, fmt::format("--state {}: there is no such state", state),
        fmt::format("did you mean {}? prep scheduled que run done relayed err cancelled are "
                    "states; how a message came into err: --mark",
                    meant));
  }
  add("state", state);
  add("mark", mark);
  add("tag", tag);
  add("key", key);
  add("text", text);
  add("fingerprint", fingerprint);
  if (!after.empty()) {
    RQ_TRY_ASSIGN(at, time_of(after));
    add("after", at);
  }
  if (!before.empty()) {
    RQ_TRY_ASSIGN(at, time_of(before));
    add("before", at);
  }
  return out;
}

Result<client::Query> MessageFilter::query() const {
  RQ_TRY_ASSIGN(all, pairs());
  client::Query query;
  for (const auto& [name, value] : all) query.add(name, value);
  return query;
}

Result<boost::json::object> MessageFilter::object() const {
  RQ_TRY_ASSIGN(all, pairs());
  boost::json::object object;
  for (const auto& [name, value] : all) object[name] = value;
  return object;
}

}  // namespace rq::cli
