#include "engine/rights.h"

#include <fmt/format.h>

#include <string>

namespace rq::engine {

using base::Code;
using base::fail;
using base::Result;

namespace {

base::Error lacks(const Desk& desk, Right right, const Entry& entry) {
  return fail(Code::forbidden,
              fmt::format("{} has not the right '{}' for queue '{}'", desk.batch.caller->name,
                          name_of(right), entry.queue.name),
              "whoever keeps the server may give it: in rq.toml, or with another token");
}

}  // namespace

bool may(const Desk& desk, Right right, const Entry& entry) {
  return desk.batch.caller == nullptr || desk.batch.caller->rights.has(right, entry.queue.name);
}

Result<void> check_right(const Desk& desk, Right right, const Entry& entry) {
  if (may(desk, right, entry)) return {};
  if (may(desk, Right::read, entry)) return lacks(desk, right, entry);
  return no_queue(entry.queue.name);
}

Result<void> check_right(Desk& desk, Right right, const Message& message) {
  const Entry& entry = desk.ledger.of(message);
  if (may(desk, right, entry)) return {};
  return may(desk, Right::read, entry) ? lacks(desk, right, entry) : no_message(message.seq);
}

Result<void> check_holder(Desk& desk, const Message& message) {
  if (desk.batch.caller == nullptr) return {};
  const Entry& entry = desk.ledger.of(message);
  const std::string& holder = message.lease->holder;
  const bool theirs =
      holder.empty() ? may(desk, Right::work, entry) : holder == desk.batch.caller->name;
  if (theirs || may(desk, Right::manage, entry)) return {};
  desk.audit("lease refused", std::to_string(message.seq), {}, {});
  return fail(Code::forbidden,
              fmt::format("the lease of message {} is not that of {}", message.seq,
                          desk.batch.caller->name),
              "whoever took it ends it, or who has the right 'manage'");
}

}  // namespace rq::engine
