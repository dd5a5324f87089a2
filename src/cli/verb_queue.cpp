// rq queue …: the queues and their settings.
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <vector>

#include "cli/nearest.h"
#include "cli/settings_options.h"
#include "cli/text.h"
#include "cli/tries.h"
#include "cli/verbs.h"
#include "worker/script.h"

namespace rq::cli {
using base::Code;
using base::fail;
using base::Result;

namespace {

struct Options {
  std::string queue;
  std::string settings_file;
  std::optional<base::Millis> lasts;
  bool replace = false;
  bool force = false;
  bool yes = false;
};

std::shared_ptr<Options> with_queue(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("queue", options->queue, "Name of the queue")->required()->type_name("QUEUE");
  return options;
}

// What the server says of the queue, or that there is none, with the one that may have been meant.
Result<json::value> ask_of(client::Client& client, const std::string& queue,
                           Result<json::value> answer) {
  if (answer) return answer;
  return with_nearest_queue(client, queue, std::move(answer).error());
}
Result<json::value> get_queue(client::Client& client, const std::string& queue) {
  return ask_of(client, queue, client.get(queue_path(queue), {"settings"}));
}

// "3,000, 12 of them in err"; empty: none.
std::string expired_text(const json::value& totals) {
  const std::int64_t expired = count_at(totals, "expired");
  const std::int64_t errs = count_at(totals, "expired_errs");
  if (expired == 0) return {};
  return fmt::format("{}{}", show_count(expired),
                     errs == 0 ? "" : fmt::format(", {} of them in err", show_count(errs)));
}

void print_queue(const Context& context, const json::value& queue) {
  if (context.json) return Context::print_json(queue);
  Facts facts;
  const std::string status = text_at(queue, "status");
  facts.add("queue", {text_at(queue, "name"), Ink::bold});
  facts.add("status", {status, ink_of_state(status)});
  facts.add_if("paused until", text_at(queue, "paused_until"));
  if (const std::string error = text_at(queue, "script_error"); !error.empty()) {
    facts.add("script error", {error, Ink::red});
  }
  if (const json::value& held = at(queue, "held_back"); held.is_object()) {
    facts.add(
        "held back",
        {fmt::format("until {}: {}", text_at(held, "until"), text_at(held, "text")), Ink::yellow});
  }
  if (const json::value& hindrance = at(queue, "hindrance"); hindrance.is_object()) {
    facts.add("why they wait", {why_text(hindrance), Ink::yellow});
  }
  facts.add("created", text_at(queue, "created"));
  facts.add("messages", counts_text(at(queue, "counts")));
  facts.add_if("removed by retention", expired_text(at(queue, "totals")));
  facts.add("waiting workers", text_at(queue, "waiting_reserves"));
  const json::value& settings = at(queue, "settings");
  if (settings.is_object()) {
    for (const auto& [name, value] : settings.get_object()) {
      const std::string_view key(name.data(), name.size());
      facts.add(key, text_at(settings, key));
    }
  }
  Context::print(facts.text(context.colours(), context.width()));
}

// The script as the worker will look for it, seen from here: its path, or "" when there is none.
std::string script_seen(const std::filesystem::path& dir, const std::string& script) {
  std::error_code error;
  for (const auto& path : {dir / script, dir / "scripts" / script}) {  // an absolute one stays
    if (std::filesystem::exists(path, error)) return path.string();
  }
  return {};
}

// What keeps the queue from running, as far as it can be seen from this machine.
std::string hindrance(const json::value& settings, const std::string& script,
                      const std::string& seen) {
  if (script.starts_with('@')) return {};  // inside of rq, and looked at when it was given
  if (seen.empty()) {
    return fmt::format("there is no script '{}'{}", script, worker::of_arguments(script));
  }
  worker::ScriptFile file({}, seen, text_at(settings, "exec_prefix"));
  if (const auto good = file.look(); !good) return good.error().message;
  const std::string user = text_at(settings, "user");
  if (!user.empty() && ::getpwnam(user.c_str()) == nullptr) {
    return fmt::format("there is no user '{}'", user);
  }
  return {};
}

// A text that names no interpreter, while its name says that it is not one of /bin/sh.
bool is_for_another_shell(const std::filesystem::path& script) {
  const std::string kind = script.extension().string();
  if (kind.empty() || kind == ".sh") return false;
  std::array<char, 4> start{};
  std::ifstream(script, std::ios::binary).read(start.data(), start.size());
  const std::string_view bytes(start.data(), start.size());
  return !bytes.starts_with("#!") && !bytes.starts_with(
                                         "\x7f"
                                         "ELF");
}

// "retries 3 (was 0), limits.cpu_s 5 (was 0)"; empty: they are the same. `within`: "limits."
std::string changes_text(const json::value& before, const json::value& after,
                         const std::string& within = {}) {
  std::string out;
  if (!after.is_object()) return out;
  const auto shown = [](const json::value& settings, std::string_view name) {
    const std::string text = text_at(settings, name);
    return text.empty() ? "nothing" : text;
  };
  for (const auto& [key, value] : after.get_object()) {
    const std::string_view name(key.data(), key.size());
    if (at(before, name) == value) continue;
    if (!out.empty()) out += ", ";
    // Variables come and go; the fields of other objects stay.
    if (value.is_object() && name != "env_vars") {
      out += changes_text(at(before, name), value, fmt::format("{}.", name));
    } else {
      out += fmt::format("{}{} {} (was {})", within, name, shown(after, name), shown(before, name));
    }
  }
  return out;
}

// The queue as it is now: what it will run, and what is wrong with that.
Result<int> say_queue(const Context& context, const json::object& given, const json::value& queue,
                      const std::string& what) {
  if (context.json) {
    Context::print_json(queue);
    return 0;
  }
  const json::value& settings = at(queue, "settings");
  const std::string script = text_at(settings, "script");
  RQ_TRY_ASSIGN(where, context.address());
  const std::filesystem::path socket = where.address.socket_path;  // DIR/run/rq.sock
  const bool here = !socket.empty();
  const std::string seen =
      here && !script.empty() ? script_seen(socket.parent_path().parent_path(), script) : "";
  Context::print(fmt::format(
      "{}{}\n", what,
      script.empty() ? "" : fmt::format(", its script: {}", seen.empty() ? script : seen)));
  for (const std::string& note : notes_on(given, settings)) {
    std::fprintf(stderr, "  %s\n", note.c_str());
  }
  // What the worker has said of it was before this change.
  std::vector<std::string> wrong;
  if (!script.empty()) wrong = hindrances_in(settings);
  wrong.push_back(here && !script.empty() ? hindrance(settings, script, seen)
                                          : text_at(queue, "script_error"));
  for (const std::string& text : wrong) {
    if (!text.empty()) std::fprintf(stderr, "  it cannot run yet: %s\n", text.c_str());
  }
  if (!seen.empty() && text_at(settings, "exec_prefix").empty() && is_for_another_shell(seen)) {
    std::fprintf(stderr, "  it does not begin with '#!', so /bin/sh runs it\n");
  }
  return 0;
}

// It may have been forgotten, and nothing would ever run.
void say_without_script(const Context& context, const std::string& queue,
                        const json::value& settings) {
  if (context.json || !text_at(settings, "script").empty()) return;
  std::fprintf(stderr,
               "  it has no script, so nothing runs here: workers elsewhere take its messages; or "
               "rq queue set %s --script PATH\n",
               queue.c_str());
}

// One of the four calls that set the admin state.
Action set_admin(CLI::App& app, Context& context, const char* below, const char* said) {
  auto options = with_queue(app);
  if (std::string_view(below) == "/pause") {
    add_parsed(app, "--for", options->lasts, parse_duration, "Resume by itself after this time")
        ->type_name("TIME");
  }
  return [&context, options, below, said]() -> Result<int> {
    json::object body;
    if (options->lasts) body["for_s"] = static_cast<double>(options->lasts->count()) / 1000;
    RQ_TRY_ASSIGN(client, context.client());
    RQ_TRY(ask_of(*client, options->queue,
                  client->send("POST", queue_path(options->queue, below), {"settings"}, body)));
    RQ_TRY_ASSIGN(queue, get_queue(*client, options->queue));
    if (context.json) {
      Context::print_json(queue);
    } else {
      Context::print(fmt::format("queue {} {}\n", options->queue, said));
    }
    return 0;
  };
}

}  // namespace

Action declare_queue_create(CLI::App& app, Context& context) {
  auto options = with_queue(app);
  auto given = add_settings_options(app, Defaults::told);
  app.add_flag("--replace", options->replace, "Replace all settings when the queue is there");
  return [&context, options, given]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    const std::string path = queue_path(options->queue, options->replace ? "" : "?create=1");
    const auto before = client->get(queue_path(options->queue), {"settings"});
    RQ_TRY_ASSIGN(queue, client->send("PUT", path, {"settings"}, given->values));
    const std::string& name = options->queue;
    RQ_TRY(say_queue(context, given->values, queue,
                     !before ? fmt::format("created queue {}", name)
                     : at(*before, "revision") == at(queue, "revision")
                         ? fmt::format("queue {} was there already, with these settings", name)
                         : fmt::format("queue {} was there: its settings are replaced", name)));
    say_without_script(context, name, at(queue, "settings"));
    return 0;
  };
}

