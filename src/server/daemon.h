#pragma once
// `rq server`: one directory, one store, one engine, and the doors to it.
#include "base/result.h"
#include "server/config.h"

namespace rq::server {

// Serves until SIGTERM or SIGINT; gives the exit code. Refusals: a second server on the directory
// (exists), an address that is not loopback (forbidden), a config that is wrong.
// Thread: the main one, before any other is started.
[[nodiscard]] base::Result<int> run_server(const ServerOptions& options);

}  // namespace rq::server
