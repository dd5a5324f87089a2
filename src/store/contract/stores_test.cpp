// The stores that the suites of this folder run on.
#include <gtest/gtest.h>

#include "store/contract/home.h"
#include "store/sqlite/open.h"
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::contract {
namespace {

Factory sqlite_store(const std::string& name, const sqlite::Options& options) {
  return {.name = name,
          .make = [options] { return std::make_unique<sqlite::test::SqliteHome>(options); }};
}

}  // namespace

std::vector<Factory> all_stores() {
  return {
      sqlite_store("sqlite", {}),
      // With its threads, a small log, and lines that are long when a few messages stand in them.
      sqlite_store("sqlite_in_small_pieces",
                   {.wal_bytes = 64 * 1024, .threads = true, .line_max = 8, .line_read = 2,
                    .line_ahead = 6}),
  };
}

}  // namespace rq::store::contract
