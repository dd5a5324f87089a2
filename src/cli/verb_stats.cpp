// rq stats, top, events, version: the server as a whole.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "cli/text.h"
#include "cli/verbs.h"

namespace rq::cli {
using base::Millis;
using base::Result;

namespace {

struct TopOptions {
  std::optional<Millis> every;
  bool once = false;
};
struct EventOptions {
  std::string queue, message, kinds;
};

constexpr Millis kEvery{1000};
constexpr const char* kRunning = "/v1/messages?state=run&limit=50&order=oldest&payloads=0";
constexpr std::string_view kQuitKeys = "qQ\x03\x04";  // also Ctrl-C and Ctrl-D

std::string size_text(const json::value& stats, std::string_view name) {
  return show_size(number_at(stats, name).value_or(0));
}

// What the last picture counted, for speeds.
struct Before {
  std::chrono::steady_clock::time_point at;
  std::int64_t puts = 0, ends = 0;
  bool known = false;
};

std::string speeds(const json::value& stats, Before& before) {
  const json::value& totals = at(stats, "totals");
  const Before now{.at = std::chrono::steady_clock::now(),
                   .puts = count_at(totals, "puts"),
                   .ends = count_at(totals, "dones") + count_at(totals, "errs"),
                   .known = true};
  std::string text;
  const double seconds = std::chrono::duration<double>(now.at - before.at).count();
  if (before.known && seconds > 0) {
    text = fmt::format("   {:.0f} put/s, {:.0f} finished/s",
                       static_cast<double>(now.puts - before.puts) / seconds,
                       static_cast<double>(now.ends - before.ends) / seconds);
  }
  before = now;
  return text;
}

Table running(const json::value& page, Table::Long fit) {
  using Align = Table::Align;
  Table table({{"RUNNING"}, {"QUEUE"}, {"FOR", Align::right}, {"WORKER"}, {"PROGRESS"}}, fit);
  for (const json::value& message : items_at(page, "messages")) {
    const json::value& lease = at(message, "lease");
    std::string progress = text_at(lease, "progress");
    if (progress.empty()) progress = text_at(message, "progress");
    table.add({{text_at(message, "id"), Ink::cyan},
               text_at(message, "queue"),
               age_of(lease, "since"),
               text_at(lease, "worker"),
               progress});
  }
  return table;
}

std::string tables(const json::value& queues, const json::value& page, Table::Long fit,
                   bool colours, std::optional<std::size_t> width) {
  const Table table = table_of_queues(queues, fit, width);
  std::string out = table.empty() ? "no queues\n" : table.text(colours, width);
  const Table now = running(page, fit);
  if (!now.empty()) out += "\n" + now.text(colours, width);
  return out;
}

// As long as the screen has room, reasons take the lines that they need.
std::string tables_in(const json::value& queues, const json::value& page, bool colours,
                      TerminalSize room) {
  for (const Table::Long fit : {Table::Long::wrapped, Table::Long::list}) {
    std::string out = tables(queues, page, fit, colours, room.columns);
    if (static_cast<std::size_t>(std::ranges::count(out, '\n')) < room.rows) return out;
  }
  return tables(queues, page, Table::Long::cut, colours, room.columns);
}

Result<std::string> picture(const Context& context, client::Client& client, Before& before,
                            std::optional<TerminalSize> size) {
  RQ_TRY_ASSIGN(stats, client.get("/v1/stats", {"uptime_s"}));
  RQ_TRY_ASSIGN(queues, client.get("/v1/queues", {"queues"}));
  RQ_TRY_ASSIGN(page, client.get(kRunning, {"messages"}));
  const bool colours = context.colours();
  std::string out = fmt::format(
      "{}  up {}   memory {}   store {}{}\n", paint(Ink::bold, "rq", colours),
      show_duration(number_at(stats, "uptime_s").value_or(0)), size_text(stats, "memory_bytes"),
      size_text(stats, "store_bytes"), speeds(stats, before));
  out += fmt::format("messages: {}\n\n", counts_text(at(stats, "messages")));
  if (!size) return out + tables(queues, page, Table::Long::cut, colours, std::nullopt);
  const std::size_t head =
      std::min(static_cast<std::size_t>(std::ranges::count(out, '\n')), size->rows);
  out += tables_in(queues, page, colours, {.columns = size->columns, .rows = size->rows - head});
  std::size_t lines = 0;  // what does not fit is cut below
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '\n' && ++lines + 1 >= size->rows) {
      out.resize(i);
      break;
    }
  }
  return out;
}

Result<int> top_live(Context& context, client::Client& client, Millis every) {
  const FullScreen screen;
  Before before;
  while (true) {
    auto drawn = picture(context, client, before, terminal_size());
    if (drawn) {
      screen.draw(*drawn);
    } else if (drawn.error().code == base::Code::unreachable) {
      screen.draw(drawn.error().message + "\n(waiting for it; q quits)\n");
    } else {
      return std::move(drawn).error();
    }
    const auto key = screen.key(every);
    if (key && kQuitKeys.find(*key) != std::string_view::npos) return 0;
  }
}

}  // namespace

