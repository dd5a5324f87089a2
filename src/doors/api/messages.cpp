// Messages: list, show, and why one is not running.
#include <fmt/format.h>

#include <charconv>

#include "base/iso8601.h"
#include "base/limits.h"
#include "core/json_fields.h"
#include "core/name.h"
#include "doors/api/api_door.h"
#include "doors/api/filter.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/query.h"
#include "doors/api/target.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Result;
using core::State;
constexpr std::int64_t kAheadMax = 10'000;  // counted for `why`; more is "more than"

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

struct Reason {
  std::string_view reason;
  std::string text;
};

std::string count_text(std::int64_t count) {
  return count >= kAheadMax ? fmt::format("more than {}", kAheadMax) : fmt::to_string(count);
}

Reason why_closed(const core::Queue& queue, core::ClosedBy by) {
  switch (by) {
    case core::ClosedBy::deletion:
      return {"deleted", fmt::format("queue '{}' is being deleted, and it with it", queue.name)};
    case core::ClosedBy::pause:
      return {"paused",
              fmt::format("queue '{}' is paused{}; resume it: rq queue resume {}", queue.name,
                          queue.paused_until == base::Instant{}
                              ? std::string{}
                              : " until " + base::to_iso8601(queue.paused_until),
                          queue.name)};
    case core::ClosedBy::down:
      return {"down", fmt::format("queue '{}' is down; bring it up: rq queue resume {}", queue.name,
                                  queue.name)};
    case core::ClosedBy::script_error:
      return {"script_error", fmt::format("the script of queue '{}' cannot run: {}", queue.name,
                                          queue.script_error)};
  }
  return {};
}

std::string with_text(std::string_view what, std::string_view text) {
  return text.empty() ? std::string(what) : fmt::format("{}: {}", what, text);
}

// What workers have said.
struct Workers {
  std::optional<WorkerNotes::Hold> hold;  // of its queue
  const std::string* draining = nullptr;  // see WorkerNotes::last_is_draining()
};

// Nothing of the queue moves, wherever in its line the message stands.
std::optional<Reason> why_nobody(const core::QueueShown& shown, std::int64_t ahead) {
  const core::Queue& queue = *shown.queue;
  if (!queue.settings.script.empty()) {
    if (queue.settings.num_workers > 0) return std::nullopt;
    return Reason{"no_workers",
                  fmt::format("queue '{0}' has num_workers 0: rq queue set {0} -j 1 sets another",
                              queue.name)};
  }
  const bool is_worked = queue.counters.in(State::run) > 0 || shown.waiting_reserves > 0;
  if (ahead > 0 && is_worked) return std::nullopt;
  return Reason{"no_worker", fmt::format("{}queue '{}' has no script, so a worker must reserve it, "
                                         "and none waits now",
                                         ahead > 0 ? "" : "it is next; ", queue.name)};
}

// Of a message that is ready: what keeps it from being leased now.
Reason why_ready(const Why& why, const core::QueueShown& shown, const Workers& workers) {
  const core::Queue& queue = *shown.queue;
  if (const auto closed = core::why_closed(queue)) return why_closed(queue, *closed);
  if (!queue.settings.script.empty() && workers.draining != nullptr) {
    return {"worker_draining",
            fmt::format("worker '{}' was told to end: it takes nothing more, and goes when its "
                        "scripts have ended; the next worker takes this message",
                        *workers.draining)};
  }
  if (workers.hold) {
    return {"held_back", fmt::format("{}; the next start is at {}", workers.hold->text,
                                     base::to_iso8601(workers.hold->until))};
  }
  const std::int64_t running = queue.counters.in(State::run);
  if (const auto nobody = why_nobody(shown, why.ahead)) return *nobody;
  if (why.ahead > 0) {
    return {"behind", fmt::format("{} message{} of queue '{}' go{} first, {} are running",
                                  count_text(why.ahead), why.ahead == 1 ? "" : "s", queue.name,
                                  why.ahead == 1 ? "es" : "", running)};
  }
  if (!queue.settings.script.empty() && running >= queue.settings.num_workers) {
    return {"workers_busy", fmt::format("it is next; all {} workers of queue '{}' are busy",
                                        queue.settings.num_workers, queue.name)};
  }
  return {"next", "it is next; no worker has asked for it yet"};
}

Reason why_running(const core::Message& m) {
  if (!m.lease) return {"running", "it is running"};
  std::string text =
      fmt::format("it is running, attempt {} at worker '{}' since {}", m.lease->attempt,
                  m.lease->worker, base::to_iso8601(m.lease->since));
  if (m.lease->stop != core::StopRequest::none) {
    text += with_text(fmt::format("; it was told to stop ({}), and ends when its script has",
                                  name_of(m.lease->stop)),
                      m.lease->progress);
  }
  return {"running", std::move(text)};
}

Reason why_scheduled(const core::Message& m) {
  std::string text = fmt::format("it waits for {}", base::to_iso8601(m.due));
  if (m.attempts > 0) {
    text += with_text(fmt::format("; attempt {} has ended", m.attempts),
                      m.detail_or_default().progress);
  }
  return {"scheduled", std::move(text)};
}

Reason why_not(const Why& why, const core::QueueShown& shown, const Workers& workers) {
  const core::Message& m = why.row.message;
  switch (m.state) {
    case State::prep:
      return {"prep",
              fmt::format("it is being put together; commit it: rq commit {}", core::format_id(m))};
    case State::scheduled:
      return why_scheduled(m);
    case State::throttled:
      return {"throttled", "it waits for a slot of a throttle"};
    case State::depends:
      return {"depends", "it waits for other messages"};
    case State::que:
      return why_ready(why, shown, workers);
    case State::run:
      return why_running(m);
    case State::done:
      return {"done", "it is done"};
    case State::relayed:
      return {"relayed", "it was handed to another machine"};
    case State::err:
      return {"err", fmt::format("it ended in err ({}): {}", name_of(m.mark),
                                 m.detail_or_default().progress)};
    case State::cancelled:
      return {"cancelled", with_text("it was cancelled", m.detail_or_default().progress)};
  }
  return {"unknown", ""};
}

void render_why(Exchange& x, core::Reply& reply) {
  const auto& why = static_cast<const Why&>(*x.extra());
  const base::Instant now = x.door().clock().now();
  WorkerNotes& notes = x.door().workers();
  const Reason reason =
      why_not(why, std::get<core::QueueShown>(reply),
              {.hold = notes.hold_of(why.row.queue, now), .draining = notes.last_is_draining(now)});
  std::string body;
  JsonObject object(body);
  object.text("id", format_id(why.row.message));
  object.number("seq", why.row.message.seq);
  object.text("queue", why.row.queue);
  object.text("state", name_of(why.row.message.state));
  object.text("reason", reason.reason);
  object.text("text", reason.text);
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
