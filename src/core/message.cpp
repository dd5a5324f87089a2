#include "core/message.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <array>
#include <charconv>

#include "base/limits.h"
#include "base/names.h"
#include "base/number.h"
#include "base/utf8.h"
#include "core/name.h"

namespace rq::core {
namespace {

using base::Code;
using base::fail;

constexpr std::array<std::string_view, kStateCount> kStates{
    "prep", "scheduled", "throttled", "depends", "que",
    "run",  "done",      "relayed",   "err",     "cancelled"};
constexpr std::array<std::string_view, 7> kMarks{"none",   "failed", "timed_out", "lost",
                                                 "killed", "held",   "exhausted"};

constexpr std::array<std::string_view, 3> kStops{"none", "cancel", "kill"};

std::optional<std::int64_t> whole_number(std::string_view text) {
  return base::whole_number<std::int64_t>(text);
}

// Digits only.
std::optional<std::int64_t> part(std::string_view text) {
  if (text.starts_with('-')) return {};
  return whole_number(text);
}

base::Error bad_id(std::string_view text) {
  return fail(Code::bad_value, fmt::format("'{}' is not a message id", base::shown(text)),
              fmt::format("write YYYYMMDD.HHMM.SS.mmm.N as rq prints it, the number N alone, or "
                          "key:KEY{}",
                          check_queue_name(text)
                              ? fmt::format("; of a queue: rq list {0}, rq queue show {0}", text)
                              : ""));
}

}  // namespace

std::string_view name_of(State state) { return base::name_in(kStates, state); }
std::optional<State> state_of(std::string_view name) {
  return base::value_of<State>(kStates, name);
}
std::string_view name_of(Mark mark) { return base::name_in(kMarks, mark); }
std::optional<Mark> mark_of(std::string_view name) { return base::value_of<Mark>(kMarks, name); }
std::string_view name_of(StopRequest stop) { return base::name_in(kStops, stop); }
std::optional<StopRequest> stop_of(std::string_view name) {
  return base::value_of<StopRequest>(kStops, name);
}
std::string to_string(StateSet states) {
  std::string text;
  for (int i = 0; i < kStateCount; ++i) {
    const auto state = static_cast<State>(i);
    if (!states.has(state)) continue;
    if (!text.empty()) text += ", ";
    text += name_of(state);
  }
  return text;
}

std::string to_string(const Token& token) {
  return fmt::format(FMT_COMPILE("{}.{}.{}"), token.seq, token.attempt, token.boot);
}

base::Result<Token> parse_token(std::string_view text) {
  const auto first = text.find('.');
  const auto second = first == std::string_view::npos ? first : text.find('.', first + 1);
  if (second != std::string_view::npos) {
    const auto seq = whole_number(text.substr(0, first));
    const auto attempt = whole_number(text.substr(first + 1, second - first - 1));
    const auto boot = whole_number(text.substr(second + 1));
    if (seq && attempt && boot && *seq > 0 && *attempt > 0 && *boot > 0) {
      return Token{.seq = *seq, .attempt = *attempt, .boot = *boot};
    }
  }
  return fail(Code::bad_value, fmt::format("'{}' is not a token", base::shown(text)),
              "send the token of the lease as /v1/reserve gave it");
}

const Details& Message::detail_or_default() const {
  static const Details kDefault;
  return details ? *details : kDefault;
}

Message Message::copy() const {
  Message m;
  m.seq = seq;
  m.queue = queue;
  m.state = state;
  m.mark = mark;
  m.priority = priority;
  m.created = created;
  m.due = due;
  m.order = order;
  m.finished = finished;
  m.attempts = attempts;
  m.failures = failures;
  m.losses = losses;
  m.count = count;
  m.max_count = max_count;
  m.payload = payload;
  m.lease_length = lease_length;
  if (details) m.details = std::make_unique<Details>(*details);
  if (lease) m.lease = std::make_unique<Lease>(*lease);
  return m;
}

std::string format_id(Seq seq, Instant created) {
  const auto day = std::chrono::floor<std::chrono::days>(created);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{created - day};
  std::array<char, 48> text{};
  char* at = base::write_digits(text.data(), static_cast<int>(date.year()), 4);
  at = base::write_digits(at, static_cast<unsigned>(date.month()), 2);
  at = base::write_digits(at, static_cast<unsigned>(date.day()), 2);
  *at++ = '.';
  at = base::write_digits(at, clock.hours().count(), 2);
  at = base::write_digits(at, clock.minutes().count(), 2);
  *at++ = '.';
  at = base::write_digits(at, clock.seconds().count(), 2);
  *at++ = '.';
  at = base::write_digits(at, clock.subseconds().count(), 3);
  *at++ = '.';
  at = std::to_chars(at, text.data() + text.size(), seq).ptr;
  return {text.data(), at};
}

base::Result<ParsedId> parse_id(std::string_view text) {
  if (const auto seq = whole_number(text)) {
    if (*seq <= 0) return bad_id(text);
    return ParsedId{.seq = *seq, .created = std::nullopt};
  }
  // YYYYMMDD.HHMM.SS.mmm.N
  constexpr std::size_t kFixed = 8 + 1 + 4 + 1 + 2 + 1 + 3 + 1;
  if (text.size() <= kFixed || text[8] != '.' || text[13] != '.' || text[16] != '.' ||
      text[20] != '.') {
    return bad_id(text);
  }
  const auto year = part(text.substr(0, 4));
  const auto month = part(text.substr(4, 2));
  const auto day = part(text.substr(6, 2));
  const auto hour = part(text.substr(9, 2));
  const auto minute = part(text.substr(11, 2));
  const auto second = part(text.substr(14, 2));
  const auto milli = part(text.substr(17, 3));
  const auto seq = part(text.substr(kFixed));
  if (!year || !month || !day || !hour || !minute || !second || !milli || !seq || *seq <= 0) {
    return bad_id(text);
  }
  const std::chrono::year_month_day date{std::chrono::year{static_cast<int>(*year)},
                                         std::chrono::month{static_cast<unsigned>(*month)},
                                         std::chrono::day{static_cast<unsigned>(*day)}};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 59) return bad_id(text);
  const Instant created = std::chrono::sys_days{date} + std::chrono::hours{*hour} +
                          std::chrono::minutes{*minute} + std::chrono::seconds{*second} +
                          Millis{*milli};
  return ParsedId{.seq = *seq, .created = created};
}

std::string full_id(std::string_view host, std::string_view queue, const Message& m) {
  return fmt::format("{}q/{}/{}", host, queue, format_id(m));
}

}  // namespace rq::core
