#include "engine/desk.h"

#include <utility>

namespace rq::engine {

void Desk::audit(std::string_view what, std::string&& subject, std::string&& before,
                 std::string&& after) {
  if (batch.caller == nullptr) return;
  AuditEntry entry;
  entry.at = batch.now;
  entry.who = batch.caller->name;
  entry.whence = batch.caller->whence;
  entry.what = what;
  entry.subject = std::move(subject);
  entry.before = std::move(before);
  entry.after = std::move(after);
  store.append(std::move(entry));
}

base::Error no_message(Seq seq) {
  return base::fail(base::Code::not_found, "there is no message " + std::to_string(seq),
                    "it may have been deleted; rq list shows those that are there");
}

base::Result<Record*> need_message(Desk& desk, Seq seq) {
  RQ_TRY_ASSIGN(record, desk.store.find(seq));
  if (record != nullptr) {
    desk.has(record->message);
    return record;
  }
  return no_message(seq);
}

}  // namespace rq::engine
