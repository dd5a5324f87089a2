#pragma once
// Which messages are meant: from query parameters, or from the JSON of a bulk action.
#include <boost/json/object.hpp>

#include "base/result.h"
#include "core/store.h"
#include "doors/api/query.h"

namespace rq::doors::api {

// Refusals are kept by `query`.
void read_filter(Query& query, core::Filter& out);
[[nodiscard]] base::Result<core::Filter> filter_from_json(const boost::json::object& object);

}  // namespace rq::doors::api
