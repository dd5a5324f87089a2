#pragma once
// All verbs, each declared by its own file, and what more than one of them shows.
#include <functional>
#include <string>

#include "cli/tries.h"
#include "cli/verb.h"

namespace rq::cli {

Action declare_server(CLI::App& app, Context& context);
Action declare_worker(CLI::App& app, Context& context);

Action declare_put(CLI::App& app, Context& context);
Action declare_run(CLI::App& app, Context& context);
Action declare_exec_payload(CLI::App& app, Context& context);

Action declare_show(CLI::App& app, Context& context);
Action declare_why(CLI::App& app, Context& context);
Action declare_list(CLI::App& app, Context& context);
Action declare_tail(CLI::App& app, Context& context);
Action declare_stats(CLI::App& app, Context& context);
Action declare_top(CLI::App& app, Context& context);
Action declare_events(CLI::App& app, Context& context);

Action declare_retry(CLI::App& app, Context& context);
Action declare_requeue(CLI::App& app, Context& context);
Action declare_run_now(CLI::App& app, Context& context);
Action declare_commit(CLI::App& app, Context& context);
Action declare_cancel(CLI::App& app, Context& context);
Action declare_kill(CLI::App& app, Context& context);
Action declare_clone(CLI::App& app, Context& context);
Action declare_move(CLI::App& app, Context& context);
Action declare_priority(CLI::App& app, Context& context);
Action declare_remove(CLI::App& app, Context& context);

Action declare_queue_create(CLI::App& app, Context& context);
Action declare_queue_list(CLI::App& app, Context& context);
Action declare_queue_show(CLI::App& app, Context& context);
Action declare_queue_set(CLI::App& app, Context& context);
Action declare_queue_pause(CLI::App& app, Context& context);
Action declare_queue_resume(CLI::App& app, Context& context);
Action declare_queue_drain(CLI::App& app, Context& context);
Action declare_queue_down(CLI::App& app, Context& context);
Action declare_queue_delete(CLI::App& app, Context& context);

Action declare_doctor(CLI::App& app, Context& context);
Action declare_version(CLI::App& app, Context& context);
Action declare_completion(CLI::App& app, Context& context);

// --- Shared ---
// Of GET /v1/queues. `width`: of the terminal. `tries`: of each queue, the messages that wait for
// another try.
[[nodiscard]] Table table_of_queues(const json::value& answer, Table::Long fit,
                                    std::optional<std::size_t> width, const Tries& tries = {});

// Follows a message to its end. `log`: its output, as it comes, to standard output.
class OutputsReader;

struct FollowOptions {
  bool log = false;
  std::optional<std::int64_t> tail_lines{};  // only so many of what is there already
  std::optional<std::int64_t> from{};        // or from this byte on
  enum class Changes : std::uint8_t { none, progress, all };  // all: those of the state, too
  Changes changes = Changes::none;                            // that standard error shows
  bool bare = false;               // without the line that opens each attempt's log
  OutputsReader* apart = nullptr;  // prints what it gets; the log what it does not
  std::string_view why{};  // the verb that says, on standard error, why the message does not run
  std::optional<base::Millis> longest{};  // then it is timed_out; the message goes on
};
// --wait-timeout, of a verb that follows.
void add_wait_timeout(CLI::App& app, std::optional<base::Millis>& into);
// The message as it ended. A server that restarts meanwhile is waited for.
[[nodiscard]] base::Result<json::value> follow_message(Context& context, const std::string& id,
                                                       const FollowOptions& options);
// The same for one that `put` puts into this queue and gives the id of, be it gone as soon as it is
// finished: then what is known of its end is what the events have told.
[[nodiscard]] base::Result<json::value> put_and_follow(
    Context& context, const std::string& queue, const FollowOptions& options,
    const std::function<base::Result<std::string>()>& put);
// 0: done or relayed. `own`: the exit code of its program where there is one; else 1.
[[nodiscard]] base::Result<int> exit_code_of(Context& context, const json::value& message,
                                             bool own);

// The completion scripts, from the table of verbs.
[[nodiscard]] std::string bash_completion();
[[nodiscard]] std::string zsh_completion();

}  // namespace rq::cli
