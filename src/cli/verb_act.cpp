// retry, requeue, run-now, commit, cancel, kill, clone, move, priority, remove: on messages by id,
// or on all that a filter finds.
#include <fmt/format.h>
#include <unistd.h>

#include <optional>

#include "cli/bulk.h"
#include "cli/filter.h"
#include "cli/nearest.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/message.h"
#include "core/name.h"

namespace rq::cli {
using base::Code;
using base::fail;
using base::Result;

namespace {

constexpr std::size_t kReasonShown = 60;  // columns
constexpr int kInterrupted = 130;         // as a shell says it of Ctrl-C

struct Options {
  std::vector<std::string> ids;
  MessageFilter filter;
  std::string reason;
  std::string to;
  std::optional<std::int64_t> priority;
  std::optional<std::int64_t> limit;
  bool all = false;
  bool dry_run = false;
  bool yes = false;
};

struct Deed {
  const char* action;  // as the API calls it
  const char* past;    // "retried"
  const char* verb = action;
};

// All are read before anything is done: a slip in the last must not leave the first ones changed.
Result<void> check_ids(const Deed& deed, const std::vector<std::string>& ids) {
  for (const std::string& id : ids) {
    if (id.starts_with("key:")) continue;
    auto good = core::parse_id(id);
    if (good) continue;
    base::Error error = std::move(good).error();
    if (core::check_queue_name(id)) {
      error.remedy += fmt::format("; messages of a queue: rq {} --queue {}", deed.verb, id);
    }
    return error;
  }
  return {};
}

// One message.
Result<json::value> act(client::Client& client, const Deed& deed, const Options& options,
                        const std::string& id) {
  const std::string_view action = deed.action;
  if (action == "remove") return client.remove(message_path(id), {"state"});
  json::object body;
  if (!options.reason.empty()) body["reason"] = options.reason;
  if (!options.to.empty()) body["queue"] = options.to;
  if (options.priority) body["priority"] = *options.priority;
  return client.send("POST", message_path(id, fmt::format("/{}", action)), {"state"}, body);
}

// "retried: que (was in done)". What runs is asked to end, and ends later.
std::string said_of(const Deed& deed, const json::value& answer) {
  const std::string_view action = deed.action;
  const std::string state = text_at(answer, "state");
  if (state == "run" && (action == "cancel" || action == "kill")) {
    return fmt::format("told to stop, {} when its script has ended",
                       action == "cancel" ? "cancelled" : "in err");
  }
  // A failure that is given up, or work that is done again, may not have been meant.
  const std::string was = text_at(answer, "was");
  return fmt::format("{}{}{}", deed.past, state.empty() || state == deed.past ? "" : ": " + state,
                     was.empty() || was == state ? "" : fmt::format(" (was in {})", was));
}

Result<int> act_on_ids(Context& context, const Deed& deed, const Options& options) {
  RQ_TRY(check_ids(deed, options.ids));
  RQ_TRY_ASSIGN(client, context.client());
  int exit_code = 0;
  for (const std::string& id : options.ids) {
    auto answer = act(*client, deed, options, id);
    if (!answer) {
      // One that is refused does not hold up the others; a server that is gone does.
      if (answer.error().code == Code::unreachable) return std::move(answer).error();
      const base::Error error = with_nearest_queue(*client, options.to, std::move(answer).error());
      print_error(fmt::format("rq {}", deed.verb), error, context.json);
      exit_code = base::row_of(error.code).exit_code;
      continue;
    }
    if (context.json) {
      Context::print_json(*answer);
      continue;
    }
    const std::string now = text_at(*answer, "id");
    if (std::string_view(deed.action) == "clone") {
      Context::print(now + "\n");
    } else {
      Context::print(fmt::format("{} {}\n", now.empty() ? id : now, said_of(deed, *answer)));
    }
  }
  return exit_code;
}

Result<json::value> bulk(const Context& context, client::Client& client, const Deed& deed,
                         const Options& options, bool dry_run) {
  RQ_TRY_ASSIGN(filter, options.filter.object());
  json::object body{{"action", deed.action}, {"dry_run", dry_run}};
  if (options.all && filter.empty()) {
    body["all"] = true;
  } else {
    body["filter"] = std::move(filter);
  }
  if (options.limit) body["limit"] = *options.limit;
  if (!options.reason.empty()) body["reason"] = options.reason;
  if (!options.to.empty()) body["queue"] = options.to;
  if (options.priority) body["priority"] = *options.priority;
  auto job = run_bulk(context, client, std::move(body), deed.past);
  if (job) return job;
  base::Error error = std::move(job).error();
  error = with_nearest_queue(client, options.filter.queue, std::move(error));
  return with_nearest_queue(client, options.to, std::move(error));
}

// What retention will take because of it; empty: nothing.
std::string retention_text(const json::value& trial) {
  const std::int64_t removes = count_at(trial, "retention_removes");
  if (removes == 0) return {};
  return fmt::format(
      "retention will then remove {}: their queue keeps no more (keep_done, keep_err, "
      "keep_cancelled in: rq queue show)",
      show_messages(removes));
}

bool is_kill(const Deed& deed) { return std::string_view(deed.action) == "kill"; }

// ", 1 of them when its script has ended"; of kill nobody thinks otherwise.
std::string running_text(const Deed& deed, const json::value& trial) {
  const std::int64_t told = count_at(trial, "told_to_stop");
  if (told == 0 || is_kill(deed)) return {};
  return told == 1 ? std::string(", 1 of them when its script has ended")
                   : fmt::format(", {} of them when their scripts have ended", show_count(told));
}

// It is easily taken for a filter.
std::string reason_text(const Options& options) {
  if (options.reason.empty()) return {};
  return fmt::format(
      ", each with the text '{}' (--reason chooses none of them: --fingerprint or --text does)",
      one_line(options.reason, kReasonShown));
}

Result<bool> confirmed(const Deed& deed, const Options& options, const json::value& trial) {
  const std::string what =
      fmt::format("{} will be {}{}{}", show_messages(count_at(trial, "matched")), deed.past,
                  running_text(deed, trial), reason_text(options));
  if (!is_terminal(STDIN_FILENO)) {
    return fail(Code::bad_value, fmt::format("{}, and there is no terminal to confirm on", what),
                "say -y, or look first with --dry-run");
  }
  const json::array& sample = items_at(trial, "sample");
  const std::string first = !sample.empty() && sample[0].is_string()
                                ? fmt::format(", {} first", std::string(sample[0].get_string()))
                                : "";
  const std::string retention = retention_text(trial);
  return confirm(fmt::format("{}{}.{}{} Go on?", what, first, retention.empty() ? "" : " Note: ",
                             retention.empty() ? "" : retention + "."));
}

// "2 cancelled", "1 cancelled, 1 running: told to stop"
std::string changed_text(const Deed& deed, const json::value& job) {
  const std::int64_t changed = count_at(job, "changed");
  const std::int64_t told = count_at(job, "told_to_stop");
  if (told == 0 || is_kill(deed)) return fmt::format("{} {}", show_count(changed), deed.past);
  return fmt::format("{} {}, {} running: told to stop", show_count(changed - told), deed.past,
                     show_count(told));
}

void print_result(const Deed& deed, const json::value& job) {
  Context::print(fmt::format("{} matched, {}, {} refused\n", show_count(count_at(job, "matched")),
                             changed_text(deed, job), show_count(count_at(job, "refused"))));
  for (const json::value& item : items_at(job, "errors")) {
    if (const auto error = error_in(item)) {
      print_error(fmt::format("rq {}", deed.verb), *error, false);
    }
  }
  if (text_at(job, "phase") == "cancelled") {
    std::fputs("it was stopped; the same again does the rest\n", stderr);
  }
}

void print_trial(const Deed& deed, const Options& options, const json::value& job) {
  const json::array& sample = items_at(job, "sample");
  Context::print(fmt::format("{} would be {}{}{}{}\n", show_messages(count_at(job, "matched")),
                             deed.past, running_text(deed, job), reason_text(options),
                             sample.empty() ? "" : "; for example:"));
  for (const json::value& id : sample) {
    if (id.is_string()) Context::print(fmt::format("  {}\n", std::string(id.get_string())));
  }
  const std::string retention = retention_text(job);
  if (!retention.empty()) Context::print(retention + "\n");
}

Result<int> act_on_filter(Context& context, const Deed& deed, const Options& options) {
  RQ_TRY_ASSIGN(client, context.client());
  if (!options.dry_run && !options.yes) {
    RQ_TRY_ASSIGN(trial, bulk(context, *client, deed, options, true));
    if (count_at(trial, "matched") > 0) {
      RQ_TRY_ASSIGN(go, confirmed(deed, options, trial));
      if (!go) {
        std::fputs("nothing is done\n", stderr);
        return 0;
      }
    }
  }
  RQ_TRY_ASSIGN(job, bulk(context, *client, deed, options, options.dry_run));
  if (const std::string hint = options.filter.hint_when_none();
      !hint.empty() && count_at(job, "matched") == 0) {
    std::fprintf(stderr, "%s\n", hint.c_str());
  }
  if (context.json) {
    Context::print_json(job);
  } else if (options.dry_run) {
    print_trial(deed, options, job);
  } else {
    print_result(deed, job);
  }
  if (text_at(job, "phase") == "cancelled") return kInterrupted;
  return count_at(job, "refused") > 0 ? base::row_of(Code::wrong_state).exit_code : 0;
}

// `rq priority 123 7` means the last word.
base::Error no_priority(const Options& options) {
  const bool meant = options.ids.size() > 1 && parse_integer(options.ids.back());
  std::string ids;
  for (std::size_t i = 0; i + (meant ? 1 : 0) < options.ids.size(); ++i)
    ids += options.ids[i] + " ";
  return fail(Code::bad_value, "no priority is given",
              fmt::format("write it with its name: rq priority {}--priority {}",
                          ids.empty() ? "ID " : ids, meant ? options.ids.back() : "10"));
}

Action declare(CLI::App& app, Context& context, Deed deed) {
  auto options = std::make_shared<Options>();
  const std::string_view action = deed.action;
  app.add_option("id", options->ids, "Messages: id, number, or key:KEY")->type_name("ID...");
  options->filter.declare(app);
  if (action == "cancel" || action == "kill" || action == "retry" || action == "requeue") {
    app.add_option("--reason", options->reason,
                   action == "retry" || action == "requeue"
                       ? "Why; it is the text of the messages until their next attempt has ended, "
                         "and is not kept after that. It chooses none: a filter does "
                         "(--fingerprint, --text)"
                       : "Why; the messages keep it as their text. It chooses none: a filter does "
                         "(--fingerprint, --text)")
        ->type_name("TEXT");
  }
  if (action == "move" || action == "clone") {
    CLI::Option* to = app.add_option("--to", options->to, "The other queue")->type_name("QUEUE");
    if (action == "move") to->required();
  }
  if (action == "priority") {
    add_parsed(app, "--priority", options->priority, parse_integer,
               "The new one; larger goes first")
        ->type_name("N");
  }
  app.add_flag("--all", options->all,
               "Every message of every queue, or with --state every one in it; no other filter");
  add_parsed(app, "--limit", options->limit, parse_positive, "With a filter: at most so many")
      ->type_name("N");
  app.add_flag("--dry-run", options->dry_run, "With a filter: only count, and show some");
  app.add_flag("-y,--yes", options->yes, "With a filter: do not ask");
  return [&context, options, deed]() -> Result<int> {
    if (std::string_view(deed.action) == "priority" && !options->priority)
      return no_priority(*options);
    const bool filter = options->all ? !options->filter.state_alone() : !options->filter.empty();
    const int ways = (options->ids.empty() ? 0 : 1) + (filter ? 1 : 0) + (options->all ? 1 : 0);
    if (ways != 1) {
      return fail(Code::bad_value,
                  ways == 0 ? "which messages?" : "more than one of ids, a filter and --all",
                  "name ids, or a filter: --queue mail --state err, or --all");
    }
    if (!options->ids.empty() && options->dry_run) {
      return fail(Code::bad_value, "--dry-run goes with a filter", "rq show ID tells of a message");
    }
    return options->ids.empty() ? act_on_filter(context, deed, *options)
                                : act_on_ids(context, deed, *options);
  };
}

}  // namespace

Action declare_retry(CLI::App& app, Context& context) {
  return declare(app, context, {"retry", "retried"});
}
Action declare_requeue(CLI::App& app, Context& context) {
  return declare(app, context, {"requeue", "requeued"});
}
Action declare_run_now(CLI::App& app, Context& context) {
  return declare(app, context, {"run_now", "let go at once", "run-now"});
}
Action declare_commit(CLI::App& app, Context& context) {
  return declare(app, context, {"commit", "committed"});
}
Action declare_cancel(CLI::App& app, Context& context) {
  return declare(app, context, {"cancel", "cancelled"});
}
Action declare_kill(CLI::App& app, Context& context) {
  return declare(app, context, {"kill", "told to stop"});
}
Action declare_clone(CLI::App& app, Context& context) {
  return declare(app, context, {"clone", "cloned"});
}
Action declare_move(CLI::App& app, Context& context) {
  return declare(app, context, {"move", "moved"});
}
Action declare_priority(CLI::App& app, Context& context) {
  return declare(app, context, {"priority", "given the priority"});
}
Action declare_remove(CLI::App& app, Context& context) {
  return declare(app, context, {"remove", "removed"});
}

}  // namespace rq::cli
