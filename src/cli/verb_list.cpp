// rq list: messages, filtered, page by page.
#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "cli/filter.h"
#include "cli/nearest.h"
#include "cli/text.h"
#include "cli/tries.h"
#include "cli/verbs.h"

namespace rq::cli {
using base::Code;
using base::fail;
using base::Result;

namespace {

constexpr std::int64_t kShown = 50;  // when nothing is said

struct Options {
  MessageFilter filter;
  std::string queue;  // the argument
  std::optional<std::int64_t> limit;
  bool all = false;
  bool oldest = false;
  bool payloads = false;
  std::string cursor;
  std::string by;
};

// On a terminal the start of a payload is enough.
std::string payload_of(const json::value& message, std::optional<std::size_t> width) {
  const std::string payload = text_at(message, "payload");
  return width ? one_line(payload, *width / 2) : payload;
}

Table make_table(const json::array& messages, std::optional<std::size_t> width) {
  using Align = Table::Align;
  const bool priorities = std::ranges::any_of(
      messages, [](const json::value& message) { return count_at(message, "priority") != 0; });
  std::vector<Table::Column> columns{
      {"ID"}, {"QUEUE"}, {"STATE"}, {"AGE", Align::right}, {"ATTEMPTS", Align::right}};
  if (priorities) columns.push_back({"PRIORITY", Align::right});
  columns.push_back({"TEXT"});
  Table table(std::move(columns), Table::Long::list);
  for (const json::value& message : messages) {
    const std::string state = text_at(message, "state");
    const std::string mark = text_at(message, "mark");
    std::string text = text_at(message, "progress");
    if (text.empty()) text = text_at(at(message, "lease"), "progress");
    if (text.empty()) text = text_at(message, "param1");
    if (text.empty()) text = payload_of(message, width);
    // "scheduled, in 59 min"
    std::string due = state == "scheduled" ? age_of(message, "due") : "";
    if (due.starts_with('-')) due = ", in " + due.substr(1);
    std::vector<Cell> row{
        text_at(message, "id"),
        text_at(message, "queue"),
        {mark.empty() || mark == "none" || state != "err" ? state + due
                                                          : fmt::format("{} {}", state, mark),
         ink_of_state(state)},
        age_of(message, "created"),
        text_at(message, "attempts")};
    if (priorities) row.emplace_back(text_at(message, "priority"));
    row.emplace_back(text);
    table.add(std::move(row));
  }
  return table;
}

// How to go on with the messages of one reason alone.
void say_commands(const MessageFilter& filter, const json::array& kinds) {
  std::string out;
  for (const json::value& kind : kinds) {
    const std::string fingerprint = text_at(kind, "fingerprint");
    // What a terminal would act on cannot be pasted; --json has it.
    if (fingerprint.empty() || shown_text(fingerprint) != fingerprint) continue;
    out += fmt::format("  rq retry{} --fingerprint {}\n", filter.words(), shell_quote(fingerprint));
  }
  if (out.empty()) return;
  Context::print("\nOne of these alone (rq list, cancel, remove and the others take the same):\n" +
                 out);
}

void say_hint(const MessageFilter& filter) {
  const std::string hint = filter.hint_when_none();
  if (!hint.empty()) std::fprintf(stderr, "%s\n", hint.c_str());
}

// GET, of messages that the filter finds.
Result<json::value> ask(client::Client& client, const MessageFilter& filter,
                        const std::string& target, std::string_view wanted) {
  auto answer = client.get(target, {wanted});
  if (answer || filter.queue.empty()) return answer;
  return with_nearest_queue(client, filter.queue, std::move(answer).error());
}

// Failures that are in err no more, or not yet: they wait for another try.
void say_tries(client::Client& client, MessageFilter filter) {
  filter.mark.clear();
  const Tries tries = tries_of(client, filter);
  if (tries.all == 0) return;
  std::fprintf(stderr, "%s: rq list%s --state scheduled\n",
               tries_text(tries.all, tries.cut).c_str(), filter.words().c_str());
}

// Whether it asks for failures.
bool is_for_failures(const MessageFilter& filter) {
  return filter.state == "err" || (filter.state.empty() && filter.mark == "failed");
}

// The failures, counted by what their reasons have in common.
Result<int> list_by_reason(Context& context, const Options& options) {
  MessageFilter filter = options.filter;
  if (filter.state == "err") filter.state.clear();
  if (!filter.state.empty()) {
    return fail(Code::bad_value, fmt::format("--by reason with --state {}", filter.state),
                "only messages in err have one: leave --state out");
  }
  RQ_TRY_ASSIGN(client, context.client());
  RQ_TRY_ASSIGN(query, filter.query());
  RQ_TRY_ASSIGN(answer, ask(*client, filter, query.on("/v1/failures"), "failures"));
  if (context.json) {
    Context::print_json(answer);  // whole: it says what is left out
    return 0;
  }
  Table table({{"COUNT", Table::Align::right}, {"QUEUE"}, {"NEWEST"}, {"REASON OF THE NEWEST"}},
              Table::Long::wrapped);
  for (const json::value& kind : items_at(answer, "failures")) {
    table.add({show_count(count_at(kind, "count")), text_at(kind, "queue"), text_at(kind, "newest"),
               text_at(kind, "text")});
  }
  context.print(table, "no such messages");
  if (table.empty()) say_hint(filter);
  if (const std::int64_t others = count_at(answer, "others"); others > 0) {
    std::fprintf(stderr, "%s of more kinds\n", show_messages(others).c_str());
  }
  if (at(answer, "cut") == json::value(true)) {
    std::fprintf(stderr, "only the newest %s are counted\n",
                 show_count(count_at(answer, "looked_at")).c_str());
  }
  say_commands(filter, items_at(answer, "failures"));
  say_tries(*client, filter);
  return 0;
}

// Something is said of pages of messages.
bool is_paged(const Options& options) {
  return options.limit || options.all || options.oldest || options.payloads ||
         !options.cursor.empty();
}

Result<void> check_page(const Context& context, const Options& options) {
  if (options.all && options.limit) {
    return fail(Code::bad_value, "both --all and --limit are given",
                "--all shows every message; leave one of them out");
  }
  if (options.payloads && !context.json) {
    return fail(Code::bad_value, "--payloads without --json",
                "payloads may have any length and any bytes: add --json, or rq show ID --payload");
  }
  return {};
}

Result<int> list_by(Context& context, const Options& options) {
  if (options.by != "reason") {
    return fail(Code::bad_value, fmt::format("--by '{}'", options.by),
                "messages are counted by: reason");
  }
  if (is_paged(options)) {
    return fail(Code::bad_value, "--by counts all: it goes with no page",
                "leave out --limit, --all, --oldest, --payloads and --cursor");
  }
  return list_by_reason(context, options);
}

// The pages that are wanted, one after the other.
class Pages {
 public:
  Pages(Context& context, client::Client& client, const Options& options)
      : context_(context),
        client_(client),
        options_(options),
        left_(options.limit.value_or(kShown)),
        cursor_(options.cursor) {}

