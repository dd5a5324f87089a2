#pragma once
// Which messages are meant: from query parameters, or from the JSON of a bulk action.
#include <boost/json/object.hpp>

#include "base/result.h"
#include "core/caller.h"
#include "core/store.h"
#include "doors/api/query.h"

namespace rq::doors::api {

// Refusals are kept by `query`.
void read_filter(Query& query, core::Filter& out);
// Whoever has the right for some queues only must name one of these (pitfalls NA6).
[[nodiscard]] base::Result<void> check_filter(const core::Filter& filter, core::Right right,
                                              const core::Caller& asker);
[[nodiscard]] base::Result<core::Filter> filter_from_json(const boost::json::object& object);

}  // namespace rq::doors::api
