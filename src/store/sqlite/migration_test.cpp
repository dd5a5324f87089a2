// Stores of other versions: older ones are brought forward, newer ones refused.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "store/sqlite/schema.h"
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::sqlite::test {
namespace {

std::string schema_of(const fs::path& file) {
  std::string out;
  for (const std::string& sql :
       rows_of(file,
               "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
               "ORDER BY type, name")) {
    out += sql + ";\n";
  }
  return out;
}

// A store as version 4 made it, with these rows.
void make_version_4(const fs::path& file, const std::string& rows) {
  std::ifstream in{"test/golden/schema-4.sql"};
  std::stringstream sql;
  sql << in.rdbuf() << rows << "PRAGMA user_version = 4;";
  Db db;
  ASSERT_TRUE(db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  const auto made = db.exec(sql.str().c_str());
  ASSERT_TRUE(made) << made.error().message;
}

TEST(Migration, AnEmptyFileBecomesAStoreOfTheNewestVersion) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  std::ofstream{file}.close();
  ASSERT_TRUE(open_store(file));
  EXPECT_EQ(rows_of(file, "PRAGMA user_version").at(0), std::to_string(newest_version()));
  const auto findings = check_store(file);
  ASSERT_TRUE(findings);
  EXPECT_TRUE(findings->empty());
}

// The tables of each version that has shipped are kept in test/golden: what they were cannot
// change.
TEST(Migration, EveryOlderVersionIsBroughtToTheSameTables) {
  TempDir dir;
  const fs::path fresh = dir.path() / "fresh.db";
  ASSERT_TRUE(open_store(fresh));
  for (int version = 1; version <= newest_version(); ++version) {
    const fs::path golden = fmt::format("test/golden/schema-{}.sql", version);
    std::ifstream in{golden};
    ASSERT_TRUE(in) << golden << " is missing: the tables of version " << version;
    std::stringstream sql;
    sql << in.rdbuf();
    const fs::path file = dir.path() / fmt::format("v{}.db", version);
    {
      Db db;
      ASSERT_TRUE(db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
      const auto made = db.exec(sql.str().c_str());
      ASSERT_TRUE(made) << made.error().message;
      ASSERT_TRUE(db.exec(fmt::format("PRAGMA user_version = {}", version).c_str()));
    }
    const auto opened = open_store(file);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(schema_of(file), schema_of(fresh)) << "from version " << version;
  }
}

// Version 1 had a row of `ready` for each message.
TEST(Migration, OfALineKeepsItsOrder) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  {
    std::ifstream in{"test/golden/schema-1.sql"};
    std::stringstream sql;
    sql << in.rdbuf()
        << "INSERT INTO queue VALUES (1, 'a', 'up', NULL, 1, 1, 0, NULL, '{}'),"
           " (2, 'b', 'up', NULL, 1, 1, 0, NULL, '{}');"
           "WITH RECURSIVE n(value) AS (VALUES (1) UNION ALL SELECT value + 1 FROM n LIMIT 9) "
           "INSERT INTO message SELECT value, CASE value WHEN 4 THEN 2 ELSE 1 END, 'que', NULL,"
           " CASE value WHEN 7 THEN 5 ELSE 0 END, 1, NULL, NULL, 0, 0, 0, 1, 1, 0, NULL, x'78'"
           " FROM n;"
           "INSERT INTO ready SELECT queue, -priority, seq FROM message;"
           "INSERT INTO counter (queue, prep, scheduled, throttled, depends, que, run, done, "
           "relayed,"
           " err, cancelled, buried, puts, dones, errs, retries, losses, cancels, deletes)"
           " VALUES (1,0,0,0,0,8,0,0,0,0,0,0,8,0,0,0,0,0,0), "
           "(2,0,0,0,0,1,0,0,0,0,0,0,1,0,0,0,0,0,0);"
           "UPDATE meta SET value = 10 WHERE key = 'next_seq'; PRAGMA user_version = 1;";
    Db db;
    ASSERT_TRUE(db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    const auto made = db.exec(sql.str().c_str());
    ASSERT_TRUE(made) << made.error().message;
  }
  ASSERT_TRUE(open_store(file));
  EXPECT_EQ(
      rows_of(file, "SELECT queue, rank, ord, first_seq, last_seq FROM ready"),
      (std::vector<std::string>{"1|-5|0|7|7", "1|0|0|1|3", "1|0|0|5|6", "1|0|0|8|9", "2|0|0|4|4"}));
  EXPECT_EQ(rows_of(file, "SELECT queue, high FROM counter"),
            (std::vector<std::string>{"1|8", "2|1"}));
  const auto findings = check_store(file);
  ASSERT_TRUE(findings);
  EXPECT_EQ(*findings, std::vector<std::string>{});
}

// A store of any size is brought forward at once: its rows get their checksum when they are written
// again. faults.md D3
TEST(Migration, OldRowsAreReadWithoutAChecksum) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  make_version_4(file,
                 "INSERT INTO queue (id, name, admin, revision, created, on_demand, settings)"
                 " VALUES (1, 'a', 'up', 1, 1, 0, '{}');"
                 "INSERT INTO message SELECT value, 1, 'que', NULL, 0, 1, NULL, 0, NULL, 0, 0, 0,"
                 " 1, 1, value = 1, NULL, x'70' FROM json_each('[1,2,3]');"
                 "INSERT INTO detail (seq, param1, force_remote) VALUES (1, 'one', 0);"
                 "INSERT INTO ready VALUES (1, 0, 0, 3, 1);"
                 "INSERT INTO counter VALUES (1,0,0,0,0,3,0,0,0,0,0,0,3,0,0,0,0,0,0,3);"
                 "UPDATE meta SET value = 4 WHERE key = 'next_seq';");
  {
    auto store = open_store(file);
    ASSERT_TRUE(store) << store.error().message;
    engine::Engine engine(**store);
    ASSERT_TRUE(engine.open());
    core::Outbox out;
    std::vector<core::Envelope> batch;
    batch.push_back({.ticket = {}, .command = Rig::put_of("a")});
    batch.push_back(
        {.ticket = {}, .command = core::Act{.action = core::Action::cancel, .messages = {1}}});
    ASSERT_EQ(engine.run(batch, {.now = base::from_ms(5)}, out).what, Committed::What::yes);
  }
  EXPECT_EQ(rows_of(file, "SELECT seq, crc IS NULL FROM message"),
            (std::vector<std::string>{"1|0", "2|1", "3|1", "1000000004|0"}))
      << "numbers of a store that nobody remembers go on much further";
  EXPECT_EQ(rows_of(file, "SELECT param1, crc IS NULL FROM detail"),
            std::vector<std::string>{"one|0"});
  const auto findings = check_store(file);
  ASSERT_TRUE(findings);
  EXPECT_EQ(*findings, std::vector<std::string>{});
  // A new row without one is damaged.
  rows_of(file, "UPDATE message SET crc = NULL WHERE seq > 4");
  EXPECT_EQ(check_store(file)->size(), 1U);
}

// faults.md A8, A9: version 5 tells cancelled ones apart and forgets a bound nobody asked for.
TEST(Migration, GivesCancelledMessagesTheirOwnKind) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  make_version_4(
      file,
      "INSERT INTO queue VALUES (1, 'a', 'up', NULL, 1, 1, 0, NULL, "
      "'{\"keep_err\":{\"age_s\":9,\"count\":100000}}', 0),"
      " (2, 'b', 'up', NULL, 1, 1, 0, NULL, '{\"keep_err\":{\"age_s\":9,\"count\":7}}', 0);"
      "INSERT INTO message SELECT value, 1, CASE value WHEN 2 THEN 'cancelled' ELSE 'done' "
      "END,"
      " NULL, 0, 1, NULL, NULL, 5, 0, 0, 0, 1, 1, 0, NULL, x'78' FROM"
      " (SELECT 1 AS value UNION ALL SELECT 2 UNION ALL SELECT 3);"
      "INSERT INTO finished SELECT queue, 'kept', finished, seq FROM message;"
      "INSERT INTO counter VALUES (1,0,0,0,0,0,0,2,0,0,1,0,3,2,0,0,0,1,0,0),"
      " (2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0);"
      "UPDATE meta SET value = 10 WHERE key = 'next_seq';");
  ASSERT_TRUE(open_store(file));
  EXPECT_EQ(rows_of(file, "SELECT kind, seq FROM finished"),
            (std::vector<std::string>{"cancelled|2", "kept|1", "kept|3"}));
  EXPECT_EQ(rows_of(file, "SELECT expired, expired_errs FROM counter"),
            (std::vector<std::string>{"0|0", "0|0"}));
  EXPECT_EQ(rows_of(file, "SELECT what FROM timer"), (std::vector<std::string>{"keep_cancelled"}));
  EXPECT_EQ(rows_of(file, "SELECT coalesce(settings ->> '$.keep_err.count', 'any') FROM queue"),
            (std::vector<std::string>{"any", "7"}));
  const auto findings = check_store(file);
  ASSERT_TRUE(findings);
  EXPECT_EQ(*findings, std::vector<std::string>{});
}

TEST(Migration, ANewerStoreIsRefusedAndLeftAlone) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  ASSERT_TRUE(open_store(file));
  rows_of(file, fmt::format("PRAGMA user_version = {}", newest_version() + 1));
  const std::string before = dump_of(file);
  const auto refused = open_store(file);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find(std::to_string(newest_version() + 1)), std::string::npos)
      << refused.error().message;
  EXPECT_FALSE(refused.error().remedy.empty());
  EXPECT_EQ(dump_of(file), before);
  const auto findings = check_store(file);
  ASSERT_TRUE(findings);
  EXPECT_EQ(findings->size(), 1U);
}

