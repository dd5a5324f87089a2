#pragma once
// The rules of completion: what a script said on fd 3 and how it ended, as an outcome of
// /v1/finish. docs/SCRIPTS.md shows the same table; a test walks it.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/queue.h"
#include "worker/supervisor.h"

namespace rq::worker {

struct Verdict {
  std::string_view outcome;  // done relayed err failed timed_out resend stopped lost
  std::string reason;        // status text: UTF-8, bounded
  std::int64_t delay_s = 0;  // resend
};
// `success`: what an exit with 0 means for a script that has not said how it ended.
[[nodiscard]] Verdict verdict_of(const Ended& ended, core::Success success);

// May the message run again after this? Then nothing of the attempt may be left before it is told.
[[nodiscard]] bool may_run_again(std::string_view outcome);

// The post-mortem as in docs/API.md, a JSON object.
struct ScriptVersion {
  std::string_view path;
  std::string_view sha256;
};
[[nodiscard]] std::string post_mortem_of(const Ended& ended, const ScriptVersion& script);

// Valid UTF-8 of at most `bytes_max`: what is not UTF-8 becomes U+FFFD. Keeps the start, or the
// end.
enum class Keep : std::uint8_t { start, end };
[[nodiscard]] std::string clean_text(std::string_view text, std::size_t bytes_max, Keep keep);

}  // namespace rq::worker
