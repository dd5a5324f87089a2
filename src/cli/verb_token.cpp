// rq token …, rq audit: who may call, and what callers have changed.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "cli/nearest.h"
#include "cli/text.h"
#include "cli/verbs.h"

namespace rq::cli {
using base::Code;
using base::fail;
using base::Result;

namespace {

constexpr std::int64_t kAuditShown = 100;
constexpr std::int64_t kAuditMost = 1'000;

struct Options {
  std::string name;
  std::vector<std::string> rights;
  std::optional<base::Millis> length;  // --expires, --overlap
};

std::shared_ptr<Options> with_name(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("name", options->name, "Name of the token")->required()->type_name("NAME");
  return options;
}

std::string token_path(std::string_view name, std::string_view below = {}) {
  return fmt::format("/v1/tokens/{}{}", client::url_encode(name), below);
}

double seconds_of(base::Millis length) { return static_cast<double>(length.count()) / 1000; }

std::string rights_text(const json::value& token) {
  std::vector<std::string> rights;
  for (const json::value& right : items_at(token, "rights")) {
    rights.emplace_back(right.is_string() ? std::string_view(right.get_string()) : "");
  }
  return fmt::format("{}", fmt::join(rights, ", "));
}

// The secret alone to standard output, so that it can go into a file.
void print_secret(const Context& context, const json::value& token, std::string_view note) {
  if (context.json) return Context::print_json(token);
  Context::print(text_at(token, "token") + "\n");
  std::fprintf(stderr, "  %s\n", std::string(note).c_str());
}

// What was meant, when there is no such token.
base::Error with_nearest(client::Client& client, const std::string& name, base::Error error) {
  if (error.code != Code::not_found) return error;
  const auto answer = client.get("/v1/tokens", {"tokens"});
  if (!answer) return error;
  std::vector<std::string> names;
  for (const json::value& token : items_at(*answer, "tokens")) {
    if (text_at(token, "holds") == "true") names.push_back(text_at(token, "name"));
  }
  const std::string meant = nearest(name, names);
  if (!meant.empty()) error.remedy = fmt::format("did you mean '{}'? {}", meant, error.remedy);
  return error;
}

std::string status_of(const json::value& token) {
  if (text_at(token, "holds") == "true") {
    return text_at(token, "old_until").empty() ? "holds" : "holds, and the one before";
  }
  return text_at(token, "revoked").empty() ? "expired" : "revoked";
}

// "ops (revoked)": the one it was made with holds no more.
std::string maker_of(const json::value& token) {
  const std::string maker = text_at(token, "maker");
  return text_at(token, "maker_holds") == "false" ? fmt::format("{} (holds no more)", maker)
                                                  : maker;
}

std::string used_of(const json::value& token) {
  const std::string age = age_of(token, "used");
  return age.empty() ? "never" : fmt::format("{} ago, {}", age, text_at(token, "used_from"));
}

Table table_of_tokens(const json::value& answer) {
  Table table({{"NAME"}, {"STATUS"}, {"EXPIRES"}, {"USED"}, {"MADE BY"}, {"RIGHTS"}},
              Table::Long::wrapped);
  for (const json::value& token : items_at(answer, "tokens")) {
    const std::string expires = text_at(token, "expires");
    table.add({text_at(token, "name"), status_of(token), expires.empty() ? "never" : expires,
               used_of(token), maker_of(token), rights_text(token)});
  }
  return table;
}

Table table_of_audit(const std::vector<json::value>& entries) {
  Table table({{"AT"}, {"WHO"}, {"FROM"}, {"WHAT"}, {"ON"}, {"CHANGE"}}, Table::Long::wrapped);
  for (const json::value& entry : entries) {
    const std::string before = text_at(entry, "before");
    const std::string after = text_at(entry, "after");
    table.add({text_at(entry, "at"), text_at(entry, "who"), text_at(entry, "from"),
               text_at(entry, "what"), text_at(entry, "subject"),
               before.empty() ? after : fmt::format("{} -> {}", before, after)});
  }
  return table;
}

}  // namespace

Action declare_token_create(CLI::App& app, Context& context) {
  auto options = with_name(app);
  add_repeated(app, "--right", options->rights,
               "What it may: enqueue, work, read, manage, define or admin, for all queues; or for "
               "some: enqueue:mail, work:mail-*. Again for more")
      ->required()
      ->type_name("RIGHT");
  add_parsed(app, "--expires", options->length, parse_duration, "It ends after this time")
      ->type_name("TIME");
  return [&context, options]() -> Result<int> {
    json::object body{{"name", options->name}, {"rights", json::value_from(options->rights)}};
    if (options->length) body["expires_s"] = seconds_of(*options->length);
    RQ_TRY_ASSIGN(client, context.client());
    RQ_TRY_ASSIGN(token, client->send("POST", "/v1/tokens", {"token"}, body));
    print_secret(context, token,
                 "keep it in a file that only its user reads; it is not shown again");
    return 0;
  };
}

Action declare_token_list(CLI::App& /*app*/, Context& context) {
  return [&context]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    RQ_TRY_ASSIGN(answer, client->get("/v1/tokens", {"tokens"}));
    if (context.json) {
      for (const json::value& token : items_at(answer, "tokens")) Context::print_json(token);
    } else {
      context.print(table_of_tokens(answer), "no tokens; rq token create makes one");
    }
    return 0;
  };
}

