// Bulk actions: what they are about, and how far they are. bulk_jobs.cpp does them.
#include <fmt/format.h>

#include <charconv>

#include "base/limits.h"
#include "core/json_fields.h"
#include "core/name.h"
#include "doors/api/api_door.h"
#include "doors/api/bulk_jobs.h"
#include "doors/api/filter.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/query.h"
#include "doors/api/target.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Millis;
using base::Result;
using core::Action;
using core::Fields;
using core::StateSet;

void append_job(std::string& out, const BulkJob& job) {
  JsonObject object(out);
  object.number("job", static_cast<std::int64_t>(job.number));
  object.text("action", name_of(job.order.act.action));
  object.text("phase", name_of(job.phase));
  object.number("matched", job.matched);
  object.number("changed", job.changed);
  object.number("refused", job.refused);
  object.number("told_to_stop", job.told_to_stop);
  object.number("retention_removes", job.retention_removes);
  std::string& sample = object.key("sample");
  sample += '[';
  for (const std::string& id : job.sample) {
    if (sample.back() != '[') sample += ',';
    append_json_string(sample, id);
  }
  sample += ']';
  std::string& errors = object.key("errors");
  errors += '[';
  for (const auto& [id, error] : job.errors) {
    if (errors.back() != '[') errors += ',';
    JsonObject entry(errors);
    entry.text("id", id);
    append_error_object(entry.key("error"), error);
    entry.close();
  }
  errors += ']';
  object.boolean("dry_run", job.order.dry_run);
  object.instant("started", job.started);
  if (job.over()) {
    object.instant("ended", job.ended);
  } else {
    object.null("ended");
  }
  if (job.error) {
    append_error_object(object.key("error"), *job.error);
  } else {
    object.null("error");
  }
  object.close();
}

// Who asks for a job: the one who began it is told of a failure that changed nothing as of a
// request that failed.
enum class Asker : std::uint8_t { beginner, other };

// Replies now, or when the job is over, at the latest after `longest`.
void reply_job(Exchange& x, const BulkJob& job, std::optional<Millis> longest, Asker asker) {
  const auto reply = [&door = x.door(), who = x.id(), asker](const BulkJob& then) {
    // Rendered now: it may be forgotten before the reply is written.
    std::string body;
    append_job(body, then);
    const int status = then.over() ? 200 : 202;
    const bool failed = asker == Asker::beginner && then.changed == 0 && then.refused == 0;
    door.post(who, [body, status, error = failed ? then.error : std::nullopt](Exchange& later) {
      if (error) return later.refuse(*error);
      later.reply_json(status, body);
    });
  };
  if (job.over() || longest == Millis{0}) return reply(job);
  x.door().bulk_jobs().wait(job.number, longest, reply);
}

void read_action(Fields& fields, core::Act& act) {
  std::string name;
  const bool given = fields.text("action", name, base::kNameBytesMax);
  const auto action = core::action_of(name);
  if (given && action) {
    act.action = *action;
  } else {
    fields.refuse(fail(Code::bad_value, fmt::format("action: '{}' is not allowed", name),
                       "give commit, retry, requeue, run_now, cancel, kill, clone, move, remove "
                       "or priority"));
  }
  fields.text("reason", act.reason, base::kTextBytesMax);
  if (fields.text("queue", act.queue, base::kTextBytesMax)) {
    if (auto good = core::check_queue_name(act.queue); !good) {
      fields.refuse(std::move(good).error());
    }
  } else if (action == Action::move) {
    fields.refuse(fail(Code::bad_value, "there is no queue to move to", "give \"queue\":\"name\""));
  }
  if (!fields.integer("priority", act.priority, base::kPriorityMin, base::kPriorityMax) &&
      action == Action::priority) {
    fields.refuse(fail(Code::bad_value, "there is no priority", "give \"priority\":5"));
  }
}

