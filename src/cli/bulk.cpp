#include "cli/bulk.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "cli/terminal.h"
#include "cli/text.h"

namespace rq::cli {
using base::Result;

namespace {

volatile std::sig_atomic_t interrupted = 0;
void on_interrupt(int /*signal*/) { interrupted = 1; }

// Ctrl-C is noted while it lives, and ends the program afterwards as before.
class Interruptible {
 public:
  Interruptible() {
    interrupted = 0;
    struct sigaction action {};
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGINT, &action, &before_);
  }
  ~Interruptible() { ::sigaction(SIGINT, &before_, nullptr); }
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  struct sigaction before_ {};
};

std::string progress_of(const json::value& job, std::string_view past) {
  const std::int64_t matched = count_at(job, "matched");
  if (text_at(job, "phase") == "counting") return fmt::format("{} found", show_count(matched));
  return fmt::format("{} of {} {}", show_count(count_at(job, "changed") + count_at(job, "refused")),
                     show_count(matched), past);
}

}  // namespace

Result<json::value> run_bulk(const Context& context, client::Client& client, json::object order,
                             std::string_view past) {
  const bool shows = !context.json && is_terminal(STDERR_FILENO);
  const Interruptible guard;
  order["wait_s"] = 0.5;
  RQ_TRY_ASSIGN(job, client.send("POST", "/v1/messages/bulk", {"job"}, order));
  const std::string path = fmt::format("/v1/bulk/{}", count_at(job, "job"));
  while (at(job, "ended").is_null()) {
    if (shows) std::fprintf(stderr, "\r\033[K%s", progress_of(job, past).c_str());
    auto next =
        interrupted != 0 ? client.remove(path, {"job"}) : client.get(path + "?wait_s=1", {"job"});
    if (!next) {
      if (shows) std::fputs("\n", stderr);
      return std::move(next).error();
    }
    job = *std::move(next);
  }
  if (shows) std::fputs("\r\033[K", stderr);
  if (const auto error = error_in(job)) return *error;
  return job;
}

}  // namespace rq::cli
