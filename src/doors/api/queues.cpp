// Queues: list, make, change, pause, delete.
#include <fmt/format.h>

#include "base/limits.h"
#include "core/json_fields.h"
#include "core/name.h"
#include "core/settings_json.h"
#include "doors/api/api_door.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/query.h"
#include "doors/api/target.h"

namespace rq::doors::api {
namespace {

using base::Code;
using core::Fields;
namespace json = boost::json;

// The settings of a PUT or PATCH, until the queue as it is has been looked at.
struct Defining : Extra {
  std::string queue;
  json::object changes;
  bool create = false;
  bool patch = false;
};

bool good_name(Exchange& x, const std::string& name) {
  auto good = core::check_queue_name(name);
  if (!good) x.refuse(good.error());
  return good.has_value();
}

void append_shown(Exchange& x, std::string& body, const core::QueueShown& shown,
                  Surroundings& around) {
  around.hold = x.door().workers().hold_of(shown.queue->name, x.door().clock().now());
  append_queue(body, shown, around);
}

void reply_queue(Exchange& x, const core::Reply& reply, int status) {
  std::string body;
  Surroundings around = x.door().surroundings();
  append_shown(x, body, std::get<core::QueueShown>(reply), around);
  x.reply_json(status, body);
}

void render_queue(Exchange& x, core::Reply& reply) { reply_queue(x, reply, 200); }
void render_new_queue(Exchange& x, core::Reply& reply) { reply_queue(x, reply, 201); }

void render_list(Exchange& x, core::Reply& reply) {
  Surroundings around = x.door().surroundings();
  std::string body = R"({"queues":[)";
  for (const core::QueueShown& shown : std::get<core::QueuesListed>(reply).queues) {
    if (body.back() != '[') body += ',';
    append_shown(x, body, shown, around);
  }
  body += "]}";
  x.reply_json(200, body);
}

void render_ok(Exchange& x, core::Reply&) { x.reply_json(200, R"({"ok":true})"); }

// The queue as it is (or that there is none) has come; now it is made or changed.
void define(Exchange& x, core::Reply& reply) {
  auto& wish = static_cast<Defining&>(*x.extra());
  const auto* error = std::get_if<base::Error>(&reply);
  if (error != nullptr && (wish.patch || error->code != Code::not_found)) {
    return x.refuse(*error);
  }
  const auto* shown = std::get_if<core::QueueShown>(&reply);
  const core::QueueSettings before =
      wish.patch && shown != nullptr ? shown->queue->settings : core::QueueSettings{};
  auto settings = core::merge_settings(before, wish.changes);
  if (!settings) return x.refuse(settings.error());
  core::DefineQueue command;
  command.queue = wish.queue;
  command.settings = *std::move(settings);
  if (wish.patch) {
    command.mode = core::DefineQueue::Mode::change;
    command.revision = shown->queue->revision;
  } else {
    command.mode = wish.create ? core::DefineQueue::Mode::create : core::DefineQueue::Mode::replace;
  }
  x.ask(std::move(command), shown == nullptr ? render_new_queue : render_queue);
}

void begin_define(Exchange& x, const Request& request, bool patch) {
  auto wish = std::make_unique<Defining>();
  wish->queue = request.parameters[0];
  wish->patch = patch;
  if (!good_name(x, wish->queue)) return;
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  if (!patch) query->flag("create", wish->create);
  if (auto good = query->finish(); !good) return x.refuse(good.error());
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  // Checked before anybody is asked; the copy outlives the reader's memory.
  auto given = core::merge_settings({}, **body);
  if (!given) return x.refuse(given.error());
  if (auto good = core::check_given(*given); !good) return x.refuse(good.error());
  wish->changes = json::object(**body, json::storage_ptr{});
  core::ShowQueue show{.queue = wish->queue};
  x.keep(std::move(wish));
  x.ask_raw(std::move(show), define);
}

void set_admin(Exchange& x, const Request& request, core::Admin admin) {
  core::SetAdmin command;
  command.queue = request.parameters[0];
  command.admin = admin;
  if (!good_name(x, command.queue) || !no_query(x, request)) return;
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  Fields fields(**body, "the body");
  if (admin == core::Admin::pause) {
    fields.seconds("for_s", command.lasts, base::Millis{1}, base::kLeaseMax);
  }
  if (auto good = fields.finish(); !good) return x.refuse(good.error());
  x.ask(std::move(command), render_queue);
}

}  // namespace

void list_queues(Exchange& x, const Request& request) {
  if (no_query(x, request)) x.ask(core::ListQueues{}, render_list);
}

void show_queue(Exchange& x, const Request& request) {
  const std::string& queue = request.parameters[0];
  if (!good_name(x, queue) || !no_query(x, request)) return;
  x.ask(core::ShowQueue{.queue = queue}, render_queue);
}

void put_queue(Exchange& x, const Request& request) { begin_define(x, request, false); }
void patch_queue(Exchange& x, const Request& request) { begin_define(x, request, true); }

void delete_queue(Exchange& x, const Request& request) {
  core::DeleteQueue command;
  command.queue = request.parameters[0];
  if (!good_name(x, command.queue)) return;
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  query->flag("force", command.force);
  if (auto good = query->finish(); !good) return x.refuse(good.error());
  x.ask(std::move(command), render_ok);
}

void pause_queue(Exchange& x, const Request& r) { set_admin(x, r, core::Admin::pause); }
void resume_queue(Exchange& x, const Request& r) { set_admin(x, r, core::Admin::up); }
void drain_queue(Exchange& x, const Request& r) { set_admin(x, r, core::Admin::drain); }
void down_queue(Exchange& x, const Request& r) { set_admin(x, r, core::Admin::down); }

void set_script_error(Exchange& x, const Request& request) {
  core::SetScriptError command;
  command.queue = request.parameters[0];
  if (!good_name(x, command.queue) || !no_query(x, request)) return;
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  Fields fields(**body, "the body");
  const json::value* error = fields.find_or_null("error");
  if (error == nullptr) {
    fields.refuse(base::fail(Code::bad_value, "there is no error",
                             "give \"error\":\"text\", or null when the script is mended"));
  } else if (!error->is_null()) {
    auto text = core::text_of("error", *error, base::kTextBytesMax);
    if (text) {
      command.error.assign(*text);
    } else {
      fields.refuse(std::move(text).error());
    }
  }
  if (auto good = fields.finish(); !good) return x.refuse(good.error());
  x.ask(std::move(command), render_ok);
}

// A worker starts nothing of the queue for a while, and says why.
void hold_back(Exchange& x, const Request& request) {
  const std::string queue = request.parameters[0];
  if (!good_name(x, queue) || !no_query(x, request)) return;
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  Fields fields(**body, "the body");
  std::string text;
  base::Millis length{0};
  if (!fields.text("text", text, base::kTextBytesMax)) {
    fields.refuse(base::fail(Code::bad_value, "there is no text", "say why, in \"text\""));
  }
  fields.seconds("for_s", length, base::Millis{0}, base::kDelayMax);
  if (auto good = fields.finish(); !good) return x.refuse(good.error());
  x.door().workers().hold(queue, {.text = text, .until = x.door().clock().now() + length});
  x.reply_json(200, R"({"ok":true})");
}

}  // namespace rq::doors::api