Action declare_queue_list(CLI::App& app, Context& context) {
  auto names = std::make_shared<bool>(false);
  app.add_flag("--names", *names, "Only the names, one a line");
  return [&context, names]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    RQ_TRY_ASSIGN(answer, client->get("/v1/queues", {"queues"}));
    if (context.json) {
      for (const json::value& queue : items_at(answer, "queues")) Context::print_json(queue);
      return 0;
    }
    if (*names) {
      for (const json::value& queue : items_at(answer, "queues")) {
        Context::print(text_at(queue, "name") + "\n");
      }
      return 0;
    }
    const Tries tries = tries_of(*client);
    context.print(table_of_queues(answer, Table::Long::wrapped, context.width(), tries),
                  "no queues; make one: rq queue create NAME --script PATH");
    if (tries.cut) std::fprintf(stderr, "%s\n", cut_text(tries).c_str());
    return 0;
  };
}

Action declare_queue_show(CLI::App& app, Context& context) {
  auto options = with_queue(app);
  return [&context, options]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    RQ_TRY_ASSIGN(queue, get_queue(*client, options->queue));
    print_queue(context, queue);
    return 0;
  };
}

Action declare_queue_set(CLI::App& app, Context& context) {
  auto options = with_queue(app);
  auto given = add_settings_options(app, Defaults::untold);
  return [&context, options, given]() -> Result<int> {
    if (given->values.empty()) {
      return fail(Code::bad_value, "no setting is given",
                  "for example --retries 3; rq queue set --help lists them");
    }
    RQ_TRY_ASSIGN(client, context.client());
    RQ_TRY_ASSIGN(before, get_queue(*client, options->queue));
    if (json::value* added = given->values.if_contains("env_vars");
        added != nullptr && added->is_object() && !added->get_object().empty()) {
      // --env adds to the variables that are there; --set env_vars={} clears them.
      json::value all = at(at(before, "settings"), "env_vars");
      if (all.is_object()) {
        for (auto& [name, value] : added->get_object()) all.get_object()[name] = value;
        *added = std::move(all);
      }
    }
    RQ_TRY_ASSIGN(queue,
                  client->send("PATCH", queue_path(options->queue), {"settings"}, given->values));
    const std::string changes = changes_text(at(before, "settings"), at(queue, "settings"));
    return say_queue(context, given->values, queue,
                     changes.empty()
                         ? fmt::format("queue {} has these settings already", options->queue)
                         : fmt::format("changed queue {}: {}", options->queue, changes));
  };
}

