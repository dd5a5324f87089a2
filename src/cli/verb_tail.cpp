// rq tail: the log of a message; and following a message to its end, for all who wait for one.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
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
  std::optional<std::int64_t> lines;
  std::optional<std::int64_t> from;
  bool all = false;
  bool follow = false;
  std::optional<base::Millis> longest;
};

// Its time is over: that of the command (--timeout), or that of whoever waits (--wait-timeout).
int timed_out_code() { return base::row_of(Code::timed_out).exit_code; }

// Why a message does not run is looked up so often; not at once, as most run at once.
constexpr std::chrono::seconds kLookEvery{1};
constexpr int kSilentLooks = 2;

// What an event tells of a message that is gone.
json::value message_of(const json::value& event) {
  return {{"id", text_at(event, "id")},
          {"queue", text_at(event, "queue")},
          {"seq", at(event, "seq")},
          {"state", text_at(event, "to")},
          {"progress", text_at(event, "text")},
          {"gone", true}};
}

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
        offset_(options.from.value_or(-1)),
        until_(options.longest ? Steady::now() + *options.longest : Steady::time_point::max()) {}

  Result<json::value> run() {
    RQ_TRY_ASSIGN(client, context_.client());
    int failures = 0;
    while (true) {
      if (Steady::now() >= until_) return timed_out();
      client::Query query;
      if (offset_ >= 0) {
        query.add("from", std::to_string(offset_));
      } else if (options_.tail_lines) {
        query.add("tail", std::to_string(*options_.tail_lines));
      }
      auto followed = client->follow(
          query.on(message_path(id_, "/log/stream")),
          [&](std::string_view event, std::string_view data) {
            failures = 0;
            return take(event, data);
          },
          meanwhile(), left());
      if (ended_) break;
      if (followed) return fail(Code::internal, "the server sent an event that is no JSON");
      if (Steady::now() >= until_) return timed_out();
      // Nobody there from the start is an error; gone in the middle, it may be restarting.
      if (followed.error().code != Code::unreachable || !seen_ || ++failures > kComeBackTimes) {
        return std::move(followed).error();
      }
      std::this_thread::sleep_for(kComeBackEvery);
    }
    auto message = client->get(message_path(id_), {"state"});
    const bool gone = !message && message.error().code == Code::not_found;
    if (gone && !text_at(end_, "to").empty()) return message_of(end_);
    return message;
  }

 private:
  using Steady = std::chrono::steady_clock;

  // Until the wait is over; 0: it has no end.
  [[nodiscard]] base::Millis left() const {
    if (until_ == Steady::time_point::max()) return base::Millis{0};
    return std::max(base::Millis{1}, std::chrono::ceil<base::Millis>(until_ - Steady::now()));
  }

  [[nodiscard]] base::Error timed_out() const {
    return fail(
        Code::timed_out,
        fmt::format("message {} has not ended within {}", id_,
                    show_duration(std::chrono::duration<double>(*options_.longest).count())),
        fmt::format("it is not touched: rq tail -f {} follows it, rq cancel {} ends it", id_, id_));
  }

  bool take(std::string_view event, std::string_view data) {
    seen_ = true;
    boost::system::error_code error;
    const json::value value = json::parse(data, error);
    if (event == "end") {
      ended_ = true;
      end_ = value;
      return false;
    }
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
      runs_ = text_at(value, "state") == "run";
      show(value);
    }
    return true;
  }

  [[nodiscard]] client::Client::Meanwhile meanwhile() {
    if (options_.why.empty()) return {};
    return {.every = kLookEvery, .call = [this] { say_why(); }};
  }

  [[nodiscard]] const char* what_helps() const {
    return options_.longest ? " (Ctrl-C leaves it there, rq cancel takes it out)"
                            : " (Ctrl-C leaves it there, rq cancel takes it out; --wait-timeout "
                              "bounds the wait)";
  }

  // Nothing may ever run it: a queue is paused, a script is missing.
  void say_why() {
    waits_ = runs_ ? 0 : waits_ + 1;
    if (waits_ < kSilentLooks) return;
    if (!asking_) {
      auto where = context_.address();
      if (!where) return;
      asking_ = std::make_unique<client::Client>(*std::move(where));
    }
    const auto why = asking_->get(message_path(id_, "/why"), {"reason"});
    if (!why || text_at(*why, "reason") == reason_) return;
    const bool first = reason_.empty();
    reason_ = text_at(*why, "reason");
    const std::string state = text_at(*why, "state");
    if (state == "run" || is_finished(state)) return;
    std::fprintf(stderr, "rq %s: message %s does not run yet: %s%s\n",
                 std::string(options_.why).c_str(), id_.c_str(),
                 one_line(why_text(*why), 300).c_str(), first ? what_helps() : "");
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
    const std::string state = text_at(message, "state");
    const std::string progress = text_at(message, "progress");
    switch (options_.changes) {
      case FollowOptions::Changes::none:
        return;
      case FollowOptions::Changes::progress:
        if (state != "run" || progress.empty()) return;
        break;
      case FollowOptions::Changes::all:
        break;
    }
    if (context_.json) {
      Context::print_json({{"event", "message"}, {"data", message}});
      std::fflush(stdout);
      return;
    }
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
  const Steady::time_point until_;
  int attempts_ = 0;  // that have begun
  bool runs_ = false;
  int waits_ = 0;  // looks in a row at which it did not run
  std::string reason_;
  std::unique_ptr<client::Client> asking_;
  json::value end_;
  bool seen_ = false;
  bool ended_ = false;
};

