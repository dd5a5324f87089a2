#pragma once
// `rq worker`: takes messages from a server, runs the scripts of their queues, and reports how they
// ended. The only thing that runs scripts, here or on another machine.
#include <string>

#include "base/result.h"

namespace rq::worker {

struct WorkerOptions {
  std::string dir = "./var";       // scripts/, queue/, run/
  std::string server;              // see base::parse_server_address(); empty: unix:DIR/run/rq.sock
  std::string name;                // one of a name at a server; empty: "local", or the host's name
  std::string base_url;            // RQ_HOST; empty: what the server says
  std::string env = "production";  // RQ_ENV
  bool kept = false;    // a server keeps it: when it is idle under another server, it leaves
  std::string goes_on;  // what a program before this one, in the same process, has handed on
};

// Two processes: see holder.h. Runs until SIGTERM or SIGINT: the first drains (takes nothing more,
// lets scripts end), the second stops the scripts and hands their messages back, a third leaves at
// once. SIGHUP, which a local server sends when it ends, does as SIGTERM when no script runs, else
// nothing. SIGURG, which a local server sends when it finds a worker, makes a kept one become what
// that server would start: scripts are not touched. If it is that already, it writes its log where
// that server writes its own. Gives the exit code.
// Thread: the main one; no other may be running, and signals are blocked from here on.
[[nodiscard]] base::Result<int> run_worker(const WorkerOptions& options);

}  // namespace rq::worker
