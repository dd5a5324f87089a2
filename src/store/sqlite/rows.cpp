#include "store/sqlite/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cstring>

#include "base/check.h"
#include "base/crc32c.h"
#include "core/json_fields.h"
#include "core/settings_json.h"

namespace rq::store::sqlite {
namespace {

namespace json = boost::json;
using base::Code;
using base::Result;
using core::Details;
using core::Message;
using core::State;

base::Error damaged(std::string_view what, std::string_view value) {
  return base::fail(Code::internal,
                    fmt::format("the store holds {} '{}', which rq never writes", what, value),
                    "run rq doctor, and restore a backup if it finds damage");
}

// Columns of kMessageColumns; those up to kCrc are kPlainColumns.
enum : int {
  kSeq,
  kQueue,
  kState,
  kMark,
  kPriority,
  kCreated,
  kDue,
  kOrd,
  kFinished,
  kAttempts,
  kFailures,
  kLosses,
  kCount,
  kMaxCount,
  kDetailed,
  kLeaseLength,
  kPayload,
  kCrc,
  kLeaseSeq,
  kUntil,
  kAttempt,
  kBoot,
  kSince,
  kLength,
  kEnds,
  kStop,
  kWorker,
  kLeaseProgress,
  kKey,
  kDest,
  kSrc,
  kOrigId,
  kClonedFrom,
  kDupOf,
  kParam1,
  kParam2,
  kParam3,
  kParam4,
  kContentType,
  kForceRemote,
  kTags,
  kHeaders,
  kWebhooks,
  kRetries,
  kBackoff,
  kTimeout,
  kProgress,
  kResult,
  kFolder,
  kDetailCrc,
  kEnd
};
static_assert(kEnd == kMessageColumnCount);
static_assert(kKey == kDetailColumn && kEnd - kKey + 1 == kDetailTableColumns);

// SQLite keeps a number with a sign in four bytes, one of 32 bits without it in six.
std::int64_t as_stored(std::uint32_t crc) { return static_cast<std::int32_t>(crc); }

// The checksum of a row: over the values that its columns mean, in their order.
class RowCrc {
 public:
  RowCrc& add(std::string_view text) {
    // With its length: bytes that move from one column to the next are noticed.
    add(static_cast<std::int64_t>(text.size()));
    crc_ = base::crc32c(crc_, text);
    return *this;
  }
  RowCrc& add(std::int64_t value) {
    crc_ = base::crc32c(crc_, {reinterpret_cast<const char*>(&value), sizeof value});
    return *this;
  }
  [[nodiscard]] std::int64_t value() const { return as_stored(crc_); }

 private:
  std::uint32_t crc_ = 0;
};

// Two small numbers as one.
std::int64_t both(std::int32_t a, std::int32_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(a))
                                       << 32U |
                                   static_cast<std::uint32_t>(b));
}

// A name in the form that the tables have it: its first bytes tell it from all others.
std::int64_t word_of(std::string_view name) {
  std::int64_t word = 0;
  std::memcpy(&word, name.data(), std::min(name.size(), sizeof word));
  return word;
}

// `state`: the one to rest in. Every put pays for this: few words.
std::int64_t crc_of(const Message& m, State state, bool detailed) {
  const std::array<std::int64_t, 14> words{m.seq,
                                           m.queue,
                                           base::to_ms(m.created),
                                           base::to_ms(m.due),
                                           m.order,
                                           base::to_ms(m.finished),
                                           m.priority,
                                           m.lease_length ? m.lease_length->count() : -1,
                                           word_of(name_of(state)),
                                           word_of(name_of(m.mark)),
                                           both(detailed ? 1 : 0, m.attempts),
                                           both(m.failures, m.losses),
                                           both(m.count, m.max_count),
                                           static_cast<std::int64_t>(m.payload.size())};
  // Two runs that do not wait for one another: the processor does both at once.
  const std::uint32_t head =
      base::crc32c(0, {reinterpret_cast<const char*>(words.data()), sizeof words});
  const std::uint32_t body = base::crc32c(0, m.payload);
  return as_stored(base::crc32c(head, {reinterpret_cast<const char*>(&body), sizeof body}));
}

base::Error no_crc(std::string_view table) {
  return base::fail(Code::internal, fmt::format("its row of table {} has lost its checksum", table),
                    "see: rq doctor");
}

