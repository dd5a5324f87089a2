#pragma once
// Queue settings as JSON: the form of the HTTP API, of the store's settings column and of
// `rq queue show`. docs/API.md names the fields.
#include <boost/json/object.hpp>
#include <string>

#include "base/result.h"
#include "core/queue.h"

namespace rq::core {

// All fields, in the order of docs/API.md.
[[nodiscard]] boost::json::object to_json(const QueueSettings& settings);

// `base` with `changes` on top; a null goes back to the default. Objects inside (limits, backoff,
// keep_*) are merged field by field, lists and env_vars are replaced. unknown_field or bad_value,
// naming the field.
[[nodiscard]] base::Result<QueueSettings> merge_settings(const QueueSettings& base,
                                                         const boost::json::object& changes);

// The names of the settings that differ: "retries, limits.open_files"; empty: none does.
[[nodiscard]] std::string changed_names(const QueueSettings& before, const QueueSettings& after);

// What a user may not give, while a queue that has it from before keeps it: less memory than any
// program needs, and variables that rq sets itself. bad_value, naming the field.
[[nodiscard]] base::Result<void> check_given(const QueueSettings& given);

}  // namespace rq::core
