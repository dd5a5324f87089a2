#pragma once
// The environment of a script: RQ's variables, the few of the worker's own that every program
// needs, and what the queue sets. Nothing else of the worker's environment gets through.
#include <string>
#include <string_view>
#include <vector>

#include "core/queue.h"
#include "worker/messages.h"

namespace rq::worker {

using Environment = std::vector<std::string>;  // "NAME=value"

// Of all messages of a queue: PATH HOME USER LOGNAME SHELL LANG LC_* TZ TMPDIR and `env_allow` from
// `own` ("NAME=value", ends with nullptr), then env_vars but those named RQ_*.
// `user_home`: of the user that the script runs as; empty: the worker's own.
struct ScriptUser {
  std::string name, home, shell;
};
[[nodiscard]] Environment queue_environment(const core::QueueSettings& settings,
                                            const char* const* own, const ScriptUser& user);

// What does not change while the worker runs.
struct WorkerFacts {
  std::string name;
  std::string base_url;  // of the server, with a slash at its end; "/": it has no HTTP address
  std::string dir;       // RQ_DIR; empty: the server is elsewhere
  std::string server;    // RQ_SERVER of scripts that run as the worker's own user
  std::string version;
  std::string env;  // RQ_ENV
};
struct AttemptFacts {
  std::string script;  // as configured
  std::string real_script;
  std::string job_dir;
  std::string cookie;       // "RQ_RUN=...": marks all processes of the attempt
  bool other_user = false;  // than the worker's: a unix socket is not for it
};
[[nodiscard]] Environment message_environment(const Environment& of_queue,
                                              const WorkerFacts& worker,
                                              const AttemptFacts& attempt,
                                              const LeasedMessage& message);

// The id with host and queue, as RQ writes it.
[[nodiscard]] std::string full_id(std::string_view base_url, std::string_view queue,
                                  std::string_view id);

}  // namespace rq::worker
