// Acting on one message.
#include <fmt/format.h>

#include "base/limits.h"
#include "core/json_fields.h"
#include "core/name.h"
#include "doors/api/api_door.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/target.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Result;
using core::Action;
using core::Fields;

void render(Exchange& x, core::Reply& reply, int status) {
  const auto& item = std::get<core::ActDone>(reply).items.front();
  if (!item) return x.refuse(item.error());
  std::string& body = x.door().scratch();
  body.clear();
  append_moved(body, item->seq, item->created, item->state, item->was);
  x.reply_json(status, body);
}

void render_acted(Exchange& x, core::Reply& reply) { render(x, reply, 200); }
void render_cloned(Exchange& x, core::Reply& reply) { render(x, reply, 201); }

void ask_act(Exchange& x, core::Act&& act) {
  const Renderer renderer = act.action == Action::clone ? render_cloned : render_acted;
  x.ask(std::move(act), renderer);
}

void act_on(Exchange& x, const Request& request, core::Act&& act) {
  act.host = x.door().base_url();
  auto target = parse_target(request.parameters[0]);
  if (!target) return x.refuse(target.error());
  if (target->key.empty() && !target->created) {
    act.messages.push_back(target->seq);
    return ask_act(x, std::move(act));
  }
  // A key must be looked up; a full id must be that of this very message.
  x.look_up(
      [target = *target](core::Reader& reader) -> Result<core::Seq> {
        RQ_TRY_ASSIGN(row, find_message(reader, target));
        return row.message.seq;
      },
      [act](Exchange& later, Result<core::Seq> seq) mutable {
        if (!seq) return later.refuse(seq.error());
        act.messages.push_back(*seq);
        ask_act(later, std::move(act));
      });
}

// Reads the body with `read(fields, act)`, then acts.
template <typename Read>
void act_with(Exchange& x, const Request& request, Action action, const Read& read) {
  if (!no_query(x, request)) return;
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  core::Act act;
  act.action = action;
  Fields fields(**body, "the body");
  read(fields, act);
  if (auto good = fields.finish(); !good) return x.refuse(good.error());
  act_on(x, request, std::move(act));
}

void act_with_reason(Exchange& x, const Request& request, Action action) {
  act_with(x, request, action, [](Fields& fields, core::Act& act) {
    fields.text("reason", act.reason, base::kTextBytesMax);
  });
}

bool read_queue(Fields& fields, core::Act& act) {
  if (!fields.text("queue", act.queue, base::kTextBytesMax)) return false;
  if (auto good = core::check_queue_name(act.queue); !good) fields.refuse(std::move(good).error());
  return true;
}

}  // namespace

void delete_message(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  core::Act act;
  act.action = Action::remove;
  act_on(x, request, std::move(act));
}

void commit_message(Exchange& x, const Request& r) { act_with_reason(x, r, Action::commit); }
void retry_message(Exchange& x, const Request& r) { act_with_reason(x, r, Action::retry); }
void requeue_message(Exchange& x, const Request& r) { act_with_reason(x, r, Action::requeue); }
void run_now_message(Exchange& x, const Request& r) { act_with_reason(x, r, Action::run_now); }
void cancel_message(Exchange& x, const Request& r) { act_with_reason(x, r, Action::cancel); }
void kill_message(Exchange& x, const Request& r) { act_with_reason(x, r, Action::kill); }

void clone_message(Exchange& x, const Request& request) {
  act_with(x, request, Action::clone,
           [](Fields& fields, core::Act& act) { read_queue(fields, act); });
}

void move_message(Exchange& x, const Request& request) {
  act_with(x, request, Action::move, [](Fields& fields, core::Act& act) {
    if (!read_queue(fields, act)) {
      fields.refuse(fail(Code::bad_value, "there is no queue", "give \"queue\":\"name\""));
    }
  });
}

void set_priority(Exchange& x, const Request& request) {
  act_with(x, request, Action::priority, [](Fields& fields, core::Act& act) {
    if (!fields.integer("priority", act.priority, base::kPriorityMin, base::kPriorityMax)) {
      fields.refuse(fail(Code::bad_value, "there is no priority", "give \"priority\":5"));
    }
  });
}

}  // namespace rq::doors::api
