// Messages: list, show, and why one is not running.
#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <utility>

#include "base/limits.h"
#include "core/json_fields.h"
#include "core/name.h"
#include "doors/api/api_door.h"
#include "doors/api/filter.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/limits.h"
#include "doors/api/query.h"
#include "doors/api/reasons.h"
#include "doors/api/target.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Result;
using core::State;

// Rendered where they are looked up: the loop, which all connections share, only sends them.
using Rendered = Result<std::string>;

// Calls `reply(exchange)`, for a reply of so many bytes, when it is its turn.
template <typename Reply>
void reply_in_turn(Exchange& x, std::size_t bytes, Reply reply) {
  if (bytes <= kLargeReplyBytes) return reply(x);
  x.server().take_turns([&door = x.door(), id = x.id(), reply] { door.with(id, reply); });
}

void reply_rendered(Exchange& x, Rendered body) {
  if (!body) return x.refuse(body.error());
  const std::size_t bytes = body->size();
  reply_in_turn(x, bytes,
                [text = std::make_shared<const std::string>(*std::move(body))](Exchange& later) {
                  later.reply_json(200, *text);
                });
}

Rendered render_message(core::Reader& reader, const Target& target) {
  RQ_TRY_ASSIGN(row, find_message(reader, target));
  std::string body;
  append_message(body, row.message, row.queue, Nulls::shown);
  return body;
}

Rendered render_attempts(core::Reader& reader, const Target& target) {
  RQ_TRY_ASSIGN(row, find_message(reader, target));
  RQ_TRY_ASSIGN(attempts, reader.attempts(row.message.seq));
  std::string body = R"({"attempts":[)";
  for (const core::Attempt& attempt : attempts) {
    if (body.back() != '[') body += ',';
    append_attempt(body, attempt);
  }
  body += "]}";
  return body;
}

Rendered render_list(core::Reader& reader, const core::Page& page) {
  RQ_TRY_ASSIGN(listed, reader.list(page));
  std::string body = R"({"messages":[)";
  for (const core::MessageRow& row : listed.rows) {
    if (body.back() != '[') body += ',';
    append_listed(body, row, page.payloads);
  }
  body += R"(],"cursor":)";
  if (listed.cursor) {
    append_json_string(body, fmt::to_string(*listed.cursor));
  } else {
    body += "null";
  }
  body += listed.cut ? R"(,"cut":true})" : R"(,"cut":false})";
  return body;
}

void reply_payload(Exchange& x, const core::Message& message) {
  const std::string& type = message.detail_or_default().content_type;
  // What a sender put must not run as a page of this server.
  x.reply(200, type.empty() ? std::string_view{"application/octet-stream"} : type, message.payload,
          "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox\r\n");
}

// Replies with what `render(reader, target)` makes of the message of the address.
void look_up_rendered(Exchange& x, const Request& request,
                      Rendered (*render)(core::Reader&, const Target&)) {
  if (!no_query(x, request)) return;
  auto target = parse_target(request.parameters[0]);
  if (!target) return x.refuse(target.error());
  x.look_up([target = *target, render](core::Reader& reader) { return render(reader, target); },
            reply_rendered);
}

// --- Why it is not running ---

struct Why : Extra {
  core::MessageRow row;
  std::int64_t ahead = 0;
};

void render_why(Exchange& x, core::Reply& reply) {
  const auto& why = static_cast<const Why&>(*x.extra());
  const auto& shown = std::get<core::QueueShown>(reply);
  Surroundings around = x.door().surroundings();
  around.hold = x.door().workers().hold_of(why.row.queue, x.door().clock().now());
  const Reason reason = why_not(why.row.message, shown, why.ahead, around);
  std::string body;
  JsonObject object(body);
  object.text("id", format_id(why.row.message));
  object.number("seq", why.row.message.seq);
  object.text("queue", why.row.queue);
  object.text("state", name_of(why.row.message.state));
  object.text("reason", reason.reason);
  object.text("text", reason.text);
  object.text("remedy", reason.remedy);
  object.number("ahead", why.ahead);
  object.close();
  x.reply_json(200, body);
}

}  // namespace

void list_messages(Exchange& x, const Request& request) {
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  core::Page page;
  read_filter(*query, page.filter);
  std::int64_t cursor = 0;
  query->integer("cursor", cursor, 1, INT64_MAX);
  page.cursor = cursor;
  query->integer("limit", page.limit, 1, static_cast<std::int64_t>(base::kListPageMax));
  if (std::string order; query->text("order", order, base::kNameBytesMax)) {
    if (order == "oldest") {
      page.newest_first = false;
    } else if (order != "newest") {
      query->refuse(fail(Code::bad_value, fmt::format("order: '{}' is not allowed", order),
                         "give newest or oldest"));
    }
  }
  query->flag("payloads", page.payloads);
  if (auto good = query->finish(); !good) return x.refuse(good.error());
  const auto list = [page](core::Reader& reader) { return render_list(reader, page); };
  const bool by_text = !page.filter.text.empty() || !page.filter.fingerprint.empty();
  by_text ? x.search(list, reply_rendered) : x.look_up_many(list, reply_rendered);
}

void show_message(Exchange& x, const Request& request) {
  look_up_rendered(x, request, render_message);
}

void show_attempts(Exchange& x, const Request& request) {
  look_up_rendered(x, request, render_attempts);
}

void show_payload(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  auto target = parse_target(request.parameters[0]);
  if (!target) return x.refuse(target.error());
  x.look_up([target = *target](core::Reader& reader) { return find_message(reader, target); },
            [](Exchange& later, Result<core::MessageRow> row) {
              if (!row) return later.refuse(row.error());
              auto message = std::make_shared<const core::Message>(std::move(row->message));
              reply_in_turn(later, message->payload.size(),
                            [message](Exchange& in_turn) { reply_payload(in_turn, *message); });
            });
}

void show_why(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  auto target = parse_target(request.parameters[0]);
  if (!target) return x.refuse(target.error());
  using Found = std::pair<core::MessageRow, std::int64_t>;
  x.look_up(
      [target = *target](core::Reader& reader) -> Result<Found> {
        RQ_TRY_ASSIGN(row, find_message(reader, target));
        std::int64_t ahead = 0;
        if (row.message.state == State::que) {
          RQ_TRY_ASSIGN(counted, reader.ahead_of(row, kAheadMax));
          ahead = counted;
        }
        return Found{std::move(row), ahead};
      },
      [](Exchange& later, Result<Found> found) {
        if (!found) return later.refuse(found.error());
        auto why = std::make_unique<Why>();
        why->row = std::move(found->first);
        why->ahead = found->second;
        core::ShowQueue show{.queue = why->row.queue};
        later.keep(std::move(why));
        later.ask(std::move(show), render_why);
      });
}

}  // namespace rq::doors::api
