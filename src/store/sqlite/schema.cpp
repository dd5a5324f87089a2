#include "store/sqlite/schema.h"

#include <fmt/format.h>

#include <array>

namespace rq::store::sqlite {
namespace {

using base::Code;
using base::Result;

// Times are milliseconds since the epoch, UTC. Lengths of time are milliseconds.
//
// A message's row is written when it is put and when it rests again, not when it is leased: a lease
// is a row of its own, narrow and short-lived, and so is its place in the line (ready, scheduled,
// finished). The message table has no index at all: what is looked for is in the narrow tables.
// What most messages do not have is in `detail`. The view `messages` puts it all together.
constexpr const char* kVersion1 = R"sql(
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('boot', 0), ('next_seq', 1);

CREATE TABLE queue (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  name         TEXT NOT NULL UNIQUE,
  admin        TEXT NOT NULL,              -- up pause drain down
  paused_until INTEGER,
  revision     INTEGER NOT NULL,
  created      INTEGER NOT NULL,
  on_demand    INTEGER NOT NULL,
  script_error TEXT,
  settings     TEXT NOT NULL               -- JSON, as in the API
) STRICT;

CREATE TABLE counter (                     -- kept by each batch
  queue     INTEGER PRIMARY KEY,
  prep      INTEGER NOT NULL, scheduled INTEGER NOT NULL, throttled INTEGER NOT NULL,
  depends   INTEGER NOT NULL, que       INTEGER NOT NULL, run       INTEGER NOT NULL,
  done      INTEGER NOT NULL, relayed   INTEGER NOT NULL, err       INTEGER NOT NULL,
  cancelled INTEGER NOT NULL, buried    INTEGER NOT NULL,
  puts      INTEGER NOT NULL, dones     INTEGER NOT NULL, errs      INTEGER NOT NULL,
  retries   INTEGER NOT NULL, losses    INTEGER NOT NULL, cancels   INTEGER NOT NULL,
  deletes   INTEGER NOT NULL
) STRICT;

CREATE TABLE message (
  seq        INTEGER PRIMARY KEY,
  queue      INTEGER NOT NULL,
  rest_state TEXT NOT NULL,                -- its state when no lease says run
  mark       TEXT,
  priority   INTEGER NOT NULL,
  created    INTEGER NOT NULL,
  due        INTEGER,                      -- NULL: created
  finished   INTEGER,
  attempts   INTEGER NOT NULL,
  failures   INTEGER NOT NULL,
  losses     INTEGER NOT NULL,
  count      INTEGER NOT NULL,
  max_count  INTEGER NOT NULL,
  detailed   INTEGER NOT NULL,             -- 1: it has a row in detail
  lease      INTEGER,                      -- overrides that of the queue
  payload    BLOB NOT NULL
) STRICT;
CREATE TABLE detail (
  seq          INTEGER PRIMARY KEY,
  key          TEXT,
  dest         TEXT,
  src          TEXT,
  orig_id      TEXT,
  cloned_from  TEXT,
  dup_of       TEXT,
  param1       TEXT,
  param2       TEXT,
  param3       TEXT,
  param4       TEXT,
  content_type TEXT,
  force_remote INTEGER NOT NULL,
  tags         TEXT,                       -- JSON array
  headers      TEXT,                       -- JSON array of [name, value]
  webhooks     TEXT,                       -- JSON array
  retries      INTEGER,
  backoff      TEXT,                       -- JSON object, as in the API
  timeout      INTEGER,
  progress     TEXT,
  result       TEXT,
  folder       TEXT
) STRICT;
CREATE UNIQUE INDEX detail_key ON detail (key) WHERE key IS NOT NULL;

CREATE TABLE ready (                       -- messages in que, in the order of leasing
  queue INTEGER NOT NULL,
  rank  INTEGER NOT NULL,                  -- minus the priority
  seq   INTEGER NOT NULL,
  PRIMARY KEY (queue, rank, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE scheduled (                   -- messages that wait for their due time
  due   INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  queue INTEGER NOT NULL,
  PRIMARY KEY (due, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX scheduled_queue ON scheduled (queue, due, seq);

CREATE TABLE finished (                    -- messages at their end, oldest first
  queue INTEGER NOT NULL,
  kind  TEXT NOT NULL,                     -- kept (done relayed cancelled) err buried
  at    INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  PRIMARY KEY (queue, kind, at, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE lease (                       -- messages in run
  seq      INTEGER PRIMARY KEY,
  queue    INTEGER NOT NULL,
  until    INTEGER NOT NULL,
  attempt  INTEGER NOT NULL,
  boot     INTEGER NOT NULL,
  since    INTEGER NOT NULL,
  length   INTEGER NOT NULL,
  ends     TEXT,                           -- connection; NULL: at until only
  stop     TEXT,                           -- cancel kill
  worker   TEXT,
  progress TEXT
) STRICT;

CREATE TABLE attempt (
  seq         INTEGER NOT NULL,
  number      INTEGER NOT NULL,
  worker      TEXT,
  started     INTEGER NOT NULL,
  ended       INTEGER NOT NULL,
  outcome     TEXT NOT NULL,
  reason      TEXT,
  post_mortem TEXT,                        -- JSON object, as in the API
  PRIMARY KEY (seq, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE tag (
  tag TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (tag, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE waste (                       -- folders of messages that are gone, to be deleted
  folder TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE VIEW messages AS
SELECT strftime('%Y%m%d.%H%M.%S.', m.created / 1000, 'unixepoch') || printf('%03d.%d', m.created % 1000, m.seq) AS id,
       q.name AS queue, CASE WHEN l.seq IS NULL THEN m.rest_state ELSE 'run' END AS state, m.mark,
       m.priority, datetime(m.created / 1000, 'unixepoch') AS created,
       datetime(coalesce(m.due, m.created) / 1000, 'unixepoch') AS due,
       datetime(m.finished / 1000, 'unixepoch') AS finished,
       m.attempts, m.failures, m.losses, m.count, m.max_count,
       l.worker, datetime(l.until / 1000, 'unixepoch') AS lease_until,
       coalesce(l.progress, d.progress) AS progress,
       d.key, d.dest, d.src, d.param1, d.param2, d.param3, d.param4, d.tags, d.result, d.folder,
       d.content_type, m.payload, m.seq
  FROM message m JOIN queue q ON q.id = m.queue
  LEFT JOIN lease l ON l.seq = m.seq LEFT JOIN detail d ON d.seq = m.seq;
)sql";

// The line as runs of consecutive numbers, where version 1 had a row for each message: what one
// batch puts and another takes is one row that grows at its end and shrinks at its head.
constexpr const char* kVersion2 = R"sql(
ALTER TABLE ready RENAME TO ready_1;
CREATE TABLE ready (                       -- messages in que, in the order of leasing: all of the
  queue     INTEGER NOT NULL,              -- numbers from first_seq to last_seq
  rank      INTEGER NOT NULL,              -- minus the priority
  last_seq  INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  PRIMARY KEY (queue, rank, last_seq)
) STRICT, WITHOUT ROWID;
INSERT INTO ready
SELECT queue, rank, max(seq), min(seq)
  FROM (SELECT queue, rank, seq,
               seq - row_number() OVER (PARTITION BY queue, rank ORDER BY seq) AS run
          FROM ready_1)
 GROUP BY queue, rank, run;
DROP TABLE ready_1;
)sql";

// Of those in que the ones with a priority above -1024.
constexpr const char* kVersion3 = R"sql(
ALTER TABLE counter ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0;
UPDATE counter SET urgent = (SELECT coalesce(sum(last_seq - first_seq + 1), 0) FROM ready
                              WHERE ready.queue = counter.queue AND rank < 1024);
)sql";

// Order in the line besides the number; timers as rows; messages that are neither in a line nor
// due nor finished have a place as well. What waits in a line when the store is brought forward
// stays before all that comes after, in its order.
constexpr const char* kVersion4 = R"sql(
DROP VIEW messages;
CREATE TABLE message_4 (
  seq        INTEGER PRIMARY KEY,
  queue      INTEGER NOT NULL,
  rest_state TEXT NOT NULL,                -- its state when no lease says run
  mark       TEXT,
  priority   INTEGER NOT NULL,
  created    INTEGER NOT NULL,
  due        INTEGER,                      -- NULL: created
  ord        INTEGER,                      -- its order in the line within its priority; NULL: due
  finished   INTEGER,
  attempts   INTEGER NOT NULL,
  failures   INTEGER NOT NULL,
  losses     INTEGER NOT NULL,
  count      INTEGER NOT NULL,
  max_count  INTEGER NOT NULL,
  detailed   INTEGER NOT NULL,             -- 1: it has a row in detail
  lease      INTEGER,                      -- overrides that of the queue
  payload    BLOB NOT NULL
) STRICT;
INSERT INTO message_4
SELECT m.seq, m.queue, m.rest_state, CASE m.mark WHEN 'buried' THEN 'held' ELSE m.mark END,
       m.priority, m.created, m.due,
       CASE WHEN q.on_demand OR m.rest_state = 'que' THEN 0 END,
       m.finished, m.attempts, m.failures, m.losses, m.count, m.max_count, m.detailed, m.lease,
       m.payload
  FROM message m LEFT JOIN queue q ON q.id = m.queue
 ORDER BY m.seq;
DROP TABLE message;
ALTER TABLE message_4 RENAME TO message;

CREATE TABLE ready_4 (                     -- messages in que, in the order of leasing: all of the
  queue     INTEGER NOT NULL,              -- numbers from first_seq to last_seq
  rank      INTEGER NOT NULL,              -- minus the priority
  ord       INTEGER NOT NULL,
  last_seq  INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  PRIMARY KEY (queue, rank, ord, last_seq)
) STRICT, WITHOUT ROWID;
INSERT INTO ready_4 SELECT queue, rank, 0, last_seq, first_seq FROM ready;
DROP TABLE ready;
ALTER TABLE ready_4 RENAME TO ready;

CREATE TABLE parked (                      -- messages in prep, throttled or depends
  queue INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  PRIMARY KEY (queue, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO parked SELECT queue, seq FROM message
 WHERE rest_state IN ('prep', 'throttled', 'depends');

UPDATE finished SET kind = 'held' WHERE kind = 'buried';
ALTER TABLE counter RENAME COLUMN buried TO held;
ALTER TABLE counter RENAME COLUMN urgent TO high;
ALTER TABLE queue ADD COLUMN going INTEGER NOT NULL DEFAULT 0;

CREATE TABLE timer (                       -- what is to be looked at, and when
  what  TEXT NOT NULL,                     -- keep_done keep_err resume idle going
  queue INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  at    INTEGER NOT NULL,
  PRIMARY KEY (what, queue, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO timer SELECT 'keep_done', queue, 0, 0 FROM counter WHERE done + relayed + cancelled > 0;
INSERT INTO timer SELECT 'keep_err', queue, 0, 0 FROM counter WHERE err > held;
INSERT INTO timer SELECT 'resume', id, 0, paused_until FROM queue WHERE paused_until IS NOT NULL;
INSERT INTO timer SELECT 'idle', id, 0, 0 FROM queue WHERE on_demand;

-- Who this store is: a copy of it is another one.
INSERT INTO meta VALUES ('identity', abs(random() / 2) + 1);

CREATE VIEW messages AS
SELECT strftime('%Y%m%d.%H%M.%S.', m.created / 1000, 'unixepoch') || printf('%03d.%d', m.created % 1000, m.seq) AS id,
       q.name AS queue, CASE WHEN l.seq IS NULL THEN m.rest_state ELSE 'run' END AS state, m.mark,
       m.priority, datetime(m.created / 1000, 'unixepoch') AS created,
       datetime(coalesce(m.due, m.created) / 1000, 'unixepoch') AS due,
       datetime(m.finished / 1000, 'unixepoch') AS finished,
       m.attempts, m.failures, m.losses, m.count, m.max_count,
       l.worker, datetime(l.until / 1000, 'unixepoch') AS lease_until,
       coalesce(l.progress, d.progress) AS progress,
       d.key, d.dest, d.src, d.param1, d.param2, d.param3, d.param4, d.tags, d.result, d.folder,
       d.content_type, m.payload, m.seq
  FROM message m JOIN queue q ON q.id = m.queue
  LEFT JOIN lease l ON l.seq = m.seq LEFT JOIN detail d ON d.seq = m.seq;
)sql";

// Cancelled messages have a retention of their own, what retention removes is counted, and no
// number of failures makes older ones go unless a queue asks for it: 100,000 was the default, so
// nobody did.
constexpr const char* kVersion5 = R"sql(
UPDATE finished SET kind = 'cancelled'
 WHERE kind = 'kept'
   AND (SELECT rest_state FROM message m WHERE m.seq = finished.seq) = 'cancelled';
INSERT INTO timer SELECT 'keep_cancelled', queue, 0, 0 FROM counter WHERE cancelled > 0;
ALTER TABLE counter ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
ALTER TABLE counter ADD COLUMN expired_errs INTEGER NOT NULL DEFAULT 0;
UPDATE queue SET settings = json_set(settings, '$.keep_err.count', NULL)
 WHERE settings ->> '$.keep_err.count' = 100000;
)sql";

// Checksums, and a place for what turns out to be damaged. Rows that are there keep NULL until they
// are written again, so that a large store is brought forward at once.
constexpr const char* kVersion6 = R"sql(
ALTER TABLE message ADD COLUMN crc INTEGER;
ALTER TABLE detail ADD COLUMN crc INTEGER;
ALTER TABLE queue ADD COLUMN crc INTEGER;
-- Messages from this number on have a crc.
INSERT INTO meta SELECT 'crc_from', value FROM meta WHERE key = 'next_seq';

CREATE TABLE corrupt (                     -- damaged rows, set aside; nothing reads them again
  id    INTEGER PRIMARY KEY,
  at    INTEGER NOT NULL,
  what  TEXT NOT NULL,                     -- the table it stood in
  seq   INTEGER,                           -- the message that it was about
  why   TEXT NOT NULL,
  bytes TEXT                               -- its values, as SQL writes them
) STRICT;
)sql";

constexpr std::array<const char*, 6> kMigrations{kVersion1, kVersion2, kVersion3,
                                                 kVersion4, kVersion5, kVersion6};

}  // namespace

int newest_version() { return static_cast<int>(kMigrations.size()); }

Result<void> migrate(Db& db) {
  RQ_TRY_ASSIGN(found, db.one("PRAGMA user_version"));
  const int version = static_cast<int>(found.value_or(0));
  if (version > newest_version()) {
    return base::fail(Code::internal,
                      fmt::format("the store has schema version {}, this rq knows up to {}",
                                  version, newest_version()),
                      "start the newer rq that made it");
  }
  for (int step = version; step < newest_version(); ++step) {
    RQ_TRY(db.exec("BEGIN IMMEDIATE"));
    RQ_TRY(db.exec(kMigrations.at(static_cast<std::size_t>(step))));
    RQ_TRY(db.exec(fmt::format("PRAGMA user_version = {}", step + 1).c_str()));
    RQ_TRY(db.exec("COMMIT"));
  }
  return {};
}

}  // namespace rq::store::sqlite
