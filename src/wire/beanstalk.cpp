#include "wire/beanstalk.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>

#include "base/check.h"
#include "base/number.h"

namespace rq::wire::beanstalk {
namespace {

constexpr std::string_view kCrlf = "\r\n";

constexpr std::array<std::string_view, kVerbCount> kWords{"put",
                                                          "use",
                                                          "reserve",
                                                          "reserve-with-timeout",
                                                          "reserve-job",
                                                          "delete",
                                                          "release",
                                                          "bury",
                                                          "touch",
                                                          "watch",
                                                          "ignore",
                                                          "peek",
                                                          "peek-ready",
                                                          "peek-delayed",
                                                          "peek-buried",
                                                          "kick",
                                                          "kick-job",
                                                          "stats",
                                                          "stats-job",
                                                          "stats-tube",
                                                          "list-tubes",
                                                          "list-tube-used",
                                                          "list-tubes-watched",
                                                          "pause-tube",
                                                          "quit"};

constexpr std::array<bool, 256> make_name_table() {
  std::array<bool, 256> table{};
  for (const char c : std::string_view{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                       "0123456789-+/;.$_()"}) {
    table[static_cast<unsigned char>(c)] = true;
  }
  return table;
}
constexpr std::array<bool, 256> kNameBytes = make_name_table();

// Reads the arguments of a line from left to right, as beanstalkd does: spaces, then digits.
class Arguments {
 public:
  explicit Arguments(std::string_view rest) : rest_(rest) {}

  template <typename Number>
  [[nodiscard]] bool number(Number& value) {
    skip_spaces();
    if (rest_.empty() || rest_.front() < '0' || rest_.front() > '9') return false;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc{}) return false;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return true;
  }
  [[nodiscard]] bool tube(std::string_view& name) {
    skip_spaces();
    name = rest_.substr(0, rest_.find(' '));
    rest_.remove_prefix(name.size());
    return is_tube_name(name);
  }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }

 private:
  void skip_spaces() {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
  }
  std::string_view rest_;
};

// Where the line ends; nothing when its CR LF is not there within `bound` bytes.
std::optional<std::size_t> find_line(std::string_view in, std::size_t bound) {
  const std::size_t size = std::min(in.size(), bound);
  std::size_t from = 0;
  while (from + 1 < size) {
    const void* at = std::memchr(in.data() + from, '\r', size - from - 1);
    if (at == nullptr) return std::nullopt;
    const auto index = static_cast<std::size_t>(static_cast<const char*>(at) - in.data());
    if (in[index + 1] == '\n') return index;
    from = index + 1;
  }
  return std::nullopt;
}

struct Form {
  std::string_view start;  // of the line
  Verb verb;
};
// In the order in which beanstalkd tries them: the first whose start fits is meant.
constexpr std::array<Form, 25> kForms{{{"put ", Verb::put},
                                       {"peek ", Verb::peek},
                                       {"peek-ready", Verb::peek_ready},
                                       {"peek-delayed", Verb::peek_delayed},
                                       {"peek-buried", Verb::peek_buried},
                                       {"reserve-with-timeout ", Verb::reserve_with_timeout},
                                       {"reserve-job ", Verb::reserve_job},
                                       {"reserve", Verb::reserve},
                                       {"delete ", Verb::remove},
                                       {"release ", Verb::release},
                                       {"bury ", Verb::bury},
                                       {"kick ", Verb::kick},
                                       {"kick-job ", Verb::kick_job},
                                       {"touch ", Verb::touch},
                                       {"stats-job ", Verb::stats_job},
                                       {"stats-tube ", Verb::stats_tube},
                                       {"stats", Verb::stats},
                                       {"use ", Verb::use},
                                       {"watch ", Verb::watch},
                                       {"ignore ", Verb::ignore},
                                       {"list-tubes-watched", Verb::list_tubes_watched},
                                       {"list-tube-used", Verb::list_tube_used},
                                       {"list-tubes", Verb::list_tubes},
                                       {"quit", Verb::quit},
                                       {"pause-tube", Verb::pause_tube}}};

