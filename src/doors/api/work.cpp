// Working: reserve, keep alive, end.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <type_traits>
#include <utility>

#include <boost/json/array.hpp>

#include "base/limits.h"
#include "core/json_fields.h"
#include "doors/api/api_door.h"
#include "doors/api/handlers.h"
#include "doors/api/items_reply.h"
#include "doors/api/json_in.h"
#include "doors/api/json_out.h"
#include "doors/api/raw_json.h"
#include "doors/api/target.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Result;
namespace json = boost::json;
using core::Fields;

void render_reserved(Exchange& x, core::Reply& reply) {
  const auto& reserved = std::get<core::Reserved>(reply);
  std::string& body = x.door().scratch();
  body = R"({"messages":[)";
  for (std::size_t i = 0; i < reserved.messages.size(); ++i) {
    if (i > 0) body += ',';
    append_message(body, reserved.messages[i], *reserved.queues.at(i), Nulls::left_out);
  }
  body += "]}";
  x.reply_json(200, body);
}

// JSON that an item carries is taken from the text of the item as it stands there.
template <typename Item>
Result<Item> carried(Result<Item> item, std::string_view text) {
  if constexpr (std::is_same_v<Item, core::Finish::Item>) {
    if (item) RQ_TRY(carry_result(*item, text));
  }
  return item;
}

// Reads {"items":[…]} or one item, and gives how many there are; 0 when it has been refused.
template <typename Item>
bool read_items(Exchange& x, const Request& request, std::vector<Item>& items,
                Result<Item> (*read)(const json::object&)) {
  auto body = x.json(request);
  if (!body) {
    x.refuse(body.error());
    return false;
  }
  const json::object& object = **body;
  auto gathered = std::make_unique<Gathered>();
  const json::value* list = object.if_contains("items");
  if (list == nullptr) {
    auto item = carried(read(object), Exchange::json_text(request));
    if (!item) {
      x.refuse(item.error());
      return false;
    }
    items.push_back(*std::move(item));
    gathered->refusals.emplace_back();
    x.keep(std::move(gathered));
    return true;
  }
  gathered->many = true;
  std::optional<base::Error> error;
  if (!list->is_array()) {
    error = core::wrong_kind("items", *list, "a list");
  } else if (object.size() != 1) {
    error =
        fail(Code::unknown_field, "there is something beside items", "send {\"items\":[…]} alone");
  } else if (list->get_array().size() > base::kLeasesPerCallMax) {
    error = fail(Code::too_many, fmt::format("items has {} entries", list->get_array().size()),
                 fmt::format("at most {} are allowed", base::kLeasesPerCallMax));
  }
  if (error) {
    x.refuse(*error);
    return false;
  }
  const auto texts = raw_elements(raw_member(Exchange::json_text(request), "items").value_or("[]"));
  for (std::size_t i = 0; i < list->get_array().size(); ++i) {
    const json::value& value = list->get_array()[i];
    Result<Item> item = value.is_object()
                            ? carried(read(value.get_object()), texts.at(i))
                            : Result<Item>{core::wrong_kind("items", value, "a list of objects")};
    if (item) {
      items.push_back(*std::move(item));
      gathered->refusals.emplace_back();
    } else {
      gathered->refusals.emplace_back(std::move(item).error());
    }
  }
  x.keep(std::move(gathered));
  return true;
}

void render_heartbeat(Exchange& x, core::Reply& reply) {
  const auto append = [](std::string& body, const core::HeartbeatDone::Item& item) {
    JsonObject object(body);
    object.instant("until", item.until);
    object.text("stop", name_of(item.stop));
    object.close();
  };
  reply_items(x, std::get<core::HeartbeatDone>(reply).items, append);
}

void render_finish(Exchange& x, core::Reply& reply) {
  const auto append = [](std::string& body, core::State state) {
    JsonObject object(body);
    object.text("state", name_of(state));
    object.close();
  };
  reply_items(x, std::get<core::FinishDone>(reply).items, append);
}

