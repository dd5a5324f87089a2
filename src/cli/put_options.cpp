#include "cli/put_options.h"

#include <fmt/format.h>

#include <boost/json/value_from.hpp>
#include <chrono>

#include "base/iso8601.h"
#include "cli/text.h"
#include "cli/verb.h"

namespace rq::cli {
using base::Code;
using base::fail;
using base::Millis;
using base::Result;

// "Now", said by somebody whose clock or shell is a little behind.
constexpr std::chrono::seconds kLateMax{60};

void PutOptions::declare(CLI::App& app) {
  add_parsed(app, "--delay", delay, parse_duration, "Not before so long from now")
      ->type_name("TIME");
  app.add_option("--at", at,
                 "Not before: 2026-11-21T08:30:00Z, 08:30 (UTC, the next one), +10m, @SECONDS")
      ->type_name("WHEN");
  add_parsed(app, "--priority", priority, parse_integer, "Larger goes first")->type_name("N");
  add_parsed(app, "--retries", retries, parse_integer,
             "Failed attempts that are repeated, instead of the queue's setting")
      ->type_name("N");
  add_parsed(app, "--timeout", timeout, parse_duration,
             "Longest an attempt may take, instead of the queue's setting")
      ->type_name("TIME");
  add_repeated(app, "--tag", tags, "A tag; may be repeated")->type_name("TAG");
}

Result<json::object> PutOptions::fields() const {
  const auto seconds = [](Millis length) { return static_cast<double>(length.count()) / 1000; };
  if (delay && !at.empty()) {
    return fail(Code::bad_value, "both --delay and --at are given", "give one of them");
  }
  json::object put;
  if (delay) put["delay_s"] = seconds(*delay);
  if (!at.empty()) {
    const auto now = std::chrono::time_point_cast<Millis>(std::chrono::system_clock::now());
    RQ_TRY_ASSIGN(due, parse_time(at, now));
    if (due < now - kLateMax) {
      return fail(Code::bad_value, fmt::format("--at {}: that is past", at),
                  "give a time to come; without --at it runs now");
    }
    put["due"] = base::to_iso8601(due);
  }
  if (timeout) put["timeout_s"] = seconds(*timeout);
  if (priority) put["priority"] = *priority;
  if (retries) put["retries"] = *retries;
  if (!tags.empty()) put["tags"] = json::value_from(tags);
  return put;
}

}  // namespace rq::cli
