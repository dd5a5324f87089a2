#pragma once
// The message: the unit of work, with every field that RQ and its relatives need.
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace rq::core {

using base::Instant;
using base::Millis;

using Seq = std::int64_t;      // global sequence number, from 1; order of arrival; never reused
using QueueId = std::int64_t;  // row id of a queue
using Boot = std::int64_t;     // one for each open() of the store; never used twice

// The states of design.md §2. Held is not among them: it is err with a mark.
enum class State : std::uint8_t {
  prep,       // being put together; not yet work
  scheduled,  // waits for its due time
  throttled,  // waits for a slot of a throttle
  depends,    // waits for other messages
  que,        // ready to be leased
  run,        // leased
  done,
  relayed,  // handed to another machine
  err,
  cancelled,
};
inline constexpr int kStateCount = static_cast<int>(State::cancelled) + 1;
[[nodiscard]] std::string_view name_of(State state);
[[nodiscard]] std::optional<State> state_of(std::string_view name);
[[nodiscard]] constexpr bool is_finished(State s) {
  return s == State::done || s == State::relayed || s == State::err || s == State::cancelled;
}
// Some of the states.
class StateSet {
 public:
  constexpr StateSet() = default;
  constexpr StateSet(std::initializer_list<State> states) {
    for (const State state : states) add(state);
  }
  constexpr void add(State state) { bits_ |= bit(state); }
  [[nodiscard]] constexpr bool has(State state) const { return (bits_ & bit(state)) != 0; }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  // Those that are in both.
  [[nodiscard]] constexpr StateSet common(StateSet other) const {
    other.bits_ &= bits_;
    return other;
  }
  friend bool operator==(const StateSet&, const StateSet&) = default;

 private:
  [[nodiscard]] static constexpr std::uint32_t bit(State state) {
    return 1U << static_cast<unsigned>(state);
  }
  std::uint32_t bits_ = 0;
};
[[nodiscard]] std::string to_string(StateSet states);  // "done, err"

// Why the last attempt, or the message, ended; also marks err as held.
enum class Mark : std::uint8_t {
  none,
  failed,     // the script said err, or exited badly
  timed_out,  // stopped at its time limit
  lost,       // leases lost too often
  killed,     // by an operator
  held,       // set aside by its worker, until somebody sends it on
  exhausted,  // max_count or the retry limit is used up
};
[[nodiscard]] std::string_view name_of(Mark mark);
[[nodiscard]] std::optional<Mark> mark_of(std::string_view name);

enum class BackoffKind : std::uint8_t { fixed, exponential };
struct Backoff {
  BackoffKind kind = BackoffKind::exponential;
  Millis base{15'000};
  Millis max{3'600'000};
  int jitter_percent = 20;  // the delay is drawn from [d - j%, d + j%]
  friend bool operator==(const Backoff&, const Backoff&) = default;
};

using TextPairs = std::vector<std::pair<std::string, std::string>>;  // in the order given

// What most messages do not have. Allocated only when one of these is set.
struct Details {
  std::string key;   // client key; unique over all queues while the message exists
  std::string dest;  // as given by the sender, RQ's word
  std::string src;
  std::string orig_id;      // full id of the first message in a chain; empty: it is this one
  std::string cloned_from;  // id
  std::string dup_of;       // full id
  std::string param1, param2, param3, param4;
  std::string content_type;  // of the payload; empty: application/octet-stream
  bool force_remote = false;
  std::vector<std::string> tags;  // in the order given, no duplicates
  TextPairs headers;
  std::vector<std::string> webhooks;  // URLs told when the message ends
  // Overrides of the queue's settings.
  std::optional<std::int64_t> retries;
  std::optional<Backoff> backoff;
  std::optional<Millis> timeout;
  // What the attempts left.
  std::string progress;  // RQ's status text
  std::string result;    // JSON or text, from done
  std::string folder;    // of the message below the server's directory; empty: it has none
  friend bool operator==(const Details&, const Details&) = default;
};

// One worker's exclusive, time-limited right to a message.
// Invariant: a message in State::run has exactly one.
enum class LeaseEnd : std::uint8_t {
  deadline,    // at `until`
  connection,  // also when the connection that took it ends, or the server restarts
};
enum class StopRequest : std::uint8_t { none, cancel, kill };
[[nodiscard]] std::string_view name_of(StopRequest stop);
[[nodiscard]] std::optional<StopRequest> stop_of(std::string_view name);
struct Lease {
  std::int64_t attempt = 0;  // 1 for the first
  Boot boot = 0;             // of the server that granted it
  Instant since{};
  Instant until{};
  Millis length{};  // what a heartbeat extends it by
  LeaseEnd end = LeaseEnd::deadline;
  StopRequest stop = StopRequest::none;
  std::string worker;    // who has it; may be empty
  std::string progress;  // text so far
  friend bool operator==(const Lease&, const Lease&) = default;
};

// The fencing token: message, attempt, boot. Written "123.1.7" outside.
struct Token {
  Seq seq = 0;
  std::int64_t attempt = 0;
  Boot boot = 0;
  friend bool operator==(const Token&, const Token&) = default;
};
[[nodiscard]] std::string to_string(const Token& token);
[[nodiscard]] base::Result<Token> parse_token(std::string_view text);

struct Message {
  Seq seq = 0;
  QueueId queue = 0;
  State state = State::que;
  Mark mark = Mark::none;
  std::int64_t priority = 0;  // larger first
  Instant created{};
  Instant due{};  // not before; created when it may run at once
  // Within its priority, smaller first: the due time in ms; 0 in queues made on demand, whose order
  // is the number alone; minus the time of a run_now.
  std::int64_t order = 0;
  Instant finished{};         // epoch while not finished
  std::int32_t attempts = 0;  // ended leases
  std::int32_t failures = 0;  // of them, those that count against retries
  std::int32_t losses = 0;    // of them, lost leases since the last orderly end
  std::int32_t count = 0;     // RQ: resends so far
  std::int32_t max_count = 15;
  std::string payload;
  // Overrides the queue's lease. Not among the details, since whole classes of clients set it.
  std::optional<Millis> lease_length;
  std::unique_ptr<Details> details;  // null when all are at their defaults
  std::unique_ptr<Lease> lease;      // set exactly in State::run

  [[nodiscard]] Details& detail() {
    if (!details) details = std::make_unique<Details>();
    return *details;
  }
  // The details, or the defaults.
  [[nodiscard]] const Details& detail_or_default() const;
  [[nodiscard]] Message copy() const;  // deep
};

// "20261121.0021.54.865.123": creation time in UTC and sequence number, RQ's form. The number
// alone finds the row.
[[nodiscard]] std::string format_id(Seq seq, Instant created);
// "http://HOST:PORT/q/QUEUE/ID", as RQ writes it; `host` with a slash at its end.
[[nodiscard]] std::string full_id(std::string_view host, std::string_view queue, const Message& m);
[[nodiscard]] inline std::string format_id(const Message& m) { return format_id(m.seq, m.created); }
struct ParsedId {
  Seq seq = 0;
  std::optional<Instant> created;  // absent when only the number was given
};
// Takes the full form, or the bare number. bad_value otherwise.
[[nodiscard]] base::Result<ParsedId> parse_id(std::string_view text);

// One lease from start to end, with its post-mortem. Kept while the message is kept.
struct Attempt {
  Seq seq = 0;
  std::int64_t number = 0;  // 1 for the first
  std::string worker;
  Instant started{};
  Instant ended{};
  std::string outcome;      // done relayed err resend lost released timed_out killed cancelled ...
  std::string reason;       // status text
  std::string post_mortem;  // JSON object of the worker, as in docs/openapi; empty: none
};

}  // namespace rq::core