void ask_heartbeat(Exchange& x, const Request& request,
                   Result<core::Heartbeat::Item> (*read)(const json::object&)) {
  core::Heartbeat command;
  if (read_items(x, request, command.items, read)) x.ask(std::move(command), render_heartbeat);
}

void ask_finish(Exchange& x, const Request& request,
                Result<core::Finish::Item> (*read)(const json::object&)) {
  core::Finish command;
  if (read_items(x, request, command.items, read)) x.ask(std::move(command), render_finish);
}

// Each duplicate is a command of its own; the answers come one by one, in their order.
struct Duplicating : Gathered {
  std::size_t asked = 0;
  std::vector<Result<core::PutDone>> answers;
};

void render_duplicate(Exchange& x, core::Reply& reply) {
  auto& duplicating = static_cast<Duplicating&>(*x.extra());
  if (auto* error = std::get_if<base::Error>(&reply)) {
    duplicating.answers.emplace_back(std::move(*error));
  } else {
    duplicating.answers.emplace_back(std::get<core::PutDone>(reply));
  }
  if (duplicating.answers.size() < duplicating.asked) return;
  reply_items(x, duplicating.answers, [](std::string& body, const core::PutDone& put) {
    append_moved(body, put.seq, put.created, put.state);
  });
}

// --- What a worker has ---

// Leases that one request gives back, at most; the worker repeats it when there were more.
constexpr std::int64_t kReturnedMax = 1000;

struct Held {
  std::string worker;
  std::string version;
  bool started = false;   // just now: its leases are those of a process before it
  bool draining = false;  // it takes no more messages
  bool gone = false;      // it ends now
  bool tells_tokens = false;
  std::vector<core::Token> tokens;  // sorted
};

bool before(const core::Token& a, const core::Token& b) {
  return std::tie(a.seq, a.attempt, a.boot) < std::tie(b.seq, b.attempt, b.boot);
}

Result<Held> held_from_json(const json::object& object) {
  Held held;
  Fields fields(object, "the body");
  if (!fields.text("worker", held.worker, base::kNameBytesMax) || held.worker.empty()) {
    fields.refuse(fail(Code::bad_value, "there is no worker", "give \"worker\":\"name\""));
  }
  fields.text("version", held.version, base::kNameBytesMax);
  fields.boolean("started", held.started);
  fields.boolean("draining", held.draining);
  fields.boolean("gone", held.gone);
  std::vector<std::string> tokens;
  held.tells_tokens = fields.texts("tokens", tokens, base::kLeasesPerCallMax, base::kNameBytesMax);
  RQ_TRY(fields.finish());
  for (const std::string& text : tokens) {
    RQ_TRY_ASSIGN(token, core::parse_token(text));
    held.tokens.push_back(token);
  }
  std::sort(held.tokens.begin(), held.tokens.end(), before);
  return held;
}

// The leases of that worker that it does not have.
Result<std::vector<core::Token>> not_held(core::Reader& reader, const Held& held) {
  std::vector<core::Token> out;
  core::Page page;
  page.filter.states.add(core::State::run);
  page.limit = static_cast<std::int64_t>(base::kListPageMax);
  page.payloads = false;
  while (true) {
    RQ_TRY_ASSIGN(listed, reader.list(page));
    for (const core::MessageRow& row : listed.rows) {
      const auto& lease = row.message.lease;
      if (!lease || lease->worker != held.worker) continue;
      const core::Token token{
          .seq = row.message.seq, .attempt = lease->attempt, .boot = lease->boot};
      if (std::binary_search(held.tokens.begin(), held.tokens.end(), token, before)) continue;
      out.push_back(token);
      if (std::ssize(out) == kReturnedMax) return out;
    }
    if (!listed.cursor) return out;
    page.cursor = *listed.cursor;
  }
}

void render_returned(Exchange& x, core::Reply& reply) {
  const auto& items = std::get<core::FinishDone>(reply).items;
  const auto returned =
      std::count_if(items.begin(), items.end(), [](const auto& item) { return item.has_value(); });
  x.reply_json(200, fmt::format(R"({{"returned":{},"more":{}}})", returned,
                                std::ssize(items) == kReturnedMax));
}

}  // namespace