base::Error wrong_crc(std::string_view table) {
  return base::fail(Code::internal,
                    fmt::format("its row of table {} is damaged: the checksum does not fit", table),
                    "see: rq doctor");
}

std::string to_json(const std::vector<std::string>& list) {
  json::array array;
  for (const std::string& item : list) array.emplace_back(item);
  return json::serialize(array);
}

std::string to_json(const core::TextPairs& pairs) {
  json::array array;
  for (const auto& [name, value] : pairs) array.push_back(json::array{name, value});
  return json::serialize(array);
}

Result<json::array> parse_array(std::string_view text) {
  boost::system::error_code error;
  json::value value = json::parse(json::string_view{text.data(), text.size()}, error);
  if (error || !value.is_array()) return damaged("the list", text);
  return std::move(value.get_array());
}

Result<void> read_list(std::string_view text, std::vector<std::string>& out) {
  if (text.empty()) return {};
  RQ_TRY_ASSIGN(array, parse_array(text));
  for (const json::value& item : array) {
    if (!item.is_string()) return damaged("the list", text);
    out.emplace_back(item.get_string());
  }
  return {};
}

Result<void> read_pairs(std::string_view text, core::TextPairs& out) {
  if (text.empty()) return {};
  RQ_TRY_ASSIGN(array, parse_array(text));
  for (const json::value& item : array) {
    const json::array* pair = item.if_array();
    if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_string() ||
        !(*pair)[1].is_string()) {
      return damaged("the pairs", text);
    }
    out.emplace_back((*pair)[0].get_string(), (*pair)[1].get_string());
  }
  return {};
}

Result<void> read_details(const Statement& row, core::Seq crc_from, Details& d) {
  RQ_TRY(check_details(row, crc_from));
  d.key = row.text(kKey);
  d.dest = row.text(kDest);
  d.src = row.text(kSrc);
  d.orig_id = row.text(kOrigId);
  d.cloned_from = row.text(kClonedFrom);
  d.dup_of = row.text(kDupOf);
  d.param1 = row.text(kParam1);
  d.param2 = row.text(kParam2);
  d.param3 = row.text(kParam3);
  d.param4 = row.text(kParam4);
  d.content_type = row.text(kContentType);
  d.force_remote = row.integer(kForceRemote) != 0;
  RQ_TRY(read_list(row.text(kTags), d.tags));
  RQ_TRY(read_pairs(row.text(kHeaders), d.headers));
  RQ_TRY(read_list(row.text(kWebhooks), d.webhooks));
  if (!row.is_null(kRetries)) d.retries = row.integer(kRetries);
  if (const auto text = row.text(kBackoff); !text.empty()) {
    boost::system::error_code error;
    const json::value value = json::parse(json::string_view{text.data(), text.size()}, error);
    if (error || !value.is_object()) return damaged("the backoff", text);
    RQ_TRY(core::merge_backoff(value.get_object(), d.backoff.emplace()));
  }
  if (!row.is_null(kTimeout)) d.timeout = base::Millis{row.integer(kTimeout)};
  d.progress = row.text(kProgress);
  d.result = row.text(kResult);
  d.folder = row.text(kFolder);
  return {};
}

void read_lease(const Statement& row, core::Lease& lease) {
  lease.until = row.instant(kUntil);
  lease.attempt = row.integer(kAttempt);
  lease.boot = row.integer(kBoot);
  lease.since = row.instant(kSince);
  lease.length = base::Millis{row.integer(kLength)};
  lease.end = row.is_null(kEnds) ? core::LeaseEnd::deadline : core::LeaseEnd::connection;
  const std::string_view stop = row.text(kStop);
  lease.stop = stop == "kill"     ? core::StopRequest::kill
               : stop == "cancel" ? core::StopRequest::cancel
                                  : core::StopRequest::none;
  lease.worker = row.text(kWorker);
  lease.progress = row.text(kLeaseProgress);
}

std::int32_t small(const Statement& row, int column) {
  return static_cast<std::int32_t>(row.integer(column));
}

// The state to rest in: a running message goes back to the line when its lease is gone.
State state_to_rest(const Message& m) { return m.state == State::run ? State::que : m.state; }
std::string_view rest_state(const Message& m) { return name_of(state_to_rest(m)); }
std::int64_t crc_of(const Message& m) { return crc_of(m, state_to_rest(m), m.details != nullptr); }

