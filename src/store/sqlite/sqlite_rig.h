#pragma once
// For tests of this folder, and for the suites that run on it: folders that go with the test, what
// a crash leaves, and the rows of a file.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/temp_dir_rig.h"
#include "store/contract/engine_rig.h"
#include "store/sqlite/db.h"
#include "store/sqlite/open.h"

namespace rq::store::sqlite::test {

namespace fs = std::filesystem;
using base::Code;
using base::Error;
using base::test::TempDir;
using contract::Command;
using contract::Rig;
using std::chrono::seconds;

// What a crash of the process leaves: the files as they are, without a close.
inline void copy_as_after_a_crash(const fs::path& from, const fs::path& to) {
  fs::copy_file(from, to, fs::copy_options::overwrite_existing);
  const fs::path log = from.string() + "-wal";
  if (fs::exists(log)) {
    fs::copy_file(log, to.string() + "-wal", fs::copy_options::overwrite_existing);
  }
}

// Rows of `sql`, columns joined by '|', one row a string.
inline std::vector<std::string> rows_of(const fs::path& file, const std::string& sql) {
  std::vector<std::string> rows;
  Db db;
  Statement statement;
  auto ready = db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX);
  if (ready) ready = statement.prepare(db.handle(), sql.c_str(), false);
  if (!ready) {
    ADD_FAILURE() << ready.error().message;
    return rows;
  }
  for (;;) {
    const auto found = statement.step();
    if (!found) ADD_FAILURE() << found.error().message;
    if (!found || !*found) return rows;
    std::string row;
    for (int i = 0; i < statement.columns(); ++i) {
      if (i > 0) row += '|';
      row += statement.text(i);
    }
    rows.push_back(std::move(row));
  }
}

// Every row of every table, as text; but for the identity, which no two stores share.
inline std::string dump_of(const fs::path& file) {
  std::string out;
  for (const std::string& table :
       rows_of(file, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")) {
    out += "== " + table + "\n";
    for (const std::string& row : rows_of(file, "SELECT * FROM " + table)) {
      if (!row.starts_with("identity|")) out += row + "\n";
    }
  }
  return out;
}

// Makes the file so much larger; what does is free again.
inline void make_larger(const fs::path& file, std::size_t mib) {
  Db db;
  ASSERT_TRUE(db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX));
  ASSERT_TRUE(db.exec(fmt::format("CREATE TABLE large (x); INSERT INTO large VALUES "
                                  "(zeroblob({})); DROP TABLE large",
                                  mib << 20U)
                          .c_str()));
}

// A store that is open.
inline base::Result<std::unique_ptr<Store>> open_store(const fs::path& file,
                                                       const Options& options = {}) {
  auto store = make_store(file, options);
  RQ_TRY(store->open());
  return store;
}

class SqliteHome final : public contract::Home {
 public:
  explicit SqliteHome(const Options& options) : options_(options) {}
  std::unique_ptr<Store> make() override { return make_store(file_, options_); }
  std::unique_ptr<Reader> reader() override {
    auto reader = open_reader(file_);
    RQ_CHECK(reader.has_value());
    return std::move(*reader);
  }
  void crash() override {
    const fs::path copy = dir_.path() / fmt::format("crash-{}.db", ++crashes_);
    copy_as_after_a_crash(file_, copy);
    fs::copy_file(file_.string() + ".identity", copy.string() + ".identity");
    file_ = copy;
  }
  std::vector<std::string> findings() override {
    auto found = check_store(file_);
    RQ_CHECK(found.has_value());
    return std::move(*found);
  }
  std::string dump() override { return dump_of(file_); }
  [[nodiscard]] const fs::path& file() const { return file_; }

 private:
  Options options_;
  TempDir dir_;
  fs::path file_ = dir_.path() / "rq.db";
  int crashes_ = 0;
};

// The engine over SQLite, for what no other store has.
class SqliteRig : public contract::Rig {
 public:
  explicit SqliteRig(const Options& options = {})
      : Rig({.name = "sqlite",
             .make = [options] { return std::make_unique<SqliteHome>(options); }}) {}
  [[nodiscard]] const fs::path& file() { return static_cast<SqliteHome&>(home()).file(); }
};

}  // namespace rq::store::sqlite::test
