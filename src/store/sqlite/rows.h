#pragma once
// Rows to records and back: the one place that knows the order of columns.
#include <string>

#include "base/result.h"
#include "core/message.h"
#include "core/queue.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

// What a SELECT of messages lists, in the order read_message takes. The tables are named m
// (message), d (detail) and l (lease); d and l may be outer-joined.
inline constexpr const char* kMessageColumns =
    "m.seq, m.queue, m.rest_state, m.mark, m.priority, m.created, m.due, m.ord, m.finished, "
    "m.attempts, "
    "m.failures, m.losses, m.count, m.max_count, m.detailed, m.lease, m.payload, m.crc, "
    "l.seq, l.until, l.attempt, l.boot, l.since, l.length, l.ends, l.stop, l.worker, l.progress, "
    "d.key, d.dest, d.src, d.orig_id, d.cloned_from, d.dup_of, d.param1, d.param2, d.param3, "
    "d.param4, d.content_type, d.force_remote, d.tags, d.headers, d.webhooks, d.retries, "
    "d.backoff, d.timeout, d.progress, d.result, d.folder, d.crc";
inline constexpr const char* kMessageJoins =
    " LEFT JOIN lease l ON l.seq = m.seq LEFT JOIN detail d ON d.seq = m.seq AND m.detailed = 1 ";
inline constexpr int kMessageColumnCount = 50;  // further columns of a SELECT start here

// The row under the statement. A value that rq did not write, or a row whose checksum does not fit,
// is a fault; so is one without, of a message from `crc_from` on: only older versions wrote those.
[[nodiscard]] base::Result<core::Message> read_message(const Statement& row, core::Seq crc_from);
// Its columns of d alone.
[[nodiscard]] base::Result<void> check_details(const Statement& row, core::Seq crc_from);
inline constexpr int kDetailColumn = 28;  // the first of them
inline constexpr int kDetailTableColumns = 23;
// The same error, with the number of the message.
[[nodiscard]] base::Error of_message(core::Seq seq, base::Error error);
// Of which messages that is.
[[nodiscard]] base::Result<core::Seq> read_crc_from(Db& db);

// The columns of m alone, for rows that have no lease; those that have details are to be read as
// above.
inline constexpr const char* kPlainColumns =
    "m.seq, m.queue, m.rest_state, m.mark, m.priority, m.created, m.due, m.ord, m.finished, "
    "m.attempts, "
    "m.failures, m.losses, m.count, m.max_count, m.detailed, m.lease, m.payload, m.crc";
inline constexpr int kPlainColumnCount = 18;
[[nodiscard]] core::Seq seq_of(const Statement& row);
[[nodiscard]] bool is_detailed(const Statement& row);
[[nodiscard]] base::Result<core::Message> read_plain_message(const Statement& row,
                                                             core::Seq crc_from);

// A row of message, column by column, for BatchRows; `row` is a core::Message.
inline constexpr int kMessageTableColumns = 18;
void message_column(sqlite3_context* out, const void* row, int column);
// A row of lease; `row` is a core::Message with a lease.
inline constexpr int kLeaseTableColumns = 11;
void lease_column(sqlite3_context* out, const void* row, int column);

// Most rows are plain when they are written first: what only later events or wishes fill is empty.
// A statement of their own has constants there, and asks for the other columns only.
[[nodiscard]] bool is_plain(const core::Message& message);
inline constexpr const char* kInsertPlainMessages =
    "INSERT OR FAIL INTO message SELECT c0, c1, c2, NULL, c4, c5, NULL, NULL, NULL, c9, 0, 0, 0, "
    "c13, 0, NULL, c16, c17 FROM batch_plain_message";
[[nodiscard]] bool is_plain(const core::Lease& lease);
inline constexpr const char* kInsertPlainLeases =
    "INSERT OR FAIL INTO lease SELECT c0, c1, c2, c3, c4, c5, c6, NULL, NULL, c9, NULL "
    "FROM batch_plain_lease";
// What can change after the put: 14 values, then seq.
inline constexpr const char* kUpdateMessage =
    "UPDATE message SET queue = ?1, rest_state = ?2, mark = ?3, priority = ?4, due = ?5, "
    "finished = ?6, attempts = ?7, failures = ?8, losses = ?9, count = ?10, max_count = ?11, "
    "detailed = ?12, ord = ?13, crc = ?14 WHERE seq = ?15";
void bind_update(Statement& update, const core::Message& message);

// The JSON texts of a detail row; they must live as long as the bind.
struct DetailTexts {
  std::string tags;
  std::string headers;
  std::string webhooks;
  std::string backoff;
};
// INSERT OR REPLACE INTO detail: 23 columns.
void bind_detail(Statement& insert, core::Seq seq, const core::Details& details,
                 DetailTexts& texts);

// What read_queue reads.
inline constexpr const char* kQueueColumns =
    "q.id, q.name, q.admin, q.paused_until, q.revision, q.created, q.on_demand, q.script_error, "
    "q.settings, q.going, q.crc, c.prep, c.scheduled, c.throttled, c.depends, c.que, c.run, "
    "c.done, "
    "c.relayed, c.err, c.cancelled, c.held, c.puts, c.dones, c.errs, c.retries, c.losses, "
    "c.cancels, c.deletes, c.high, c.expired, c.expired_errs";
inline constexpr int kQueueColumnCount = 32;
inline constexpr int kQueueTableColumns = 11;
// A row of queue: nine values from 1, then its checksum. `settings` must live as long as the bind.
void bind_queue(Statement& statement, const core::Queue& queue, const std::string& settings);
[[nodiscard]] base::Result<core::Queue> read_queue(const Statement& row);
[[nodiscard]] core::Attempt read_attempt(const Statement& row);

}  // namespace rq::store::sqlite