// Text that lives until the statement ends.
void give(sqlite3_context* out, std::string_view text) {
  sqlite3_result_text(out, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
}

}  // namespace

Result<void> check_details(const Statement& row, core::Seq crc_from) {
  if (row.is_null(kForceRemote)) {
    return base::fail(Code::internal, "its row of table detail is gone", "see: rq doctor");
  }
  if (row.is_null(kDetailCrc)) {
    if (row.integer(kSeq) >= crc_from) return no_crc("detail");
    return {};
  }
  RowCrc crc;
  crc.add(row.integer(kSeq));
  for (int column = kKey; column < kDetailCrc; ++column) crc.add(row.text(column));
  return crc.value() == row.integer(kDetailCrc) ? Result<void>{} : wrong_crc("detail");
}

core::Seq seq_of(const Statement& row) { return row.integer(kSeq); }
bool is_detailed(const Statement& row) { return row.integer(kDetailed) != 0; }

Result<Message> read_plain_message(const Statement& row, core::Seq crc_from) {
  Message m;
  m.seq = row.integer(kSeq);
  m.queue = row.integer(kQueue);
  const auto state = core::state_of(row.text(kState));
  if (!state) return damaged("the state", row.text(kState));
  m.state = *state;
  if (!row.is_null(kMark)) {
    const auto mark = core::mark_of(row.text(kMark));
    if (!mark) return damaged("the mark", row.text(kMark));
    m.mark = *mark;
  }
  m.priority = row.integer(kPriority);
  m.created = row.instant(kCreated);
  m.due = row.is_null(kDue) ? m.created : row.instant(kDue);
  m.order = row.is_null(kOrd) ? base::to_ms(m.due) : row.integer(kOrd);
  m.finished = row.instant(kFinished);  // NULL: 0
  m.attempts = small(row, kAttempts);
  m.failures = small(row, kFailures);
  m.losses = small(row, kLosses);
  m.count = small(row, kCount);
  m.max_count = small(row, kMaxCount);
  m.payload = row.text(kPayload);
  if (!row.is_null(kLeaseLength)) m.lease_length = base::Millis{row.integer(kLeaseLength)};
  if (row.is_null(kCrc)) {
    if (m.seq >= crc_from) return no_crc("message");
  } else if (row.integer(kCrc) != crc_of(m, m.state, is_detailed(row))) {
    return wrong_crc("message");
  }
  return m;
}

Result<core::Seq> read_crc_from(Db& db) {
  RQ_TRY_ASSIGN(from, db.one("SELECT value FROM meta WHERE key = 'crc_from'"));
  return from.value_or(0);
}

Result<Message> read_message(const Statement& row, core::Seq crc_from) {
  RQ_TRY_ASSIGN(m, read_plain_message(row, crc_from));
  if (is_detailed(row)) RQ_TRY(read_details(row, crc_from, m.detail()));
  // A lease of a message that is not at rest in the line is a wrong row.
  if (!row.is_null(kLeaseSeq) && m.state == State::que) {
    m.state = State::run;
    m.lease = std::make_unique<core::Lease>();
    read_lease(row, *m.lease);
  }
  return m;
}

void message_column(sqlite3_context* out, const void* row, int column) {
  const Message& m = *static_cast<const Message*>(row);
  switch (column) {
    case 0:
      return sqlite3_result_int64(out, m.seq);
    case 1:
      return sqlite3_result_int64(out, m.queue);
    case 2:
      return give(out, rest_state(m));
    case 3:
      return m.mark == core::Mark::none ? sqlite3_result_null(out) : give(out, name_of(m.mark));
    case 4:
      return sqlite3_result_int64(out, m.priority);
    case 5:
      return sqlite3_result_int64(out, base::to_ms(m.created));
    case 6:
      return m.due == m.created ? sqlite3_result_null(out)
                                : sqlite3_result_int64(out, base::to_ms(m.due));
    case 7:
      return m.order == base::to_ms(m.due) ? sqlite3_result_null(out)
                                           : sqlite3_result_int64(out, m.order);
    case 8:
      return m.finished == core::Instant{} ? sqlite3_result_null(out)
                                           : sqlite3_result_int64(out, base::to_ms(m.finished));
    case 9:
      return sqlite3_result_int(out, m.attempts);
    case 10:
      return sqlite3_result_int(out, m.failures);
    case 11:
      return sqlite3_result_int(out, m.losses);
    case 12:
      return sqlite3_result_int(out, m.count);
    case 13:
      return sqlite3_result_int(out, m.max_count);
    case 14:
      return sqlite3_result_int(out, m.details ? 1 : 0);
    case 15:
      return m.lease_length ? sqlite3_result_int64(out, m.lease_length->count())
                            : sqlite3_result_null(out);
    case 16:
      return sqlite3_result_blob(out, m.payload.data(), static_cast<int>(m.payload.size()),
                                 SQLITE_STATIC);
    case 17:
      return sqlite3_result_int64(out, crc_of(m));
    default:
      RQ_CHECK(false);
  }
}

