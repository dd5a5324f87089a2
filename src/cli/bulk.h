#pragma once
// A bulk action as the server does it: begun, followed with its progress on a terminal, and
// cancelled with Ctrl-C.
#include <string_view>

#include "base/result.h"
#include "cli/verb.h"

namespace rq::cli {

// The job when it is over. `past`: "retried"; for the progress.
[[nodiscard]] base::Result<json::value> run_bulk(const Context& context, client::Client& client,
                                                 json::object order, std::string_view past);

}  // namespace rq::cli
