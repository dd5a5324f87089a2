#pragma once
// The answer to a call about many things: one item for each, in their order, good or refused.
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "doors/api/exchange.h"
#include "doors/api/json_out.h"

namespace rq::doors::api {

// Kept by the exchange meanwhile: who was refused at the door keeps its place in the answer.
struct Gathered : Extra {
  bool many = false;
  std::vector<std::optional<base::Error>> refusals;  // by item; none: it went to the engine
};

// `answers` of those that went to the engine; `append` writes a good one.
template <typename Answer, typename Append>
void reply_items(Exchange& x, const std::vector<base::Result<Answer>>& answers,
                 const Append& append) {
  const auto& gathered = static_cast<const Gathered&>(*x.extra());
  if (!gathered.many) {
    if (!answers.front()) return x.refuse(answers.front().error());
    std::string body;
    append(body, *answers.front());
    return x.reply_json(200, body);
  }
  std::string body = R"({"items":[)";
  std::size_t next = 0;
  for (const auto& refusal : gathered.refusals) {
    if (body.back() != '[') body += ',';
    if (refusal) {
      body += error_json(*refusal);
    } else if (const auto& answer = answers.at(next++); answer) {
      append(body, *answer);
    } else {
      body += error_json(answer.error());
    }
  }
  body += "]}";
  x.reply_json(200, body);
}

}  // namespace rq::doors::api