Action declare_stats(CLI::App&, Context& context) {
  return [&context]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    RQ_TRY_ASSIGN(stats, client->get("/v1/stats", {"uptime_s"}));
    if (context.json) {
      Context::print_json(stats);
      return 0;
    }
    const json::value& engine = at(stats, "engine");
    Facts facts;
    facts.add("version", text_at(stats, "version"));
    facts.add("up", fmt::format("{} (boot number {})",
                                show_duration(number_at(stats, "uptime_s").value_or(0)),
                                text_at(stats, "boot")));
    facts.add("queues", text_at(stats, "queues"));
    facts.add("messages", counts_text(at(stats, "messages")));
    facts.add("totals", counts_text(at(stats, "totals")));
    facts.add("commands",
              fmt::format("{} in {} batches, {} synced", show_count(count_at(engine, "commands")),
                          show_count(count_at(engine, "batches")),
                          show_count(count_at(engine, "syncs"))));
    facts.add("waiting workers", text_at(engine, "waiting_reserves"));
    facts.add("connections", text_at(stats, "connections"));
    facts.add("memory", size_text(stats, "memory_bytes"));
    facts.add("store", fmt::format("{} (and {} of log)", size_text(stats, "store_bytes"),
                                   size_text(stats, "wal_bytes")));
    Context::print(facts.text(context.colours(), context.width()));
    return 0;
  };
}

Action declare_top(CLI::App& app, Context& context) {
  auto options = std::make_shared<TopOptions>();
  add_parsed(app, "--every", options->every, parse_duration, "Refresh interval (1s)")
      ->type_name("TIME");
  app.add_flag("--once", options->once,
               "Show it once and exit (as when standard output is no terminal)");
  return [&context, options]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    if (context.json) {
      RQ_TRY_ASSIGN(stats, client->get("/v1/stats", {"uptime_s"}));
      RQ_TRY_ASSIGN(queues, client->get("/v1/queues", {"queues"}));
      RQ_TRY_ASSIGN(page, client->get(kRunning, {"messages"}));
      Context::print_json(
          {{"stats", stats}, {"queues", at(queues, "queues")}, {"running", at(page, "messages")}});
      return 0;
    }
    if (!options->once && is_terminal(STDIN_FILENO) && is_terminal(STDOUT_FILENO)) {
      // Says no server before it takes the screen.
      RQ_TRY(client->get("/v1/health", {"status"}));
      return top_live(context, *client, options->every.value_or(kEvery));
    }
    Before before;
    RQ_TRY_ASSIGN(text, picture(context, *client, before, std::nullopt));
    Context::print(text);
    return 0;
  };
}

Action declare_events(CLI::App& app, Context& context) {
  auto options = std::make_shared<EventOptions>();
  app.add_option("--queue", options->queue, "Only of this queue; it need not be there yet")
      ->type_name("QUEUE");
  app.add_option("--message", options->message, "Only of this message")->type_name("ID");
  app.add_option("--kinds", options->kinds,
                 "Comma list of message (or put, state, move), progress, stop, removed, queue, "
                 "queue_removed")
      ->type_name("KINDS");
  return [&context, options]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    client::Query query;
    query.add_if("queue", options->queue);
    query.add_if("message", options->message);
    query.add_if("kinds", options->kinds);
    const bool colours = context.colours();
    RQ_TRY(
        client->follow(query.on("/v1/events"), [&](std::string_view event, std::string_view data) {
          boost::system::error_code error;
          const json::value value = json::parse(data, error);
          if (error) return true;
          if (context.json) {
            Context::print_json({{"event", event}, {"data", value}});
          } else if (event != "hello") {
            const std::string to = text_at(value, "to");
            const std::string from = text_at(value, "from");
            std::string line = fmt::format("{}  {:<8} {}  {}", text_at(value, "at"), event,
                                           text_at(value, "queue"), text_at(value, "id"));
            if (event == "message") {
              line += fmt::format("  {}{}",
                                  from.empty() || from == to ? "" : fmt::format("{} → ", from),
                                  paint(ink_of_state(to), to, colours));
            }
            const std::string text = text_at(value, "text");
            if (!text.empty()) line += "  " + one_line(text, 200);
            Context::print(line + "\n");
          }
          std::fflush(stdout);
          return true;
        }));
    return 0;
  };
}

Action declare_version(CLI::App&, Context& context) {
  return [&context]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    // Without a server there is still something to say.
    const auto answer = client->get("/v1/version", {"version"});
    if (!answer && answer.error().code != base::Code::unreachable) return answer.error();
    if (context.json) {
      Context::print_json(
          {{"version", RQ_VERSION}, {"server", answer ? *answer : json::value(nullptr)}});
    } else {
      Context::print(fmt::format("rq {}\n", RQ_VERSION));
      if (answer) {
        Context::print(fmt::format("server {} (pid {}, {})\n", text_at(*answer, "version"),
                                   text_at(*answer, "pid"), text_at(*answer, "dir")));
      }
    }
    return 0;
  };
}

}  // namespace rq::cli
