-- The tables of version 7, as they have shipped. Never edited: migration_test opens a store of them.
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

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
, going INTEGER NOT NULL DEFAULT 0, crc INTEGER) STRICT;

CREATE TABLE counter (                     -- kept by each batch
  queue     INTEGER PRIMARY KEY,
  prep      INTEGER NOT NULL, scheduled INTEGER NOT NULL, throttled INTEGER NOT NULL,
  depends   INTEGER NOT NULL, que       INTEGER NOT NULL, run       INTEGER NOT NULL,
  done      INTEGER NOT NULL, relayed   INTEGER NOT NULL, err       INTEGER NOT NULL,
  cancelled INTEGER NOT NULL, held    INTEGER NOT NULL,
  puts      INTEGER NOT NULL, dones     INTEGER NOT NULL, errs      INTEGER NOT NULL,
  retries   INTEGER NOT NULL, losses    INTEGER NOT NULL, cancels   INTEGER NOT NULL,
  deletes   INTEGER NOT NULL
, high INTEGER NOT NULL DEFAULT 0, expired INTEGER NOT NULL DEFAULT 0, expired_errs INTEGER NOT NULL DEFAULT 0) STRICT;

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
, crc INTEGER) STRICT;

CREATE TABLE scheduled (                   -- messages that wait for their due time
  due   INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  queue INTEGER NOT NULL,
  PRIMARY KEY (due, seq)
) STRICT, WITHOUT ROWID;

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
, holder TEXT) STRICT;

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

CREATE TABLE "message" (
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
, crc INTEGER) STRICT;

CREATE TABLE "ready" (                     -- messages in que, in the order of leasing: all of the
  queue     INTEGER NOT NULL,              -- numbers from first_seq to last_seq
  rank      INTEGER NOT NULL,              -- minus the priority
  ord       INTEGER NOT NULL,
  last_seq  INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  PRIMARY KEY (queue, rank, ord, last_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE parked (                      -- messages in prep, throttled or depends
  queue INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  PRIMARY KEY (queue, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE timer (                       -- what is to be looked at, and when
  what  TEXT NOT NULL,                     -- keep_done keep_err resume idle going
  queue INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  at    INTEGER NOT NULL,
  PRIMARY KEY (what, queue, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE corrupt (                     -- damaged rows, set aside; nothing reads them again
  id    INTEGER PRIMARY KEY,
  at    INTEGER NOT NULL,
  what  TEXT NOT NULL,                     -- the table it stood in
  seq   INTEGER,                           -- the message that it was about
  why   TEXT NOT NULL,
  bytes TEXT                               -- its values, as SQL writes them
) STRICT;

CREATE TABLE token (                       -- of those who call from elsewhere
  id        TEXT PRIMARY KEY,              -- public
  name      TEXT NOT NULL,
  hash      BLOB NOT NULL,                 -- SHA-256 of the secret
  rights    TEXT NOT NULL,                 -- as in rq token create: "enqueue:mail-*, read"
  created   INTEGER NOT NULL,
  maker     TEXT NOT NULL,
  expires   INTEGER,
  revoked   INTEGER,
  old_hash  BLOB,                          -- of the secret before the last rotation
  old_until INTEGER NOT NULL,              -- it holds until then
  used      INTEGER NOT NULL,              -- last, about; 0: never
  used_from TEXT,
  crc       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (                       -- what callers have changed
  id      INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  who     TEXT NOT NULL,
  whence  TEXT NOT NULL,
  what    TEXT NOT NULL,
  subject TEXT NOT NULL,                   -- a queue, a token, messages
  before  TEXT,                            -- JSON
  after   TEXT                             -- JSON
) STRICT;

CREATE UNIQUE INDEX detail_key ON detail (key) WHERE key IS NOT NULL;

CREATE INDEX scheduled_queue ON scheduled (queue, due, seq);

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

INSERT INTO meta VALUES ('boot', 0), ('next_seq', 1), ('identity', 1), ('crc_from', 1);
