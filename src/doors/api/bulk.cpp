// Acting on all messages that a filter finds: page by page, each page one command, so that a large
// action never holds the engine for long. A dry run only counts and shows a sample.
#include <fmt/format.h>

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
using core::Fields;

struct Bulk : Extra {
  core::Act act;
  core::Page page;
  bool dry_run = false;
  std::int64_t limit = static_cast<std::int64_t>(base::kBulkActionMax);
  std::int64_t matched = 0;
  std::int64_t changed = 0;
  std::int64_t refused = 0;
  std::vector<std::string> sample;
  std::vector<std::pair<std::string, base::Error>> errors;
  // Of the page that the engine works on:
  std::vector<std::string> ids;
  bool last = false;
};

void next_page(Exchange& x);

void finish_bulk(Exchange& x, const Bulk& bulk) {
  std::string body;
  JsonObject object(body);
  object.number("matched", bulk.matched);
  object.number("changed", bulk.changed);
  object.number("refused", bulk.refused);
  std::string& sample = object.key("sample");
  sample += '[';
  for (const std::string& id : bulk.sample) {
    if (sample.back() != '[') sample += ',';
    append_json_string(sample, id);
  }
  sample += ']';
  std::string& errors = object.key("errors");
  errors += '[';
  for (const auto& [id, error] : bulk.errors) {
    if (errors.back() != '[') errors += ',';
    JsonObject entry(errors);
    entry.text("id", id);
    append_error_object(entry.key("error"), error);
    entry.close();
  }
  errors += ']';
  object.boolean("dry_run", bulk.dry_run);
  object.close();
  x.reply_json(200, body);
}

void render_acted(Exchange& x, core::Reply& reply) {
  auto& bulk = static_cast<Bulk&>(*x.extra());
  const auto& items = std::get<core::ActDone>(reply).items;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i]) {
      ++bulk.changed;
      continue;
    }
    ++bulk.refused;
    if (bulk.errors.size() < base::kBulkSampleMax) {
      bulk.errors.emplace_back(bulk.ids.at(i), items[i].error());
    }
  }
  if (bulk.last) {
    finish_bulk(x, bulk);
  } else {
    next_page(x);
  }
}

void on_page(Exchange& x, const Result<core::Listed>& listed) {
  if (!listed) return x.refuse(listed.error());
  auto& bulk = static_cast<Bulk&>(*x.extra());
  std::vector<core::Seq> seqs;
  bulk.ids.clear();
  for (const core::MessageRow& row : listed->rows) {
    ++bulk.matched;
    std::string id = format_id(row.message);
    if (bulk.sample.size() < base::kBulkSampleMax) bulk.sample.push_back(id);
    if (bulk.dry_run) continue;
    bulk.ids.push_back(std::move(id));
    seqs.push_back(row.message.seq);
  }
  bulk.last = !listed->cursor || bulk.matched >= bulk.limit;
  if (listed->cursor) bulk.page.cursor = *listed->cursor;
  if (!seqs.empty()) {
    core::Act act = bulk.act;
    act.messages = std::move(seqs);
    return x.ask(std::move(act), render_acted);
  }
  if (bulk.last) {
    finish_bulk(x, bulk);
  } else {
    next_page(x);
  }
}

// Newest first: clones, which are newer than all there was, are not met again.
void next_page(Exchange& x) {
  auto& bulk = static_cast<Bulk&>(*x.extra());
  bulk.page.limit = std::min<std::int64_t>(static_cast<std::int64_t>(base::kListPageMax),
                                           bulk.limit - bulk.matched);
  x.search([page = bulk.page](core::Reader& reader) { return reader.list(page); },
           [](Exchange& later, Result<core::Listed> listed) { on_page(later, listed); });
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
  } else if (action == core::Action::move) {
    fields.refuse(fail(Code::bad_value, "there is no queue to move to", "give \"queue\":\"name\""));
  }
  if (!fields.integer("priority", act.priority, base::kPriorityMin, base::kPriorityMax) &&
      action == core::Action::priority) {
    fields.refuse(fail(Code::bad_value, "there is no priority", "give \"priority\":5"));
  }
}

}  // namespace

void bulk_action(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  auto bulk = std::make_unique<Bulk>();
  Fields fields(**body, "the bulk action");
  read_action(fields, bulk->act);
  if (const auto* object = fields.object("filter")) {
    auto filter = filter_from_json(*object);
    if (filter) {
      bulk->page.filter = *std::move(filter);
    } else {
      fields.refuse(std::move(filter).error());
    }
  } else {
    fields.refuse(fail(Code::bad_value, "there is no filter",
                       "give \"filter\":{…}; an empty one means all messages"));
  }
  fields.boolean("dry_run", bulk->dry_run);
  fields.integer("limit", bulk->limit, 1, static_cast<std::int64_t>(base::kBulkActionMax));
  if (auto good = fields.finish(); !good) return x.refuse(good.error());
  bulk->page.payloads = false;
  x.keep(std::move(bulk));
  next_page(x);
}

}  // namespace rq::doors::api