const Form* form_of(std::string_view line) {
  if (line.empty()) return nullptr;
  for (const Form& form : kForms) {
    if (form.start.front() == line.front() && line.starts_with(form.start)) return &form;
  }
  return nullptr;
}

// The arguments of all verbs but put. False: BAD_FORMAT.
bool read_arguments(Request& request, std::string_view rest) {
  Arguments arguments(rest);
  switch (request.verb) {
    case Verb::reserve:
    case Verb::peek_ready:
    case Verb::peek_delayed:
    case Verb::peek_buried:
    case Verb::stats:
    case Verb::list_tubes:
    case Verb::list_tube_used:
    case Verb::list_tubes_watched:
      return rest.empty();
    case Verb::quit:
      return rest.find('\0') == std::string_view::npos;  // beanstalkd reads no further than quit
    case Verb::reserve_with_timeout:
      return arguments.number(request.timeout_s) && arguments.at_end() &&
             request.timeout_s <= std::numeric_limits<std::int32_t>::max();
    case Verb::reserve_job:
    case Verb::remove:
    case Verb::touch:
    case Verb::peek:
    case Verb::kick_job:
    case Verb::stats_job:
      return arguments.number(request.id) && arguments.at_end();
    case Verb::release:
      return arguments.number(request.id) && arguments.number(request.priority) &&
             arguments.number(request.delay_s) && arguments.at_end();
    case Verb::bury:
      return arguments.number(request.id) && arguments.number(request.priority) &&
             arguments.at_end();
    case Verb::kick:
      return arguments.number(request.bound) && arguments.at_end();
    case Verb::use:
    case Verb::watch:
    case Verb::ignore:
    case Verb::stats_tube:
      request.tube = rest;
      return is_tube_name(rest);
    case Verb::pause_tube:
      return !rest.empty() && rest.front() == ' ' && arguments.tube(request.tube) &&
             arguments.number(request.delay_s) && arguments.at_end();
    case Verb::put:
      break;
  }
  RQ_CHECK(request.verb != Verb::put);
  return false;
}

void append_line(std::string& out, std::string_view word, std::uint64_t value) {
  out.append(word);
  base::append_number(out, value);
  out.append(kCrlf);
}

void append_body(std::string& out, std::string_view word, std::uint64_t id, std::string_view body) {
  out.append(word);
  base::append_number(out, id);
  out.push_back(' ');
  base::append_number(out, body.size());
  out.append(kCrlf);
  out.append(body);
  out.append(kCrlf);
}

// A line that is no command: does a browser send it, or a client of HTTPS? A web page must not be
// able to send commands in the body of a request.
bool is_other_protocol(std::string_view line) {
  constexpr std::string_view kHost = "host:";
  constexpr std::string_view kVersion = " HTTP/";
  constexpr std::string_view kTlsHandshake = "\x16\x03";
  const bool host = line.size() >= kHost.size() &&
                    std::equal(kHost.begin(), kHost.end(), line.begin(), [](char a, char b) {
                      return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
                    });
  return host || line.starts_with(kTlsHandshake) || line.find(kVersion) != std::string_view::npos;
}
// The start of a line that is longer than any command: its end, with the version, is not seen.
bool starts_other_protocol(std::string_view start) {
  const std::size_t method = start.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
  return is_other_protocol(start) ||
         (method != 0 && method != std::string_view::npos && start[method] == ' ');
}

Parser::Step complain(Complaint complaint, std::size_t consumed) {
  Parser::Step step;
  step.kind = Parser::Step::Kind::complaint;
  step.complaint = complaint;
  step.consumed = consumed;
  return step;
}

// beanstalkd counts such a put.
Parser::Step complain_of_put(Complaint complaint, std::size_t consumed) {
  Parser::Step step = complain(complaint, consumed);
  step.good_put = true;
  return step;
}

