#include "doors/api/target.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "core/bounds.h"
#include "doors/api/query.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Result;
constexpr std::string_view kKeyPrefix = "key:";

base::Error no_such_message(const Target& target) {
  const std::string name =
      target.key.empty() ? fmt::format("{}", target.seq) : fmt::format("key:{}", target.key);
  return fail(Code::not_found, fmt::format("there is no message {}", name),
              "it may have been deleted; rq list shows those that are there");
}

}  // namespace

Result<Target> parse_target(std::string_view text) {
  Target target;
  if (text.starts_with(kKeyPrefix)) {
    text.remove_prefix(kKeyPrefix.size());
    RQ_TRY(core::check_text("the key", text, base::kClientKeyBytesMax));
    if (text.empty()) return fail(Code::bad_value, "the key is empty", "give key:KEY");
    target.key.assign(text);
    return target;
  }
  RQ_TRY_ASSIGN(id, core::parse_id(text));
  target.seq = id.seq;
  target.created = id.created;
  return target;
}

Result<core::MessageRow> find_message(core::Reader& reader, const Target& target) {
  RQ_TRY_ASSIGN(
      row, target.key.empty() ? reader.message(target.seq) : reader.message_by_key(target.key));
  if (!row || (target.created && *target.created != row->message.created)) {
    return no_such_message(target);
  }
  return *std::move(row);
}

bool no_query(Exchange& x, const Request& request) {
  auto query = Query::parse(request.query);
  const auto good = query ? query->finish() : Result<void>{query.error()};
  if (!good) x.refuse(good.error());
  return good.has_value();
}

}  // namespace rq::doors::api
