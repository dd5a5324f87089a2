#pragma once
// The one table of error codes: HTTP takes the status, the command line the exit code. A door that
// speaks a foreign protocol maps the codes to the words of that protocol itself.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace rq::base {

enum class Code : std::uint8_t {
  bad_request,         // the request itself cannot be read (syntax, framing, encoding)
  bad_value,           // a field has a value that is not allowed
  bad_name,            // a queue or worker name breaks the rules for names
  unknown_field,       // a field that does not exist was sent
  too_large,           // a bound is passed by one thing
  too_many,            // a bound is passed by a number of things
  not_found,           // no such message, queue or route
  method_not_allowed,  // the route exists, not with this method
  exists,              // it is there already, and different
  wrong_state,         // the message or queue is in a state that does not allow this
  lease_lost,          // the fencing token is not (or no longer) the live one
  queue_down,          // the queue refuses this in its admin state
  queue_full,          // the queue holds as many messages as its settings allow
  forbidden,           // not allowed (host check, address)
  unsupported,         // a content type or encoding that rq does not speak
  timed_out,           // nothing happened within the time asked for
  draining,            // the server takes no new work
  busy,                // a mailbox is full: come back later
  disk_full,           // no room to store it; nothing was changed
  unknown_outcome,     // the store failed in the commit: it may or may not be done; repeat it
  unreachable,         // no server there (clients only)
  internal,            // a fault with no better name
};
inline constexpr int kCodeCount = static_cast<int>(Code::internal) + 1;

enum class Kind : std::uint8_t { refusal, fault };

struct CodeRow {
  Code code;
  std::string_view name;  // in JSON, logs and docs
  Kind kind;
  int http_status;
  int exit_code;  // of the command line; 124 as of timeout(1)
};

// All rows, in the order of the enum.
[[nodiscard]] std::span<const CodeRow> code_table();
[[nodiscard]] const CodeRow& row_of(Code code);
[[nodiscard]] inline std::string_view name_of(Code code) { return row_of(code).name; }
[[nodiscard]] std::optional<Code> code_of(std::string_view name);

// What went wrong, with which value; and what to do about it.
struct [[nodiscard]] Error {
  Code code = Code::internal;
  std::string message;  // "queue 'a/b': '/' is not allowed in a name"
  std::string remedy;   // "use letters, digits, . _ - :"; may be empty
};

[[nodiscard]] inline bool is_fault(const Error& error) {
  return row_of(error.code).kind == Kind::fault;
}

}  // namespace rq::base