  Result<void> show() {
    do {
      RQ_TRY_ASSIGN(page, next());
      show(items_at(page, "messages"));
    } while (!cursor_.empty() && (options_.all || left_ > 0));
    if (!context_.json && !options_.all) {
      context_.print(make_table(kept_, context_.width()), "no such messages");
      if (kept_.empty()) say_hint(options_.filter);
    }
    say_what_is_missing();
    return {};
  }

 private:
  Result<json::value> next() {
    constexpr auto kPageMax = static_cast<std::int64_t>(base::kListPageMax);
    RQ_TRY_ASSIGN(query, options_.filter.query());
    query.add("limit", std::to_string(options_.all ? kPageMax : std::min(left_, kPageMax)));
    if (options_.oldest) query.add("order", "oldest");
    // The table shows a payload where there is no other text.
    query.add("payloads", options_.payloads || !context_.json ? "1" : "0");
    query.add_if("cursor", cursor_);
    RQ_TRY_ASSIGN(page, ask(client_, options_.filter, query.on("/v1/messages"), "messages"));
    cursor_ = text_at(page, "cursor");
    cut_ = cut_ || at(page, "cut") == json::value(true);
    return page;
  }

  // All as they come; of a few one table with columns for all of them.
  void show(const json::array& messages) {
    left_ -= static_cast<std::int64_t>(messages.size());
    if (context_.json) {
      for (const json::value& message : messages) Context::print_json(message);
    } else if (options_.all) {
      context_.print(make_table(messages, context_.width()));
    } else {
      kept_.insert(kept_.end(), messages.begin(), messages.end());
    }
  }

  void say_what_is_missing() {
    if (!cursor_.empty()) {
      std::fprintf(stderr, "there are more: --cursor %s (or --all, or -n)\n", cursor_.c_str());
    }
    if (!context_.json && is_for_failures(options_.filter)) say_tries(client_, options_.filter);
    if (cut_) {
      std::fprintf(stderr, "the search looked at %zu messages a page and stopped there\n",
                   base::kListScanMax);
    }
  }

  Context& context_;
  client::Client& client_;
  const Options& options_;
  std::int64_t left_;
  std::string cursor_;
  bool cut_ = false;
  json::array kept_;
};

Result<int> list(Context& context, Options& options) {
  if (!options.queue.empty() && !options.filter.queue.empty()) {
    return fail(
        Code::bad_value,
        fmt::format("two queues: '{}' and --queue '{}'", options.queue, options.filter.queue),
        "name one");
  }
  if (!options.queue.empty()) options.filter.queue = options.queue;
  if (!options.by.empty()) return list_by(context, options);
  RQ_TRY(check_page(context, options));
  RQ_TRY_ASSIGN(client, context.client());
  RQ_TRY(Pages(context, *client, options).show());
  return 0;
}

}  // namespace

Action declare_list(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("queue_name", options->queue, "Of this queue")->type_name("QUEUE");
  options->filter.declare(app);
  add_parsed(app, "-n,--limit", options->limit, parse_positive, "At most so many (50)")
      ->type_name("N");
  app.add_flag("--all", options->all, "All of them, page after page");
  app.add_flag("--oldest", options->oldest, "Oldest first");
  app.add_flag("--payloads", options->payloads, "With their payloads (--json)");
  app.add_option("--cursor", options->cursor, "Go on where the last list said")
      ->type_name("CURSOR");
  app.add_option("--by", options->by,
                 "reason: the messages in err, counted by what their reasons have in common; those "
                 "that wait for another try are only counted")
      ->type_name("reason");
  return [&context, options] { return list(context, *options); };
}

}  // namespace rq::cli