void lease_column(sqlite3_context* out, const void* row, int column) {
  const Message& m = *static_cast<const Message*>(row);
  const core::Lease& lease = *m.lease;
  switch (column) {
    case 0:
      return sqlite3_result_int64(out, m.seq);
    case 1:
      return sqlite3_result_int64(out, m.queue);
    case 2:
      return sqlite3_result_int64(out, base::to_ms(lease.until));
    case 3:
      return sqlite3_result_int64(out, lease.attempt);
    case 4:
      return sqlite3_result_int64(out, lease.boot);
    case 5:
      return sqlite3_result_int64(out, base::to_ms(lease.since));
    case 6:
      return sqlite3_result_int64(out, lease.length.count());
    case 7:
      return lease.end == core::LeaseEnd::connection ? give(out, "connection")
                                                     : sqlite3_result_null(out);
    case 8:
      return lease.stop == core::StopRequest::none     ? sqlite3_result_null(out)
             : lease.stop == core::StopRequest::cancel ? give(out, "cancel")
                                                       : give(out, "kill");
    case 9:
      return lease.worker.empty() ? sqlite3_result_null(out) : give(out, lease.worker);
    case 10:
      return lease.progress.empty() ? sqlite3_result_null(out) : give(out, lease.progress);
    default:
      RQ_CHECK(false);
  }
}

bool is_plain(const Message& m) {
  return m.mark == core::Mark::none && m.due == m.created && m.order == base::to_ms(m.due) &&
         m.finished == core::Instant{} && m.failures == 0 && m.losses == 0 && m.count == 0 &&
         !m.details && !m.lease_length;
}

bool is_plain(const core::Lease& lease) {
  return lease.end != core::LeaseEnd::connection && lease.stop == core::StopRequest::none &&
         lease.progress.empty();
}

void bind_update(Statement& update, const Message& m) {
  update.bind(1, m.queue).bind(2, rest_state(m));
  m.mark == core::Mark::none ? update.bind_null(3) : update.bind(3, name_of(m.mark));
  update.bind(4, m.priority);
  m.due == m.created ? update.bind_null(5) : update.bind(5, base::to_ms(m.due));
  m.finished == core::Instant{} ? update.bind_null(6) : update.bind(6, base::to_ms(m.finished));
  update.bind(7, m.attempts).bind(8, m.failures).bind(9, m.losses).bind(10, m.count);
  update.bind(11, m.max_count).bind(12, m.details ? 1 : 0);
  m.order == base::to_ms(m.due) ? update.bind_null(13) : update.bind(13, m.order);
  update.bind(14, crc_of(m)).bind(15, m.seq);
}

void bind_detail(Statement& insert, core::Seq seq, const Details& d, DetailTexts& texts) {
  texts.tags = d.tags.empty() ? std::string{} : to_json(d.tags);
  texts.headers = d.headers.empty() ? std::string{} : to_json(d.headers);
  texts.webhooks = d.webhooks.empty() ? std::string{} : to_json(d.webhooks);
  texts.backoff = d.backoff ? json::serialize(core::to_json(*d.backoff)) : std::string{};
  insert.bind(1, seq);
  RowCrc crc;
  crc.add(seq);
  int at = 2;
  // Numbers count as their text, as the reading side sees them.
  const auto number = [&](std::optional<std::int64_t> value) {
    crc.add(value ? std::to_string(*value) : std::string{});
    value ? insert.bind(at++, *value) : insert.bind_null(at++);
  };
  const auto text = [&](std::string_view value) {
    crc.add(value);
    insert.bind_text_or_null(at++, value);
  };
  for (const std::string* one : {&d.key, &d.dest, &d.src, &d.orig_id, &d.cloned_from, &d.dup_of,
                                 &d.param1, &d.param2, &d.param3, &d.param4, &d.content_type}) {
    text(*one);
  }
  number(d.force_remote ? 1 : 0);
  for (const std::string* one : {&texts.tags, &texts.headers, &texts.webhooks}) text(*one);
  number(d.retries);
  text(texts.backoff);
  number(d.timeout ? std::optional{d.timeout->count()} : std::nullopt);
  for (const std::string* one : {&d.progress, &d.result, &d.folder}) text(*one);
  insert.bind(at, crc.value());
}

