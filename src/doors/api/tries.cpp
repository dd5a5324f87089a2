// GET /v1/tries: the messages that have failed or were resent and wait for another try, counted by
// queue.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "core/store.h"
#include "doors/api/api_door.h"
#include "doors/api/filter.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/limits.h"
#include "doors/api/query.h"

namespace rq::doors::api {
namespace {

using base::Result;

// What is asked for, until the queues have come.
struct Wish : Extra {
  core::Filter filter;
};

struct Tries {
  std::vector<std::pair<std::string, std::int64_t>> queues;  // those that have some
  std::int64_t looked_at = 0;
  bool cut = false;
};

bool waits_for_another_try(const core::MessageRow& row) {
  return row.message.failures > 0 || row.message.count > 0;
}

// Those of one queue, until a bound is reached.
Result<std::int64_t> count_in(core::Reader& reader, core::Page page, Tries& tries,
                              std::size_t& pages) {
  std::int64_t count = 0;
  while (true) {
    if (tries.looked_at >= kTriesScanMax || pages >= kTriesPagesMax) {
      tries.cut = true;
      return count;
    }
    ++pages;
    RQ_TRY_ASSIGN(listed, reader.list(page));
    tries.looked_at += std::ssize(listed.rows);
    count += std::ranges::count_if(listed.rows, waits_for_another_try);
    tries.cut = listed.cut;  // looking for a text takes long
    if (tries.cut || !listed.cursor) return count;
    page.cursor = *listed.cursor;
  }
}

Result<Tries> count_tries(core::Reader& reader, core::Page page,
                          const std::vector<std::string>& queues) {
  Tries tries;
  std::size_t pages = 0;
  for (const std::string& queue : queues) {
    page.filter.queue = queue;
    RQ_TRY_ASSIGN(count, count_in(reader, page, tries, pages));
    if (count > 0) tries.queues.emplace_back(queue, count);
    if (tries.cut) break;
  }
  return tries;
}

void reply_tries(Exchange& x, const Tries& tries) {
  std::string body = R"({"queues":[)";
  for (const auto& [name, count] : tries.queues) {
    if (body.back() != '[') body += ',';
    JsonObject object(body);
    object.text("name", name);
    object.number("count", count);
    object.close();
  }
  body += fmt::format(R"(],"looked_at":{},"cut":{}}})", tries.looked_at, tries.cut);
  x.reply_json(200, body);
}

// Only queues that hold scheduled messages are looked into: their counters say which.
void look_into(Exchange& x, core::Reply& reply) {
  core::Page page;
  page.filter = std::move(static_cast<Wish&>(*x.extra()).filter);
  page.filter.states.add(core::State::scheduled);
  page.limit = static_cast<std::int64_t>(base::kListPageMax);
  page.payloads = false;
  std::vector<std::string> queues;
  const auto take = [&queues](const core::QueueShown& shown) {
    if (shown.queue->counters.in(core::State::scheduled) > 0) queues.push_back(shown.queue->name);
  };
  if (const auto* one = std::get_if<core::QueueShown>(&reply)) {
    take(*one);
  } else {
    std::ranges::for_each(std::get<core::QueuesListed>(reply).queues, take);
  }
  x.search([page, queues](core::Reader& reader) { return count_tries(reader, page, queues); },
           [](Exchange& later, Result<Tries> tries) {
             if (!tries) return later.refuse(tries.error());
             reply_tries(later, *tries);
           });
}

}  // namespace

void list_tries(Exchange& x, const Request& request) {
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  auto wish = std::make_unique<Wish>();
  read_filter(*query, wish->filter);
  if (!wish->filter.states.empty() || !wish->filter.fingerprint.empty()) {
    query->refuse(base::fail(base::Code::bad_value,
                             "state, fingerprint: these are all scheduled, and none has one",
                             "leave them out; GET /v1/failures counts those in err"));
  }
  if (auto good = query->finish(); !good) return x.refuse(good.error());
  const std::string queue = wish->filter.queue;
  x.keep(std::move(wish));
  if (queue.empty()) return x.ask(core::ListQueues{}, look_into);
  x.ask(core::ShowQueue{.queue = queue}, look_into);
}

}  // namespace rq::doors::api
