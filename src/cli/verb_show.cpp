// rq show and rq why: all about one message.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "cli/text.h"
#include "cli/verbs.h"

namespace rq::cli {
using base::Result;

namespace {

constexpr std::size_t kShownBytes = 2000;  // of a payload or result, for people

struct Options {
  std::vector<std::string> ids;
  bool payload = false;
};

void add_time(Facts& facts, const json::value& message, std::string_view name) {
  const std::string text = text_at(message, name);
  if (text.empty()) return;
  const std::string age = age_of(message, name);
  facts.add(name, age.starts_with('-') ? fmt::format("{}  (in {})", text, age.substr(1))
                                       : fmt::format("{}  ({} ago)", text, age));
}

std::string outcome_text(const json::value& post_mortem) {
  if (!post_mortem.is_object()) return "";
  std::string text;
  if (const auto signal = number_at(post_mortem, "signal")) {
    text = fmt::format("signal {}", static_cast<int>(*signal));
  } else if (const auto code = number_at(post_mortem, "exit_code")) {
    text = fmt::format("exit {}", static_cast<int>(*code));
  }
  for (const char* name : {"out_of_memory", "timed_out", "killed_after_grace"}) {
    if (at(post_mortem, name) == json::value(true)) text += fmt::format(" {}", name);
  }
  return text;
}

void print_attempts(const Context& context, const json::value& answer) {
  using Align = Table::Align;
  Table table({{"#", Align::right},
               {"WORKER"},
               {"OUTCOME"},
               {"END"},
               {"WALL", Align::right},
               {"CPU", Align::right},
               {"MEMORY", Align::right},
               {"REASON"}},
              Table::Long::wrapped);
  std::string last_output;
  for (const json::value& attempt : items_at(answer, "attempts")) {
    const json::value& pm = at(attempt, "post_mortem");
    const auto wall = number_at(pm, "wall_s");
    const auto user = number_at(pm, "user_s");
    const auto system = number_at(pm, "system_s");
    const auto rss = number_at(pm, "rss_bytes");
    const std::string outcome = text_at(attempt, "outcome");
    table.add({text_at(attempt, "number"),
               text_at(attempt, "worker"),
               {outcome, ink_of_state(outcome)},
               outcome_text(pm),
               wall ? show_duration(*wall) : "",
               user || system ? show_duration(user.value_or(0) + system.value_or(0)) : "",
               rss ? show_size(*rss) : "",
               text_at(attempt, "reason")});
    last_output = text_at(pm, "last_output");
  }
  if (table.empty()) return;
  Context::print("\n");
  context.print(table);
  if (!last_output.empty()) {
    AnsiFilter filter(context.colours());
    Context::print(fmt::format("\n{}\n{}\n", paint(Ink::dim, "last output", context.colours()),
                               filter.feed(last_output)));
  }
}

std::int64_t count_of(const json::array& attempts, std::string_view outcome,
                      std::string_view or_outcome) {
  return std::count_if(attempts.begin(), attempts.end(), [&](const json::value& one) {
    const std::string found = text_at(one, "outcome");
    return found == outcome || found == or_outcome;
  });
}

// As the list of attempts below it has them. Of a message with many the last ones are kept, and a
// queue made on demand keeps none: then there may be more. The counters of the message know of
// some: of failures since the last retry, and of losses in a row.
std::string attempts_text(const json::value& message, const json::array& attempts) {
  const std::int64_t all = count_at(message, "attempts");
  const bool complete = std::ssize(attempts) >= all;
  std::string text = fmt::to_string(all);
  const auto add = [&](std::int64_t count, std::string_view what) {
    if (complete || count > 0) {
      text += fmt::format(", {}{} {}", complete ? "" : "at least ", count, what);
    }
  };
  const std::int64_t failed = count_of(attempts, "failed", "timed_out");
  const std::int64_t since_retry = count_at(message, "failures");
  add(std::max(failed, since_retry), "failed");
  if (complete && since_retry < failed) text += fmt::format(" ({} since the retry)", since_retry);
  add(std::max(count_of(attempts, "lost", "lost"), count_at(message, "losses")), "lost");
  add(count_of(attempts, "release", "released"), "handed back");
  return text + fmt::format(", resent {} of {}", count_at(message, "count"),
                            count_at(message, "max_count"));
}

void print_message(const Context& context, const json::value& message, const json::array& attempts,
                   const std::string& why) {
  Facts facts;
  const std::string state = text_at(message, "state");
  const std::string mark = text_at(message, "mark");
  facts.add("id", {text_at(message, "id"), Ink::bold});
  facts.add("queue", text_at(message, "queue"));
  facts.add("state", {mark.empty() || mark == "none" ? state : fmt::format("{} ({})", state, mark),
                      ink_of_state(state)});
  facts.add_if("why it waits", why);
  facts.add_if("progress", text_at(message, "progress"));
  add_time(facts, message, "created");
  if (text_at(message, "due") != text_at(message, "created")) add_time(facts, message, "due");
  add_time(facts, message, "finished");
  facts.add("attempts", attempts_text(message, attempts));
  if (count_at(message, "priority") != 0) facts.add("priority", text_at(message, "priority"));
  for (const char* name :
       {"key", "dest", "src", "orig_id", "cloned_from", "dup_of", "param1", "param2", "param3",
        "param4", "content_type", "retries", "backoff", "timeout_s", "lease_s", "folder"}) {
    facts.add_if(name, text_at(message, name));
  }
  for (const char* name : {"tags", "webhooks"}) {
    if (!items_at(message, name).empty()) facts.add_if(name, text_at(message, name));
  }
  if (at(message, "headers").is_object() && !at(message, "headers").get_object().empty()) {
    facts.add_if("headers", text_at(message, "headers"));
  }
  const json::value& lease = at(message, "lease");
  if (lease.is_object()) {
    facts.add("lease", fmt::format("attempt {} by '{}' until {}{}", text_at(lease, "attempt"),
                                   text_at(lease, "worker"), text_at(lease, "until"),
                                   text_at(lease, "stop") == "none"
                                       ? ""
                                       : ", asked to stop: " + text_at(lease, "stop")));
  }
  const std::int64_t bytes = count_at(message, "payload_bytes");
  if (bytes > 0) {
    std::string payload = text_at(message, "payload");
    if (payload.empty()) payload = "(binary)";
    if (payload.size() > kShownBytes) payload.resize(kShownBytes);
    facts.add("payload", fmt::format("{}: {}", show_size(static_cast<double>(bytes)),
                                     one_line(payload, kShownBytes)));
  }
  if (const std::string result = text_at(message, "result"); !result.empty()) {
    facts.add("result", one_line(result, kShownBytes));
  }
  Context::print(facts.text(context.colours(), context.width()));
}

}  // namespace

Action declare_show(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("id", options->ids, "Messages: id, number, or key:KEY")
      ->required()
      ->type_name("ID...");
  app.add_flag("--payload", options->payload, "Only the payload, byte for byte");
  return [&context, options]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    bool first = true;
    for (const std::string& id : options->ids) {
      if (options->payload) {
        RQ_TRY_ASSIGN(bytes, client->get_bytes(message_path(id, "/payload")));
        // Byte for byte, but not into somebody's terminal.
        Context::print(is_terminal(STDOUT_FILENO) ? AnsiFilter(context.colours()).feed(bytes)
                                                  : bytes);
        continue;
      }
      RQ_TRY_ASSIGN(message, client->get(message_path(id), {"state"}));
      RQ_TRY_ASSIGN(attempts, client->get(message_path(id, "/attempts"), {"attempts"}));
      if (context.json) {
        if (message.is_object()) message.get_object()["attempts_list"] = at(attempts, "attempts");
        Context::print_json(message);
        continue;
      }
      if (!std::exchange(first, false)) Context::print("\n");
      std::string why;
      if (text_at(message, "state") == "que") {
        // A hint: the message may be gone or running by now.
        const auto told = client->get(message_path(id, "/why"), {"reason"});
        if (told && text_at(*told, "state") == "que") why = why_text(*told);
      }
      print_message(context, message, items_at(attempts, "attempts"), why);
      print_attempts(context, attempts);
    }
    return 0;
  };
}

Action declare_why(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("id", options->ids, "Messages: id, number, or key:KEY")
      ->required()
      ->type_name("ID...");
  return [&context, options]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    for (const std::string& id : options->ids) {
      RQ_TRY_ASSIGN(why, client->get(message_path(id, "/why"), {"reason"}));
      if (context.json) {
        Context::print_json(why);
        continue;
      }
      const std::string state = text_at(why, "state");
      const std::string shown_id = text_at(why, "id");
      const std::size_t column = columns_of(shown_id) + columns_of(state) + 4;  // two gaps
      Context::print(fmt::format("{}  {}  {}\n", shown_id,
                                 paint(ink_of_state(state), state, context.colours()),
                                 indented(shown_text(why_text(why)), column, context.width())));
    }
    return 0;
  };
}

}  // namespace rq::cli