// While somebody waits: what Ctrl-C means.
class OnInterrupt {
 public:
  OnInterrupt(std::string_view verb, const std::string& id) : is_set_(!verb.empty()) {
    if (!is_set_) return;
    text() = fmt::format(
        "\nrq {}: message {} is not touched; rq tail -f {} follows it, rq cancel {} ends it\n",
        verb, id, id, id);
    before_ = std::signal(SIGINT, [](int) {
      const ssize_t written = ::write(STDERR_FILENO, text().data(), text().size());
      static_cast<void>(written);
      ::_exit(128 + SIGINT);
    });
    if (before_ == SIG_IGN) std::signal(SIGINT, before_);
  }
  ~OnInterrupt() {
    if (is_set_) std::signal(SIGINT, before_);
  }
  OnInterrupt(const OnInterrupt&) = delete;
  OnInterrupt& operator=(const OnInterrupt&) = delete;

 private:
  // What the handler says.
  static std::string& text() {
    static std::string kept;
    return kept;
  }
  const bool is_set_;
  void (*before_)(int) = SIG_DFL;
};

}  // namespace

void add_wait_timeout(CLI::App& app, std::optional<base::Millis>& into) {
  add_parsed(app, "--wait-timeout", into, parse_duration,
             fmt::format("Wait no longer than this, and exit with {}; the message goes on, and "
                         "standard error says that it has not ended",
                         timed_out_code()))
      ->type_name("TIME");
}

Result<json::value> follow_message(Context& context, const std::string& id,
                                   const FollowOptions& options) {
  const OnInterrupt says(options.why, id);
  return Follower(context, id, options).run();
}

Result<json::value> put_and_follow(Context& context, const std::string& queue,
                                   const FollowOptions& options,
                                   const std::function<Result<std::string>()>& put) {
  RQ_TRY_ASSIGN(where, context.address());
  client::Client events(std::move(where));
  client::Query query;
  query.add("queue", queue).add("kinds", "state,removed");
  std::optional<std::string> id;
  Result<json::value> end = fail(Code::internal, "");
  // True: it was gone before it could be followed.
  const auto place = [&] {
    id.emplace();
    auto placed = put();
    if (!placed) {
      end = std::move(placed).error();
      return false;
    }
    id = *std::move(placed);
    end = follow_message(context, *id, options);
    return !end && end.error().code == Code::not_found;
  };
  // Whatever happens to the message after the put, this stream has it.
  const auto followed =
      events.follow(query.on("/v1/events"), [&](std::string_view name, std::string_view data) {
        if (!id) return name != "hello" || place();
        boost::system::error_code error;
        const json::value event = json::parse(data, error);
        if (error || text_at(event, "id") != *id) return !error;
        if (name == "removed") return false;
        if (!is_finished(text_at(event, "to"))) return true;
        end = message_of(event);
        return false;
      });
  if (!id) {
    if (!followed && followed.error().code == Code::unreachable) return followed.error();
    static_cast<void>(place());  // no stream was to be had
  }
  return end;
}

Result<int> exit_code_of(Context& context, const json::value& message, bool own) {
  const std::string state = text_at(message, "state");
  if (state == "done" || state == "relayed") return 0;
  if (own) {
    if (at(message, "gone") == json::value(true)) {
      std::fprintf(stderr, "rq: %s: %s (queue '%s' keeps no message that has ended like this)\n",
                   state.c_str(), one_line(text_at(message, "progress"), 200).c_str(),
                   text_at(message, "queue").c_str());
      return 1;
    }
    RQ_TRY_ASSIGN(client, context.client());
    RQ_TRY_ASSIGN(answer,
                  client->get(message_path(text_at(message, "id"), "/attempts"), {"attempts"}));
    const json::array& attempts = items_at(answer, "attempts");
    if (!attempts.empty()) {
      const json::value& post_mortem = at(attempts.back(), "post_mortem");
      // What the command cannot have said itself.
      if (const std::string outcome = text_at(attempts.back(), "outcome");
          outcome != "failed" && outcome != "err") {
        std::fprintf(stderr, "rq: %s\n", text_at(attempts.back(), "reason").c_str());
        if (outcome == "timed_out") return timed_out_code();
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
  if (text->empty() && lines != 0) {
    RQ_TRY_ASSIGN(message, client->get(message_path(id), {"state"}));
    const std::string state = text_at(message, "state");
    std::fprintf(stderr, "no log%s (the message is in %s)\n", is_finished(state) ? "" : " yet",
                 state.c_str());
  }
  return 0;
}

Result<int> tail(Context& context, const Options& options) {
  if ((options.lines ? 1 : 0) + (options.from ? 1 : 0) + (options.all ? 1 : 0) > 1) {
    return fail(Code::bad_value, "of --lines, --from and --all more than one is given",
                "give one of them");
  }
  std::optional<std::int64_t> lines = options.lines;
  const std::optional<std::int64_t> from = options.all ? 0 : options.from;
  if (!options.follow) {
    if (options.longest) {
      return fail(Code::bad_value, "--wait-timeout without -f: nothing is waited for",
                  "add -f, or leave it out");
    }
    return from ? print_from(context, options.id, *from) : print_end(context, options.id, lines);
  }
  if (!lines && !from) lines = kLinesShown;
  RQ_TRY_ASSIGN(end, follow_message(context, options.id,
                                    {.log = true,
                                     .tail_lines = lines,
                                     .from = from,
                                     .changes = FollowOptions::Changes::all,
                                     .longest = options.longest}));
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
  add_wait_timeout(app, options->longest);
  add_parsed(app, "-n,--lines", options->lines, parse_natural,
             "Only the last N lines of what is there (of a large log: 1000)")
      ->type_name("N");
  add_parsed(app, "--from", options->from, parse_natural, "From this byte on")->type_name("BYTE");
  app.add_flag("--all", options->all, "All of it, however large");
  return [&context, options] { return tail(context, *options); };
}

}  // namespace rq::cli
