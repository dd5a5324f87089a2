#include "engine/desk.h"

namespace rq::engine {

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
