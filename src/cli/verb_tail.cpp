// rq tail: the log of a message; and following a message to its end, for all who wait for one.
#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "cli/outputs.h"
#include "cli/text.h"
#include "cli/verbs.h"

namespace rq::cli {
using base::Code;
using base::fail;
using base::Result;

namespace {

constexpr std::chrono::milliseconds kComeBackEvery{500};
constexpr int kComeBackTimes = 60;  // half a minute: a server that restarts is back by then

// Of a log that is too large for one piece, when nobody says how much.
constexpr std::int64_t kLinesShown = 1000;

struct Options {
  std::string id;
  std::int64_t lines = -1;
  std::int64_t from = -1;
  bool all = false;
  bool follow = false;
};

bool is_finished(const std::string& state) {
  return state == "done" || state == "relayed" || state == "err" || state == "cancelled";
}

// On a terminal only colours get through; into a pipe or a file goes what the script wrote.
class LogPrinter {
 public:
  explicit LogPrinter(const Context& context)
      : raw_(!is_terminal(STDOUT_FILENO)), filter_(context.colours()) {}
  void print(std::string_view text) {
    Context::print(raw_ ? std::string(text) : filter_.feed(text));
    std::fflush(stdout);
  }

 private:
  bool raw_;
  AnsiFilter filter_;
};

// "\nPID - TIME - RQ START - SCRIPT\n", which begins the log of each attempt.
std::string_view without_header(std::string_view text) {
  if (!text.starts_with('\n')) return text;
  const std::size_t end = text.find('\n', 1);
  const std::string_view first = text.substr(0, end);
  if (end == std::string_view::npos || first.find(" - RQ START - ") == std::string_view::npos) {
    return text;
  }
  return text.substr(end + 1);
}

class Follower {
 public:
  Follower(Context& context, std::string id, const FollowOptions& options)
      : context_(context),
        id_(std::move(id)),
        options_(options),
        printer_(context),
        offset_(options.from.value_or(-1)) {}

  Result<json::value> run() {
    RQ_TRY_ASSIGN(client, context_.client());
    int failures = 0;
    while (true) {
      client::Query query;
      if (offset_ >= 0) {
        query.add("from", std::to_string(offset_));
      } else if (options_.tail_lines) {
        query.add("tail", std::to_string(*options_.tail_lines));
      }
      auto followed = client->follow(query.on(message_path(id_, "/log/stream")),
                                     [&](std::string_view event, std::string_view data) {
                                       failures = 0;
                                       return take(event, data);
                                     });
      if (ended_) break;
      if (followed) return fail(Code::internal, "the server sent an event that is no JSON");
      // Nobody there from the start is an error; gone in the middle, it may be restarting.
      if (followed.error().code != Code::unreachable || !seen_ || ++failures > kComeBackTimes) {
        return std::move(followed).error();
      }
      std::this_thread::sleep_for(kComeBackEvery);
    }
    return client->get(message_path(id_));
  }

 private:
  bool take(std::string_view event, std::string_view data) {
    seen_ = true;
    if (event == "end") {
      ended_ = true;
      return false;
    }
    boost::system::error_code error;
    const json::value value = json::parse(data, error);
    if (error) return false;
    if (event == "log") {
      const std::string text = text_at(value, "text");
      offset_ = count_at(value, "offset") + static_cast<std::int64_t>(text.size());
      if (!options_.log) return true;
      if (context_.json) {
        Context::print_json({{"event", "log"}, {"data", value}});
        std::fflush(stdout);
      } else {
        print_log(text);
      }
    } else if (event == "message") {
      show(value);
    }
    return true;
  }

  void print_log(std::string_view text) {
    if (!options_.bare) return printer_.print(text);
    const std::string_view rest = without_header(text);
    if (rest.size() < text.size()) ++attempts_;
    if (rest.empty()) return;
    if (options_.apart != nullptr && options_.apart->attempts() >= attempts_) return;
    printer_.print(rest);
  }

  void show(const json::value& message) {
    if (!options_.progress) return;
    if (context_.json) {
      Context::print_json({{"event", "message"}, {"data", message}});
      std::fflush(stdout);
      return;
    }
    const std::string state = text_at(message, "state");
    const std::string progress = text_at(message, "progress");
    std::string said = progress.empty() ? state : fmt::format("{}: {}", state, progress);
    if (said == said_) return;
    const bool colours = colours_on(stderr);
    std::fflush(stdout);
    std::fputs(
        (paint(ink_of_state(state), fmt::format("-- {}", one_line(said, 200)), colours) + "\n")
            .c_str(),
        stderr);
    said_ = std::move(said);
  }