namespace {

std::int64_t crc_of(const core::Queue& q, std::string_view settings) {
  return RowCrc{}
      .add(q.id)
      .add(q.name)
      .add(name_of(q.admin))
      .add(base::to_ms(q.paused_until))
      .add(q.revision)
      .add(base::to_ms(q.created))
      .add(q.on_demand ? 1 : 0)
      .add(q.script_error)
      .add(settings)
      .add(q.being_deleted ? 1 : 0)
      .value();
}

base::Error of_queue(const core::Queue& queue, base::Error error) {
  error.message = fmt::format("queue '{}': {}", queue.name, error.message);
  return error;
}

}  // namespace

void bind_queue(Statement& statement, const core::Queue& queue, const std::string& settings) {
  statement.bind(1, queue.name).bind(2, core::name_of(queue.admin));
  queue.paused_until == core::Instant{} ? statement.bind_null(3)
                                        : statement.bind(3, base::to_ms(queue.paused_until));
  statement.bind(4, queue.revision).bind(5, base::to_ms(queue.created));
  statement.bind(6, queue.on_demand ? 1 : 0).bind_text_or_null(7, queue.script_error);
  statement.bind(8, settings)
      .bind(9, queue.being_deleted ? 1 : 0)
      .bind(10, crc_of(queue, settings));
}

base::Error of_message(core::Seq seq, base::Error error) {
  error.message = fmt::format("message {}: {}", seq, error.message);
  return error;
}

Result<core::Queue> read_queue(const Statement& row) {
  core::Queue q;
  q.id = row.integer(0);
  q.name = row.text(1);
  const auto admin = core::admin_of(row.text(2));
  if (!admin) return damaged("the admin state", row.text(2));
  q.admin = *admin;
  if (!row.is_null(3)) q.paused_until = row.instant(3);
  q.revision = row.integer(4);
  q.created = row.instant(5);
  q.on_demand = row.integer(6) != 0;
  q.script_error = row.text(7);
  q.being_deleted = row.integer(9) != 0;
  const std::string_view text = row.text(8);
  const bool has_crc = !row.is_null(10);
  if (has_crc && row.integer(10) != crc_of(q, text)) return of_queue(q, wrong_crc("queue"));
  boost::system::error_code error;
  const json::value settings = json::parse(json::string_view{text.data(), text.size()}, error);
  if (error || !settings.is_object()) return of_queue(q, damaged("the settings", text));
  auto merged = core::merge_settings(core::QueueSettings{}, settings.get_object());
  if (!merged) {
    // With a checksum that fits they are those of another rq, which are nothing to be mended.
    return of_queue(q, has_crc ? std::move(merged).error() : damaged("the settings", text));
  }
  q.settings = std::move(*merged);
  if (row.is_null(11)) {
    return of_queue(q, base::fail(Code::internal, "it has lost its counters", "see: rq doctor"));
  }
  int column = 11;
  for (std::int64_t& n : q.counters.in_state) n = row.integer(column++);
  core::Counters& c = q.counters;
  for (std::int64_t* n : {&c.held, &c.puts, &c.dones, &c.errs, &c.retries, &c.losses, &c.cancels,
                          &c.deletes, &c.high, &c.expired, &c.expired_errs}) {
    *n = row.integer(column++);
  }
  return q;
}

core::Attempt read_attempt(const Statement& row) {
  core::Attempt a;
  a.seq = row.integer(0);
  a.number = row.integer(1);
  a.worker = row.text(2);
  a.started = row.instant(3);
  a.ended = row.instant(4);
  a.outcome = row.text(5);
  a.reason = row.text(6);
  a.post_mortem = row.text(7);
  return a;
}

}  // namespace rq::store::sqlite
