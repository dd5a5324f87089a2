// GET /v1/failures: the messages in err, counted by what their reasons have in common.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/utf8.h"
#include "core/fingerprint.h"
#include "core/message.h"
#include "core/name.h"
#include "doors/api/api_door.h"
#include "doors/api/filter.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/limits.h"
#include "doors/api/query.h"

namespace rq::doors::api {
namespace {

using base::Result;

// Those with one fingerprint.
struct Failure {
  std::string text;  // the reason of the newest
  std::string queue;
  std::string newest, oldest;  // ids
  std::int64_t count = 0;
};

struct Failures {
  std::map<std::string, Failure> by_fingerprint;
  std::int64_t others = 0;  // of more kinds than are kept apart
  std::int64_t looked_at = 0;
  bool cut = false;  // there may be older ones

  // From the newest to the oldest.
  void add(const core::MessageRow& row) {
    ++looked_at;
    const std::string& reason = row.message.detail_or_default().progress;
    std::string fingerprint = core::fingerprint(reason);
    auto found = by_fingerprint.find(fingerprint);
    if (found == by_fingerprint.end()) {
      if (by_fingerprint.size() >= kFailureKindsMax) {
        ++others;
        return;
      }
      found = by_fingerprint.emplace(std::move(fingerprint), Failure{}).first;
      found->second.text = base::cut_utf8(reason, kFailureTextBytesMax);
      found->second.queue = row.queue;
      found->second.newest = core::format_id(row.message);
    }
    ++found->second.count;
    found->second.oldest = core::format_id(row.message);
  }
};

Result<Failures> count_failures(core::Reader& reader, core::Page page) {
  Failures failures;
  for (std::size_t pages = 0; pages < kFailurePagesMax; ++pages) {
    RQ_TRY_ASSIGN(listed, reader.list(page));
    for (const core::MessageRow& row : listed.rows) failures.add(row);
    if (!listed.cursor) return failures;
    page.cursor = *listed.cursor;
  }
  failures.cut = true;
  return failures;
}

void reply_failures(Exchange& x, const Failures& failures) {
  std::vector<const std::pair<const std::string, Failure>*> sorted;
  for (const auto& kind : failures.by_fingerprint) sorted.push_back(&kind);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto* a, const auto* b) { return a->second.count > b->second.count; });
  std::string body = R"({"failures":[)";
  for (const auto* kind : sorted) {
    if (body.back() != '[') body += ',';
    JsonObject object(body);
    object.text("fingerprint", kind->first);
    object.number("count", kind->second.count);
    object.text("text", kind->second.text);
    object.text("queue", kind->second.queue);
    object.text("newest", kind->second.newest);
    object.text("oldest", kind->second.oldest);
    object.close();
  }
  body += fmt::format(R"(],"others":{},"looked_at":{},"cut":{}}})", failures.others,
                      failures.looked_at, failures.cut);
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
           [](Exchange& later, Result<Failures> failures) {
             if (!failures) return later.refuse(failures.error());
             reply_failures(later, *failures);
           });
}

}  // namespace rq::doors::api