TEST(Migration, WhatIsNoDatabaseIsRefused) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  std::ofstream{file} << std::string(5000, 'x');
  const auto refused = open_store(file);
  ASSERT_FALSE(refused);
  EXPECT_FALSE(refused.error().message.empty());
}

TEST(OpenStore, KeepsOthersFromWriting) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  auto store = open_store(file);
  ASSERT_TRUE(store);
  Db other;
  ASSERT_TRUE(other.open(file, SQLITE_OPEN_READWRITE));
  const auto read = other.one("SELECT value FROM meta WHERE key = 'boot'");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_GE(read->value_or(0), (*store)->boot()) << "it is of a block that was set aside";
  EXPECT_FALSE(other.exec("UPDATE meta SET value = 99 WHERE key = 'boot'"));
  store->reset();
  EXPECT_TRUE(other.exec("UPDATE meta SET value = 99 WHERE key = 'boot'"));
}

// Rather the row of the queue is lost than that its messages are wrong, but they may be that too.
TEST(CheckStore, MessagesOfALostQueueAreLookedAt) {
  SqliteRig rig;
  rig.define("q");
  rig.put("q");
  TempDir dir;
  const fs::path copy = dir.path() / "rq.db";
  copy_as_after_a_crash(rig.file(), copy);
  rows_of(copy, "DELETE FROM queue");
  const auto lost = check_store(copy);
  ASSERT_TRUE(lost);
  ASSERT_EQ(lost->size(), 1U);
  EXPECT_EQ(lost->front(), "message 1 is of queue 1, which is not there");
  rows_of(copy, "DELETE FROM ready");
  const auto both = check_store(copy);
  ASSERT_TRUE(both);
  ASSERT_EQ(both->size(), 2U);
  EXPECT_EQ(both->back(), "message 1 is que, but table ready has no row for it");
}

