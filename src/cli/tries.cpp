#include "cli/tries.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "cli/text.h"
#include "cli/verb.h"

namespace rq::cli {
using base::Result;

Result<Tries> tries_of(client::Client& client, MessageFilter filter) {
  filter.state = "scheduled";
  filter.mark.clear();
  filter.fingerprint.clear();
  RQ_TRY_ASSIGN(query, filter.query());
  query.add("limit", std::to_string(base::kListPageMax));
  RQ_TRY_ASSIGN(page, client.get(query.on("/v1/messages"), {"messages"}));
  const auto count = std::ranges::count_if(
      items_at(page, "messages"),
      [](const json::value& message) { return count_at(message, "failures") > 0; });
  return Tries{.count = count, .cut = !text_at(page, "cursor").empty()};
}

std::map<std::string, Tries> tries_by_queue(client::Client& client, const json::value& queues) {
  std::map<std::string, Tries> out;
  std::size_t asked = 0;
  for (const json::value& queue : items_at(queues, "queues")) {
    if (count_at(at(queue, "counts"), "scheduled") == 0) continue;
    if (at(queue, "on_demand") == json::value(true)) continue;
    if (++asked > kTriesQueuesMax) break;
    MessageFilter filter;
    filter.queue = text_at(queue, "name");
    const auto tries = tries_of(client, filter);
    if (tries && tries->count > 0) out.emplace(filter.queue, *tries);
  }
  return out;
}

std::string tries_text(const Tries& tries) {
  return fmt::format("{}{} {} for another try", tries.cut ? "at least " : "",
                     show_messages(tries.count), tries.count == 1 ? "waits" : "wait");
}

}  // namespace rq::cli
