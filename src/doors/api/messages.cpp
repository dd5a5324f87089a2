// Messages: list, show, and why one is not running.
#include <fmt/format.h>

#include <charconv>

#include "base/limits.h"
#include "core/json_fields.h"
#include "core/name.h"
#include "doors/api/api_door.h"
#include "doors/api/filter.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/query.h"
#include "doors/api/reasons.h"
#include "doors/api/target.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Result;
using core::State;

// Looks the message of the address up and gives it to `then(exchange, row)`.
template <typename Then>
void with_message(Exchange& x, const Request& request, Then then) {
  auto target = parse_target(request.parameters[0]);
  if (!target) return x.refuse(target.error());
  x.look_up([target = *target](core::Reader& reader) { return find_message(reader, target); },
            [then](Exchange& later, Result<core::MessageRow> row) {
              if (!row) return later.refuse(row.error());
              then(later, *row);
            });
}

void reply_list(Exchange& x, const Result<core::Listed>& listed, bool payloads) {
  if (!listed) return x.refuse(listed.error());
  std::string body = R"({"messages":[)";
  for (const core::MessageRow& row : listed->rows) {
    if (body.back() != '[') body += ',';
    append_listed(body, row, payloads);
  }
  body += R"(],"cursor":)";
  if (listed->cursor) {
    append_json_string(body, fmt::to_string(*listed->cursor));
  } else {
    body += "null";
  }
  body += listed->cut ? R"(,"cut":true})" : R"(,"cut":false})";
  x.reply_json(200, body);
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
  const auto list = [page](core::Reader& reader) { return reader.list(page); };
  const auto reply = [payloads = page.payloads](Exchange& later, Result<core::Listed> listed) {
    reply_list(later, listed, payloads);
  };
  const bool quick = page.filter.text.empty() && page.filter.fingerprint.empty();
  quick ? x.look_up(list, reply) : x.search(list, reply);
}

void show_message(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  with_message(x, request, [](Exchange& later, const core::MessageRow& row) {
    std::string body;
    append_message(body, row.message, row.queue, Nulls::shown);
    later.reply_json(200, body);
  });
}

void show_payload(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  with_message(x, request, [](Exchange& later, const core::MessageRow& row) {
    const std::string& type = row.message.detail_or_default().content_type;
    // What a sender put must not run as a page of this server.
    later.reply(200, type.empty() ? std::string_view{"application/octet-stream"} : type,
                row.message.payload,
                "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox\r\n");
  });
}

void show_attempts(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  auto target = parse_target(request.parameters[0]);
  if (!target) return x.refuse(target.error());
  x.look_up(
      [target = *target](core::Reader& reader) -> Result<std::vector<core::Attempt>> {
        RQ_TRY_ASSIGN(row, find_message(reader, target));
        return reader.attempts(row.message.seq);
      },
      [](Exchange& later, Result<std::vector<core::Attempt>> attempts) {
        if (!attempts) return later.refuse(attempts.error());
        std::string body = R"({"attempts":[)";
        for (const core::Attempt& attempt : *attempts) {
          if (body.back() != '[') body += ',';
          append_attempt(body, attempt);
        }
        body += "]}";
        later.reply_json(200, body);
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
