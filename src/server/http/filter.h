#pragma once
// Which messages are meant: from query parameters, or from the JSON of a bulk action.
#include <boost/json/object.hpp>

#include "base/result.h"
#include "server/http/text.h"
#include "store/store.h"

namespace rq::server::http {

// Refusals are kept by `query`.
void read_filter(Query& query, store::Filter& out);
[[nodiscard]] base::Result<store::Filter> filter_from_json(const boost::json::object& object);

}  // namespace rq::server::http
