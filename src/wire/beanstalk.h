#pragma once
// The protocol of beanstalkd, version 1.13, as a pure codec: bytes in, requests out; values in,
// replies out. No socket, no clock. docs/PROTOCOLS.md shows it at work.
//
// A request is a line of at most kLineBytesMax bytes with its CR LF; `put` is followed by
// a body and another CR LF. Which error goes first is beanstalkd's own order: a `put` whose numbers
// cannot be read is BAD_FORMAT and its body is taken for commands; one that is too big swallows its
// body first; what stands behind the size makes it BAD_FORMAT only when it is not too big.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/limits.h"

namespace rq::wire::beanstalk {

inline constexpr std::size_t kLineBytesMax = 224;  // with CR LF: the protocol's bound
inline constexpr std::size_t kTubeBytesMax = 200;  // of a tube's name: the protocol's
static_assert(kLineBytesMax == sizeof("pause-tube  4294967295\r\n") - 1 + kTubeBytesMax);

enum class Verb : std::uint8_t {
  put,
  use,
  reserve,
  reserve_with_timeout,
  reserve_job,
  remove,  // "delete"
  release,
  bury,
  touch,
  watch,
  ignore,
  peek,
  peek_ready,
  peek_delayed,
  peek_buried,
  kick,
  kick_job,
  stats,
  stats_job,
  stats_tube,
  list_tubes,
  list_tube_used,
  list_tubes_watched,
  pause_tube,
  quit,
};
inline constexpr int kVerbCount = static_cast<int>(Verb::quit) + 1;
// The word on the wire.
[[nodiscard]] std::string_view word_of(Verb verb);

// What does not apply to the verb is 0 or empty. Views point into the bytes given to the parser.
struct Request {
  Verb verb = Verb::quit;
  std::uint64_t id = 0;
  std::uint32_t priority = 0;   // smaller first
  std::uint32_t delay_s = 0;    // put, release, pause-tube
  std::uint32_t ttr_s = 0;      // put; at least 1
  std::uint32_t timeout_s = 0;  // reserve-with-timeout
  std::uint64_t bound = 0;      // kick
  std::string_view tube;
  std::string_view body;
};

enum class Complaint : std::uint8_t {
  bad_format,
  unknown_command,
  expected_crlf,
  job_too_big,
  // HTTP or TLS: close. No request comes after it.
  other_protocol,
};

// Cuts a stream into requests. Keeps no bytes: what is not consumed must be given again, with more
// behind it. Any chunking of the same bytes gives the same steps.
class Parser {
 public:
  explicit Parser(std::size_t body_bytes_max = base::kPayloadBytesMax)
      : body_bytes_max_(body_bytes_max) {}

  struct Step {
    enum class Kind : std::uint8_t { more, request, complaint };
    Kind kind = Kind::more;
    Complaint complaint = Complaint::bad_format;
    std::size_t consumed = 0;  // drop so many bytes from the front, also when kind is more
    // kind more: the next step is worth trying when so many unconsumed bytes are there.
    std::size_t wanted = 1;
    Request request;
    bool good_put = false;  // a complaint about a put whose numbers could be read
  };
  [[nodiscard]] Step next(std::string_view in);

 private:
  [[nodiscard]] Step skip(std::string_view in);
  [[nodiscard]] Step end_of_stream(std::string_view in);
  [[nodiscard]] Step skip_line(std::string_view in);
  [[nodiscard]] Step line(std::string_view line, std::string_view in);
  [[nodiscard]] Step command(std::string_view line, std::string_view in);
  [[nodiscard]] Step put(std::string_view rest, std::size_t line_bytes, std::string_view in);

  std::size_t body_bytes_max_;
  std::uint64_t skip_bytes_ = 0;  // of a body that is too big
  bool skip_line_ = false;        // of a line that is too long
  bool over_ = false;             // after Complaint::other_protocol
};

// A name that may stand for a tube: letters, digits, - + / ; . $ _ ( ), not starting with '-'.
[[nodiscard]] bool is_tube_name(std::string_view name);

// The request as a client writes it; for tests and load generators.
void append_request(std::string& out, const Request& request);

// --- Replies ---
[[nodiscard]] std::string_view line_of(Complaint complaint);

inline constexpr std::string_view kNotFound = "NOT_FOUND\r\n";
inline constexpr std::string_view kDeleted = "DELETED\r\n";
inline constexpr std::string_view kReleased = "RELEASED\r\n";
inline constexpr std::string_view kBuried = "BURIED\r\n";
inline constexpr std::string_view kTouched = "TOUCHED\r\n";
inline constexpr std::string_view kKickedOne = "KICKED\r\n";
inline constexpr std::string_view kPaused = "PAUSED\r\n";
inline constexpr std::string_view kNotIgnored = "NOT_IGNORED\r\n";
inline constexpr std::string_view kTimedOut = "TIMED_OUT\r\n";
inline constexpr std::string_view kDeadlineSoon = "DEADLINE_SOON\r\n";
inline constexpr std::string_view kOutOfMemory = "OUT_OF_MEMORY\r\n";

void append_inserted(std::string& out, std::uint64_t id);
void append_reserved(std::string& out, std::uint64_t id, std::string_view body);
void append_found(std::string& out, std::uint64_t id, std::string_view body);
void append_using(std::string& out, std::string_view tube);
void append_watching(std::string& out, std::uint64_t count);
void append_kicked(std::string& out, std::uint64_t count);
void append_ok(std::string& out, std::string_view data);

// The YAML that stats and lists are written in.
class Yaml {
 public:
  Yaml& entry(std::string_view key, std::int64_t value);
  Yaml& entry(std::string_view key, std::string_view plain);
  Yaml& quoted(std::string_view key, std::string_view text);
  Yaml& item(std::string_view text);
  [[nodiscard]] std::string_view text() const { return text_; }

 private:
  std::string text_ = "---\n";
};

}  // namespace rq::wire::beanstalk
