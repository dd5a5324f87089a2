#include "cli/tries.h"

#include <fmt/format.h>

#include "cli/text.h"
#include "cli/verb.h"

namespace rq::cli {

std::int64_t Tries::of(const std::string& queue) const {
  const auto found = by_queue.find(queue);
  return found == by_queue.end() ? 0 : found->second;
}

Tries tries_of(client::Client& client, MessageFilter filter) {
  filter.state.clear();
  filter.mark.clear();
  filter.fingerprint.clear();
  Tries unknown{.cut = true};
  const auto query = filter.query();
  if (!query) return unknown;
  const auto answer = client.get(query->on("/v1/tries"), {"queues"});
  if (!answer) return unknown;
  Tries tries{.looked_at = count_at(*answer, "looked_at"),
              .cut = at(*answer, "cut") == json::value(true)};
  for (const json::value& queue : items_at(*answer, "queues")) {
    const std::int64_t count = count_at(queue, "count");
    tries.by_queue.emplace(text_at(queue, "name"), count);
    tries.all += count;
  }
  return tries;
}

std::string tries_text(std::int64_t count, bool cut) {
  return fmt::format("{}{} {} for another try", cut ? "at least " : "", show_messages(count),
                     count == 1 ? "waits" : "wait");
}

std::string cut_text(const Tries& tries) {
  return fmt::format(
      "of the scheduled messages only {} were looked at: more may wait for another "
      "try",
      show_count(tries.looked_at));
}

}  // namespace rq::cli