Parser::Step more(std::size_t consumed, std::size_t wanted) {
  Parser::Step step;
  step.consumed = consumed;
  step.wanted = wanted;
  return step;
}

}  // namespace

std::string_view word_of(Verb verb) { return kWords.at(static_cast<std::size_t>(verb)); }

bool is_tube_name(std::string_view name) {
  if (name.empty() || name.size() > kTubeBytesMax || name.front() == '-') return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return kNameBytes[static_cast<unsigned char>(c)]; });
}

Parser::Step Parser::next(std::string_view in) {
  if (over_) return more(in.size(), 1);
  if (skip_bytes_ > 0) return skip(in);
  if (skip_line_) return skip_line(in);
  const auto end = find_line(in, kLineBytesMax);
  if (!end) {
    if (in.size() < kLineBytesMax) return more(0, in.size() + 1);
    if (starts_other_protocol(in.substr(0, kLineBytesMax))) {
      return end_of_stream(in);
    }
    skip_line_ = true;
    return skip_line(in);
  }
  return line(in.substr(0, *end), in);
}

Parser::Step Parser::skip(std::string_view in) {
  const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(skip_bytes_, in.size()));
  skip_bytes_ -= now;
  return skip_bytes_ > 0 ? more(now, 1) : complain_of_put(Complaint::job_too_big, now);
}

Parser::Step Parser::skip_line(std::string_view in) {
  if (const auto end = find_line(in, in.size())) {
    skip_line_ = false;
    return complain(Complaint::bad_format, *end + kCrlf.size());
  }
  const std::size_t kept = !in.empty() && in.back() == '\r' ? 1 : 0;
  return more(in.size() - kept, kept + 1);
}

Parser::Step Parser::line(std::string_view text, std::string_view in) {
  Step step = command(text, in);
  const bool refused =
      step.kind == Step::Kind::complaint &&
      (step.complaint == Complaint::bad_format || step.complaint == Complaint::unknown_command);
  return refused && is_other_protocol(text) ? end_of_stream(in) : step;
}

Parser::Step Parser::end_of_stream(std::string_view in) {
  over_ = true;
  return complain(Complaint::other_protocol, in.size());
}

Parser::Step Parser::command(std::string_view text, std::string_view in) {
  const std::size_t line_bytes = text.size() + kCrlf.size();
  const Form* form = form_of(text);
  if (form == nullptr) {
    const bool nul = text.find('\0') != std::string_view::npos;
    return complain(nul ? Complaint::bad_format : Complaint::unknown_command, line_bytes);
  }
  const std::string_view rest = text.substr(form->start.size());
  if (form->verb == Verb::put) return put(rest, line_bytes, in);
  Step step;
  step.kind = Step::Kind::request;
  step.consumed = line_bytes;
  step.request.verb = form->verb;
  if (!read_arguments(step.request, rest)) return complain(Complaint::bad_format, line_bytes);
  return step;
}

Parser::Step Parser::put(std::string_view rest, std::size_t line_bytes, std::string_view in) {
  Step step;
  step.request.verb = Verb::put;
  std::uint64_t body_bytes = 0;
  Arguments arguments(rest);
  if (!arguments.number(step.request.priority) || !arguments.number(step.request.delay_s) ||
      !arguments.number(step.request.ttr_s) || !arguments.number(body_bytes) ||
      body_bytes > std::numeric_limits<std::uint64_t>::max() - kCrlf.size() ||
      rest.find('\0') != std::string_view::npos) {
    return complain(Complaint::bad_format, line_bytes);
  }
  if (body_bytes > body_bytes_max_) {
    skip_bytes_ = body_bytes + kCrlf.size();
    Step skipped = skip(in.substr(line_bytes));
    skipped.consumed += line_bytes;
    return skipped;
  }
  if (!arguments.at_end()) return complain_of_put(Complaint::bad_format, line_bytes);
  const auto size = static_cast<std::size_t>(body_bytes);
  const std::size_t whole = line_bytes + size + kCrlf.size();
  if (in.size() < whole) return more(0, whole);
  if (in.substr(line_bytes + size, kCrlf.size()) != kCrlf) {
    return complain_of_put(Complaint::expected_crlf, whole);
  }
  step.kind = Step::Kind::request;
  step.consumed = whole;
  step.request.ttr_s = std::max<std::uint32_t>(step.request.ttr_s, 1);
  step.request.body = in.substr(line_bytes, size);
  return step;
}

