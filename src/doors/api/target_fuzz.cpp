// Names of messages and tokens as they stand in addresses and bodies: no crash, and what is taken
// is given back as the same text.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/limits.h"
#include "core/message.h"
#include "doors/api/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto target = rq::doors::api::parse_target(text)) {
    RQ_CHECK((target->seq > 0) != !target->key.empty());
    RQ_CHECK(target->key.size() <= rq::base::kClientKeyBytesMax);
    RQ_CHECK(!target->created || target->seq > 0);
  }
  if (const auto id = rq::core::parse_id(text)) {
    RQ_CHECK(id->seq > 0);
    if (id->created) {
      const auto again = rq::core::parse_id(rq::core::format_id(id->seq, *id->created));
      RQ_CHECK(again && again->seq == id->seq && again->created == id->created);
    }
  }
  if (const auto token = rq::core::parse_token(text)) {
    RQ_CHECK(token->seq > 0 && token->attempt > 0 && token->boot > 0);
    const auto again = rq::core::parse_token(rq::core::to_string(*token));
    RQ_CHECK(again && *again == *token);
  }
  return 0;
}