TEST(CheckStore, FindsWhatDoesNotAgree) {
  const struct {
    const char* damage;
    const char* named;
  } cases[] = {
      {"UPDATE counter SET que = que + 1", "in que"},
      {"UPDATE counter SET run = run + 1", "in run"},
      {"UPDATE counter SET high = high + 1", "high"},
      {"UPDATE counter SET scheduled = 9", "scheduled"},
      {"UPDATE counter SET done = done + 1", "1 done"},
      {"DELETE FROM ready", "table ready has no row"},
      {"DELETE FROM message WHERE seq IN (SELECT seq FROM lease)", "not there"},
      {"DELETE FROM message WHERE seq IN (SELECT first_seq FROM ready)", "not there"},
      {"INSERT INTO lease SELECT first_seq, queue, 9, 1, 1, 1, 1, NULL, NULL, NULL, NULL FROM "
       "ready",
       "in a wrong place; it is in state run"},
      {"UPDATE ready SET first_seq = last_seq + 1", "ends before it begins"},
      {"INSERT INTO ready SELECT queue, rank, ord, last_seq + 1, first_seq FROM ready", "twice"},
      {"DELETE FROM scheduled", "scheduled"},
      {"DELETE FROM parked", "parked"},
      {"DELETE FROM queue", "not there"},
  };
  for (const auto& c : cases) {
    SqliteRig rig;
    rig.define("q");
    rig.put("q");
    rig.take_one("q");
    rig.put("q");
    core::Put later = Rig::put_of("q");
    later.delay = seconds{9};
    rig.ask<core::PutDone>(std::move(later));
    core::Put prepared = Rig::put_of("q");
    prepared.prep = true;
    rig.ask<core::PutDone>(std::move(prepared));
    rig.expect_sound();
    TempDir dir;
    const fs::path copy = dir.path() / "rq.db";
    copy_as_after_a_crash(rig.file(), copy);
    rows_of(copy, c.damage);
    const auto findings = check_store(copy);
    ASSERT_TRUE(findings);
    ASSERT_FALSE(findings->empty()) << c.damage;
    bool named = false;
    for (const std::string& finding : *findings) {
      named = named || finding.find(c.named) != std::string::npos;
    }
    EXPECT_TRUE(named) << c.damage << ": " << findings->front();
  }
}

// A row that says something impossible is passed over: everything else goes on.
TEST(DamagedRow, StopsNobodyElse) {
  for (const char* damage :
       {"INSERT INTO lease SELECT 900, 1, 9, 1, 1, 1, 1, NULL, NULL, NULL, NULL",
        "INSERT INTO ready VALUES (1, -9, 0, 900, 900)", "INSERT INTO scheduled VALUES (5, 900, 1)",
        "INSERT INTO finished VALUES (1, 'held', 5, 900)",
        "UPDATE message SET queue = 77 WHERE seq = 1"}) {
    SqliteRig rig;
    rig.define("q");
    rig.put("q");
    rig.put("q");
    const fs::path copy = rig.file();
    rig.close();
    rows_of(copy, damage);
    rig.open();
    rig.pass(seconds{1});
    const auto seq = rig.put("q");
    EXPECT_EQ(rig.state(seq), core::State::que) << damage;
    EXPECT_FALSE(rig.take("q", 5).empty()) << damage;
    rig.ask<core::RunEarlyDone>(core::RunEarly{.queue = "q", .bound = 5});
    rig.pass(seconds{120});
  }
}

}  // namespace
}  // namespace rq::store::sqlite::test