// What is meant when no state is named, and only what the action can be done to.
Result<void> narrow(Action action, core::Filter& filter) {
  const StateSet possible = core::states_of(action);
  if (!filter.states.empty()) {
    const StateSet common = filter.states.common(possible);
    if (common.empty()) {
      return fail(Code::bad_value,
                  fmt::format("state: {} cannot be done to messages in {}", name_of(action),
                              to_string(filter.states)),
                  fmt::format("give one or more of {}", to_string(possible)));
    }
    filter.states = common;
    return {};
  }
  // A mark or a key says which are meant.
  filter.states = filter.mark || !filter.key.empty() ? possible : core::usual_states_of(action);
  if (!filter.states.empty()) return {};
  return fail(
      Code::bad_value, fmt::format("the filter of {} names no state", name_of(action)),
      "say by their state which messages shall go: --state done, or several with commas between");
}

Result<BulkOrder> order_from(const boost::json::object& body, std::optional<Millis>& wait) {
  BulkOrder order;
  Fields fields(body, "the bulk action");
  read_action(fields, order.act);
  bool all = false;
  fields.boolean("all", all);
  const auto* object = fields.object("filter");
  if (object != nullptr) {
    auto filter = filter_from_json(*object);
    if (!filter) return filter.error();
    order.filter = *std::move(filter);
  }
  fields.boolean("dry_run", order.dry_run);
  fields.integer("limit", order.limit, 1, INT64_MAX);
  fields.seconds("wait_s", wait, Millis{0}, base::kReserveWaitMax);
  RQ_TRY(fields.finish());
  const bool empty = order.filter == core::Filter{};
  if (empty && !all) {
    return fail(Code::bad_value, "the filter is empty: that would be every message of every queue",
                "name a queue, a state, a tag ... in \"filter\":{…}, or say \"all\":true");
  }
  if (!empty && all) {
    return fail(Code::bad_value, "there are both a filter and \"all\":true", "give one of them");
  }
  if (order.act.action == Action::move && order.filter.queue == order.act.queue) {
    return fail(Code::bad_value,
                fmt::format("they are to be moved to queue '{}', where they are", order.act.queue),
                "name another queue");
  }
  RQ_TRY(narrow(order.act.action, order.filter));
  return order;
}

// The job that the address names; null: refused.
const BulkJob* job_of(Exchange& x, const Request& request) {
  const std::string& text = request.parameters[0];
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  const BulkJob* job =
      error == std::errc{} && stop == end ? x.door().bulk_jobs().find(number) : nullptr;
  if (job == nullptr) {
    x.refuse(fail(Code::not_found, fmt::format("there is no bulk action '{}'", text),
                  "GET /v1/bulk lists those that are known; the server forgets them when it "
                  "restarts, and old ones when many have come after them"));
  }
  return job;
}

}  // namespace

void bulk_action(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  std::optional<Millis> wait;
  auto order = order_from(**body, wait);
  if (!order) return x.refuse(order.error());
  if (x.caller().uid) order->caller_uid = *x.caller().uid;
  const auto job = x.door().bulk_jobs().begin(*std::move(order));
  if (!job) return x.refuse(job.error());
  reply_job(x, **job, wait, Asker::beginner);
}

void list_bulk(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  std::string body = R"({"jobs":[)";
  for (const BulkJob* job : x.door().bulk_jobs().all()) {
    if (body.back() != '[') body += ',';
    append_job(body, *job);
  }
  body += "]}";
  x.reply_json(200, body);
}

void show_bulk(Exchange& x, const Request& request) {
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  std::int64_t wait_s = 0;
  query->integer("wait_s", wait_s, 0, std::chrono::seconds{base::kReserveWaitMax}.count());
  if (auto good = query->finish(); !good) return x.refuse(good.error());
  if (const BulkJob* job = job_of(x, request)) {
    reply_job(x, *job, std::chrono::seconds{wait_s}, Asker::other);
  }
}

void cancel_bulk(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  const BulkJob* job = job_of(x, request);
  if (job == nullptr) return;
  x.door().bulk_jobs().cancel(job->number);
  reply_job(x, *job, std::nullopt, Asker::other);
}

}  // namespace rq::doors::api