Action declare_queue_pause(CLI::App& app, Context& context) {
  return set_admin(app, context, "/pause", "is paused: it accepts, and starts nothing");
}
Action declare_queue_resume(CLI::App& app, Context& context) {
  return set_admin(app, context, "/resume", "is up");
}
Action declare_queue_drain(CLI::App& app, Context& context) {
  return set_admin(app, context, "/drain",
                   "drains: it accepts nothing new, and works off the rest");
}
Action declare_queue_down(CLI::App& app, Context& context) {
  return set_admin(app, context, "/down", "is down: it accepts nothing and starts nothing");
}

namespace {

Result<bool> confirmed(const std::string& what) {
  if (!is_terminal(STDIN_FILENO)) {
    return fail(Code::bad_value, fmt::format("{}, and there is no terminal to confirm on", what),
                "say -y, or look first: rq list");
  }
  const bool go = confirm(what + ". Go on?");
  if (!go) std::fputs("nothing is done\n", stderr);
  return go;
}

}  // namespace

Action declare_queue_delete(CLI::App& app, Context& context) {
  auto options = with_queue(app);
  app.add_flag("--force", options->force, "With the messages in it, finished ones too; asks first");
  app.add_flag("-y,--yes", options->yes, "Do not ask");
  return [&context, options]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    if (options->force && !options->yes) {
      RQ_TRY_ASSIGN(queue, get_queue(*client, options->queue));
      const std::string counts = counts_text(at(queue, "counts"));
      if (counts != "none") {
        RQ_TRY_ASSIGN(go, confirmed(fmt::format("queue {} will be deleted with its messages: {}",
                                                options->queue, counts)));
        if (!go) return 0;
      }
    }
    const std::string path = queue_path(options->queue, options->force ? "?force=1" : "");
    RQ_TRY_ASSIGN(answer, ask_of(*client, options->queue, client->remove(path, {"ok"})));
    if (context.json) {
      Context::print_json(answer);
    } else {
      Context::print(fmt::format("queue {} is deleted\n", options->queue));
    }
    return 0;
  };
}

