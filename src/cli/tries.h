#pragma once
// Messages that have failed or were resent and wait for another try: `scheduled`, as those are that
// were put with a delay.
#include <cstdint>
#include <map>
#include <string>

#include "cli/filter.h"
#include "client/client.h"

namespace rq::cli {

struct Tries {
  std::map<std::string, std::int64_t> by_queue;  // those that have some
  std::int64_t all = 0;
  std::int64_t looked_at = 0;
  bool cut = false;  // not all scheduled messages were looked at: there may be more

  [[nodiscard]] std::int64_t of(const std::string& queue) const;
};
// Of the messages that the filter finds, whatever its state, mark and fingerprint. Where the server
// does not tell, none was looked at, and it is cut.
[[nodiscard]] Tries tries_of(client::Client& client, MessageFilter filter = {});
// "2 messages wait for another try", "at least 1 000 messages wait …"
[[nodiscard]] std::string tries_text(std::int64_t count, bool cut);
// What is to be known of them when they are not all counted.
[[nodiscard]] std::string cut_text(const Tries& tries);

}  // namespace rq::cli
