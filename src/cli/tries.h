#pragma once
// Messages that have failed and wait for another try: `scheduled`, as those are that were put with
// a delay.
#include <boost/json/value.hpp>
#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"
#include "cli/filter.h"
#include "client/client.h"

namespace rq::cli {

struct Tries {
  std::int64_t count = 0;
  bool cut = false;  // only the newest scheduled ones were looked at: there may be more
};
// Of the messages that the filter finds, whatever its state, mark and fingerprint.
[[nodiscard]] base::Result<Tries> tries_of(client::Client& client, MessageFilter filter);
// By queue, of an answer to GET /v1/queues; those that have none are left out. Queues that were
// made on demand are not looked at, nor more than so many: it is a request for each.
inline constexpr std::size_t kTriesQueuesMax = 50;
[[nodiscard]] std::map<std::string, Tries> tries_by_queue(client::Client& client,
                                                          const boost::json::value& queues);
// "2 messages wait for another try", "at least 1000 messages wait …"
[[nodiscard]] std::string tries_text(const Tries& tries);

}  // namespace rq::cli
