// GET /v1/failures: the messages in err, counted by what their reasons have in common.
#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/limits.h"
#include "core/failures.h"
#include "core/store.h"
#include "doors/api/api_door.h"
#include "doors/api/filter.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/query.h"

namespace rq::doors::api {
namespace {

using base::Result;

Result<core::Failures> count_failures(core::Reader& reader, core::Page page) {
  core::Failures failures;
  while (true) {
    RQ_TRY_ASSIGN(listed, reader.list(page));
    if (!failures.add(listed)) return failures;
    page.cursor = *listed.cursor;
  }
}

void reply_failures(Exchange& x, const core::Failures& failures) {
  std::string body = R"({"failures":[)";
  for (const core::Failures::Kind& kind : failures.kinds()) {
    if (body.back() != '[') body += ',';
    JsonObject object(body);
    object.text("fingerprint", kind.fingerprint);
    object.number("count", kind.count);
    object.text("text", kind.text);
    object.text("queue", kind.queue);
    object.text("newest", kind.newest);
    object.text("oldest", kind.oldest);
    object.close();
  }
  body += fmt::format(R"(],"others":{},"looked_at":{},"cut":{}}})", failures.others(),
                      failures.looked_at(), failures.is_cut());
  x.reply_json(200, body);
}

}  // namespace

void list_failures(Exchange& x, const Request& request) {
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  core::Page page;
  read_filter(*query, page.filter);
  if (!page.filter.states.empty() && page.filter.fingerprint.empty()) {
    query->refuse(base::fail(base::Code::bad_value, "state: these are all in err",
                             "leave it out; GET /v1/messages lists those in other states"));
  }
  page.filter.states.add(core::State::err);
  page.limit = static_cast<std::int64_t>(base::kListPageMax);
  page.payloads = false;
  if (auto good = query->finish(); !good) return x.refuse(good.error());
  x.search([page](core::Reader& reader) { return count_failures(reader, page); },
           [](Exchange& later, Result<core::Failures> failures) {
             if (!failures) return later.refuse(failures.error());
             reply_failures(later, *failures);
           });
}

}  // namespace rq::doors::api