namespace {

// A column with how many messages of a state each queue has.
struct StateColumn {
  std::string_view state;
  const char* title;
  Ink ink = Ink::plain;
  bool seldom = false;  // shown where any queue has some, and where there is room for it
};
constexpr std::array kBegun{StateColumn{"prep", "PREP", Ink::plain, true},
                            StateColumn{"que", "QUE"}, StateColumn{"run", "RUN", Ink::cyan}};
constexpr std::array kEnded{
    StateColumn{"done", "DONE", Ink::green}, StateColumn{"relayed", "RELAYED", Ink::green, true},
    StateColumn{"err", "ERR", Ink::red}, StateColumn{"cancelled", "CANCELLED", Ink::plain, true}};
// On a narrower terminal they would leave a script no room; rq queue show has all counts.
constexpr std::size_t kRoomForSeldom = 100;  // columns

std::vector<StateColumn> shown_of(std::span<const StateColumn> columns, const json::array& queues,
                                  std::optional<std::size_t> width) {
  std::vector<StateColumn> out;
  const bool room = !width || *width >= kRoomForSeldom;
  for (const StateColumn& column : columns) {
    const auto has_any = [&](const json::value& queue) {
      return count_at(at(queue, "counts"), column.state) > 0;
    };
    if (!column.seldom || (room && std::ranges::any_of(queues, has_any))) out.push_back(column);
  }
  return out;
}

Cell count_cell(std::int64_t n, Ink ink = Ink::plain) {
  return {show_count(n), n == 0 ? Ink::dim : ink};
}

// What it runs, or why it does not.
Cell script_cell(const json::value& queue) {
  const std::string status = text_at(queue, "status");
  const std::string error = text_at(queue, "script_error");
  const std::string hindrance = text_at(at(queue, "hindrance"), "text");
  const std::string script = text_at(at(queue, "settings"), "script");
  if (!error.empty()) return {error, Ink::red};
  // That it is paused or down is told already.
  if (!hindrance.empty() && (status == "up" || status == "drain")) return {hindrance, Ink::yellow};
  return script.empty() ? "(none: workers elsewhere)" : script;
}

}  // namespace

Table table_of_queues(const json::value& answer, Table::Long fit, std::optional<std::size_t> width,
                      const Tries& tries) {
  const json::array& queues = items_at(answer, "queues");
  const std::vector<StateColumn> begun = shown_of(kBegun, queues, width);
  const std::vector<StateColumn> ended = shown_of(kEnded, queues, width);
  const bool any_tries = tries.all > 0;
  std::vector<Table::Column> columns{{"QUEUE"}, {"STATUS"}};
  const auto add_title = [&columns](const char* title) {
    columns.push_back({title, Table::Align::right});
  };
  for (const StateColumn& column : begun) add_title(column.title);
  add_title("LATER");
  if (any_tries) add_title("RETRY");
  for (const StateColumn& column : ended) add_title(column.title);
  columns.push_back({"SCRIPT"});
  Table table(std::move(columns), fit);
  for (const json::value& queue : queues) {
    const json::value& counts = at(queue, "counts");
    const std::int64_t scheduled = count_at(counts, "scheduled");
    const std::int64_t waiting = std::min(tries.of(text_at(queue, "name")), scheduled);
    const std::string status = text_at(queue, "status");
    std::vector<Cell> row{text_at(queue, "name"), {status, ink_of_state(status)}};
    const auto add_count = [&](const StateColumn& column) {
      row.push_back(count_cell(count_at(counts, column.state), column.ink));
    };
    for (const StateColumn& column : begun) add_count(column);
    row.push_back(count_cell(scheduled - waiting));
    if (any_tries) {
      row.push_back(count_cell(waiting, Ink::yellow));
      if (tries.cut && waiting < scheduled) row.back().text += '+';
    }
    for (const StateColumn& column : ended) add_count(column);
    row.push_back(script_cell(queue));
    table.add(std::move(row));
  }
  return table;
}

}  // namespace rq::cli