Action declare_token_revoke(CLI::App& app, Context& context) {
  auto options = with_name(app);
  return [&context, options]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    auto token = client->remove(token_path(options->name), {"revoked"});
    if (!token) return with_nearest(*client, options->name, std::move(token).error());
    if (context.json) {
      Context::print_json(*token);
    } else {
      Context::print(fmt::format("revoked token {}\n", options->name));
    }
    return 0;
  };
}

Action declare_token_rotate(CLI::App& app, Context& context) {
  auto options = with_name(app);
  add_parsed(app, "--overlap", options->length, parse_duration,
             "The secret before holds for so long (1d); 0s: no longer")
      ->type_name("TIME");
  return [&context, options]() -> Result<int> {
    json::object body;
    if (options->length) body["overlap_s"] = seconds_of(*options->length);
    RQ_TRY_ASSIGN(client, context.client());
    auto token = client->send("POST", token_path(options->name, "/rotate"), {"token"}, body);
    if (!token) return with_nearest(*client, options->name, std::move(token).error());
    const std::string until = text_at(*token, "old_until");
    print_secret(context, *token,
                 until.empty() ? "the one before holds no more"
                               : fmt::format("the one before holds until {}", until));
    return 0;
  };
}

Action declare_audit(CLI::App& app, Context& context) {
  struct Wanted {
    std::string who;
    std::string subject;
    std::int64_t limit = kAuditShown;
  };
  auto wanted = std::make_shared<Wanted>();
  app.add_option("--who", wanted->who, "Only by this caller: user:joe, token:deploy, anonymous")
      ->type_name("WHO");
  app.add_option("--subject", wanted->subject, "Only about this queue, token or message")
      ->type_name("NAME");
  app.add_option("--limit", wanted->limit, fmt::format("At most so many ({})", kAuditShown))
      ->check(CLI::Range(std::int64_t{1}, kAuditMost))
      ->type_name("N");
  return [&context, wanted]() -> Result<int> {
    RQ_TRY_ASSIGN(client, context.client());
    const std::string target = client::Query()
                                   .add_if("who", wanted->who)
                                   .add_if("subject", wanted->subject)
                                   .add("limit", std::to_string(wanted->limit))
                                   .on("/v1/audit");
    RQ_TRY_ASSIGN(answer, client->get(target, {"entries"}));
    const json::array& newest_first = items_at(answer, "entries");
    const std::vector<json::value> entries(newest_first.rbegin(), newest_first.rend());
    if (context.json) {
      for (const json::value& entry : entries) Context::print_json(entry);
    } else {
      context.print(table_of_audit(entries), "nobody has changed anything");
    }
    return 0;
  };
}

}  // namespace rq::cli