void append_request(std::string& out, const Request& request) {
  const auto number = [&out](std::uint64_t value) {
    out.push_back(' ');
    base::append_number(out, value);
  };
  const auto name = [&out, &request] {
    out.push_back(' ');
    out.append(request.tube);
  };
  out.append(word_of(request.verb));
  switch (request.verb) {
    case Verb::put:
      number(request.priority);
      number(request.delay_s);
      number(request.ttr_s);
      number(request.body.size());
      out.append(kCrlf);
      out.append(request.body);
      break;
    case Verb::reserve_with_timeout:
      number(request.timeout_s);
      break;
    case Verb::reserve_job:
    case Verb::remove:
    case Verb::touch:
    case Verb::peek:
    case Verb::kick_job:
    case Verb::stats_job:
      number(request.id);
      break;
    case Verb::release:
      number(request.id);
      number(request.priority);
      number(request.delay_s);
      break;
    case Verb::bury:
      number(request.id);
      number(request.priority);
      break;
    case Verb::kick:
      number(request.bound);
      break;
    case Verb::pause_tube:
      name();
      number(request.delay_s);
      break;
    case Verb::use:
    case Verb::watch:
    case Verb::ignore:
    case Verb::stats_tube:
      name();
      break;
    case Verb::reserve:
    case Verb::peek_ready:
    case Verb::peek_delayed:
    case Verb::peek_buried:
    case Verb::stats:
    case Verb::list_tubes:
    case Verb::list_tube_used:
    case Verb::list_tubes_watched:
    case Verb::quit:
      break;
  }
  out.append(kCrlf);
}

std::string_view line_of(Complaint complaint) {
  switch (complaint) {
    case Complaint::bad_format:
      return "BAD_FORMAT\r\n";
    case Complaint::unknown_command:
      return "UNKNOWN_COMMAND\r\n";
    case Complaint::expected_crlf:
      return "EXPECTED_CRLF\r\n";
    case Complaint::job_too_big:
      return "JOB_TOO_BIG\r\n";
    case Complaint::other_protocol:
      return "";
  }
  return "INTERNAL_ERROR\r\n";
}

void append_inserted(std::string& out, std::uint64_t id) { append_line(out, "INSERTED ", id); }
void append_reserved(std::string& out, std::uint64_t id, std::string_view body) {
  append_body(out, "RESERVED ", id, body);
}
void append_found(std::string& out, std::uint64_t id, std::string_view body) {
  append_body(out, "FOUND ", id, body);
}
void append_using(std::string& out, std::string_view tube) {
  out.append("USING ").append(tube).append(kCrlf);
}
void append_watching(std::string& out, std::uint64_t count) {
  append_line(out, "WATCHING ", count);
}
void append_kicked(std::string& out, std::uint64_t count) { append_line(out, "KICKED ", count); }
void append_ok(std::string& out, std::string_view data) {
  append_line(out, "OK ", data.size());
  out.append(data).append(kCrlf);
}

Yaml& Yaml::entry(std::string_view key, std::int64_t value) {
  std::array<char, 24> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  RQ_CHECK(error == std::errc{});
  return entry(key, std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data())));
}
Yaml& Yaml::entry(std::string_view key, std::string_view plain) {
  text_.append(key).append(": ").append(plain).push_back('\n');
  return *this;
}
Yaml& Yaml::quoted(std::string_view key, std::string_view text) {
  text_.append(key).append(": \"").append(text).append("\"\n");
  return *this;
}
Yaml& Yaml::item(std::string_view text) {
  text_.append("- ").append(text).push_back('\n');
  return *this;
}

}  // namespace rq::wire::beanstalk