void reserve(Exchange& x, const Request& request) {
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  auto command = reserve_from_json(**body, x.door().clock().ahead());
  if (!command) return x.refuse(command.error());
  command->names = true;
  const bool waits = command->wait_until.has_value();
  if (waits) {
    x.ask_waiting(*std::move(command), render_reserved);
  } else {
    x.ask(*std::move(command), render_reserved);
  }
}

void heartbeat(Exchange& x, const Request& r) { ask_heartbeat(x, r, heartbeat_from_json); }
// A worker says which leases it has. What was on its way to it when a connection or a server ended
// never came to it, and goes back at once. What a process before it had may have run: how that
// ended, nobody knows.
void keep_leases(Exchange& x, const Request& request) {
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  auto held = held_from_json(**body);
  if (!held) return x.refuse(held.error());
  WorkerNotes& notes = x.door().workers();
  if (held->gone) {
    notes.gone(held->worker);
  } else {
    notes.seen(
        held->worker,
        {.version = held->version, .seen = x.door().clock().now(), .draining = held->draining});
  }
  if (!held->tells_tokens) return x.reply_json(200, R"({"returned":0,"more":false})");
  const bool started = held->started;
  x.look_up([held = *std::move(held)](core::Reader& reader) { return not_held(reader, held); },
            [started](Exchange& later, Result<std::vector<core::Token>> tokens) {
              if (!tokens) return later.refuse(tokens.error());
              core::Finish finish;
              for (const core::Token& token : *tokens) {
                core::Finish::Item item;
                item.token = token;
                item.outcome = started ? core::Outcome::lost : core::Outcome::release;
                item.reason = started ? "its worker is gone, and nobody knows how it ended"
                                      : "its worker does not have it";
                finish.items.push_back(std::move(item));
              }
              later.ask(std::move(finish), render_returned);
            });
}

void list_workers(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  const base::Instant now = x.door().clock().now();
  std::string body = R"({"workers":[)";
  for (const auto& [name, worker] : x.door().workers().workers(now)) {
    if (body.back() != '[') body += ',';
    JsonObject object(body);
    object.text("name", name);
    object.text("version", worker.version);
    object.instant("seen", worker.seen);
    object.boolean("silent", now - worker.seen > kSilentAfter);
    object.boolean("draining", worker.draining);
    object.close();
  }
  body += "]}";
  x.reply_json(200, body);
}

void progress(Exchange& x, const Request& r) { ask_heartbeat(x, r, progress_from_json); }
void done(Exchange& x, const Request& r) { ask_finish(x, r, done_from_json); }
void relayed(Exchange& x, const Request& r) { ask_finish(x, r, relayed_from_json); }
void err(Exchange& x, const Request& r) { ask_finish(x, r, err_from_json); }
void resend(Exchange& x, const Request& r) { ask_finish(x, r, resend_from_json); }
void release(Exchange& x, const Request& r) { ask_finish(x, r, release_from_json); }
void finish(Exchange& x, const Request& r) { ask_finish(x, r, finish_from_json); }

void duplicate(Exchange& x, const Request& request) {
  std::vector<core::Duplicate> commands;
  if (!read_items(x, request, commands, duplicate_from_json)) return;
  auto duplicating = std::make_unique<Duplicating>();
  auto& gathered = static_cast<Gathered&>(*x.extra());
  duplicating->many = gathered.many;
  duplicating->refusals = std::move(gathered.refusals);
  duplicating->asked = commands.size();
  x.keep(std::move(duplicating));
  if (commands.empty()) {
    return reply_items(x, static_cast<Duplicating&>(*x.extra()).answers,
                       [](std::string&, const core::PutDone&) {});
  }
  for (core::Duplicate& command : commands) {
    command.host = x.door().base_url();
    x.ask_raw(std::move(command), render_duplicate);
  }
}

}  // namespace rq::doors::api