  Context& context_;
  std::string id_;
  FollowOptions options_;
  LogPrinter printer_;
  std::string said_;
  std::int64_t offset_;  // of what comes next; -1: not known yet
  int attempts_ = 0;     // that have begun
  bool seen_ = false;
  bool ended_ = false;
};

}  // namespace

Result<json::value> follow_message(Context& context, const std::string& id,
                                   const FollowOptions& options) {
  return Follower(context, id, options).run();
}

// As timeout(1) exits.
constexpr int kTimedOut = 124;

Result<int> exit_code_of(Context& context, const json::value& message, bool own) {
  const std::string state = text_at(message, "state");
  if (state == "done" || state == "relayed") return 0;
  if (own) {
    RQ_TRY_ASSIGN(client, context.client());
    RQ_TRY_ASSIGN(answer, client->get(message_path(text_at(message, "id"), "/attempts")));
    const json::array& attempts = items_at(answer, "attempts");
    if (!attempts.empty()) {
      const json::value& post_mortem = at(attempts.back(), "post_mortem");
      // What the command cannot have said itself.
      if (const std::string outcome = text_at(attempts.back(), "outcome");
          outcome != "failed" && outcome != "err") {
        std::fprintf(stderr, "rq: %s\n", text_at(attempts.back(), "reason").c_str());
        if (outcome == "timed_out") return kTimedOut;
      }
      const auto signal = number_at(post_mortem, "signal");
      const std::int64_t code = count_at(post_mortem, "exit_code");
      if (signal) return 128 + static_cast<int>(*signal);
      if (code > 0 && code < 256) return static_cast<int>(code);
    }
  }
  return 1;
}

namespace {

// A piece of the log, from that byte on; empty at its end.
Result<std::string> read_from(client::Client& client, const std::string& id, std::int64_t from) {
  client::Query query;
  query.add("from", std::to_string(from));
  return client.get_bytes(query.on(message_path(id, "/log")));
}

// All that is there from a byte on, piece by piece, whatever its size.
Result<int> print_from(Context& context, const std::string& id, std::int64_t from) {
  RQ_TRY_ASSIGN(client, context.client());
  LogPrinter printer(context);
  while (true) {
    RQ_TRY_ASSIGN(piece, read_from(*client, id, from));
    if (piece.empty()) return 0;
    if (context.json) {
      Context::print_json({{"id", id}, {"from", from}, {"text", piece}});
    } else {
      printer.print(piece);
    }
    from += static_cast<std::int64_t>(piece.size());
  }
}

// The last lines; or all, if it is no more than one piece.
Result<int> print_end(Context& context, const std::string& id, std::optional<std::int64_t> lines) {
  RQ_TRY_ASSIGN(client, context.client());
  const auto get = [&](std::optional<std::int64_t> tail) {
    client::Query query;
    if (tail) query.add("tail", std::to_string(*tail));
    return client->get_bytes(query.on(message_path(id, "/log")));
  };
  auto text = get(lines);
  if (!text && !lines && text.error().code == Code::too_large) {
    std::fputs(fmt::format("rq tail: a large log: its last {} lines; --all shows all of it, --from "
                           "BYTE a part, -n N other lines\n",
                           kLinesShown)
                   .c_str(),
               stderr);
    text = get(kLinesShown);
  }
  if (!text) return std::move(text).error();
  if (context.json) {
    Context::print_json({{"id", id}, {"text", *text}});
    return 0;
  }
  LogPrinter(context).print(*text);
  if (text->empty()) {
    RQ_TRY_ASSIGN(message, client->get(message_path(id)));
    const std::string state = text_at(message, "state");
    std::fprintf(stderr, "no log%s (the message is in %s)\n", is_finished(state) ? "" : " yet",
                 state.c_str());
  }
  return 0;
}

Result<int> tail(Context& context, const Options& options) {
  if ((options.lines >= 0) + (options.from >= 0) + (options.all ? 1 : 0) > 1) {
    return fail(Code::bad_value, "of --lines, --from and --all more than one is given",
                "give one of them");
  }
  std::optional<std::int64_t> lines;
  std::optional<std::int64_t> from;
  if (options.lines >= 0) lines = options.lines;
  if (options.all) from = 0;
  if (options.from >= 0) from = options.from;
  if (!options.follow) {
    return from ? print_from(context, options.id, *from) : print_end(context, options.id, lines);
  }
  if (!lines && !from) lines = kLinesShown;
  RQ_TRY_ASSIGN(end,
                follow_message(context, options.id,
                               {.log = true, .tail_lines = lines, .from = from, .progress = true}));
  if (context.json) Context::print_json({{"event", "end"}, {"data", end}});
  return 0;
}

}  // namespace

Action declare_tail(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("id", options->id, "The message: its id, its number, or key:KEY")
      ->required()
      ->type_name("ID");
  app.add_flag("-f,--follow", options->follow, "Go on until the message is finished");
  app.add_option("-n,--lines", options->lines,
                 "Only the last N lines of what is there (of a large log: 1000)")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--from", options->from, "From this byte on")
      ->type_name("BYTE")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--all", options->all, "All of it, however large");
  return [&context, options] { return tail(context, *options); };
}

}  // namespace rq::cli
