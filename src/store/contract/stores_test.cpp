// The stores that the suites of this folder run on.
#include <gtest/gtest.h>

#include "store/contract/home_rig.h"
#include "store/contract/memory_rig.h"
#include "store/sqlite/open.h"
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::contract {
namespace {

Factory sqlite_store(const std::string& name, const sqlite::Options& options) {
  return {.name = name,
          .make = [options] { return std::make_unique<sqlite::test::SqliteHome>(options); }};
}

Factory memory_store(const std::string& name, const memory::Options& options) {
  return {.name = name, .make = [options] { return std::make_unique<MemoryHome>(options); }};
}

}  // namespace

std::vector<Factory> all_stores() {
  return {
      memory_store("memory", {}),
      // Two loads a batch, lists that come short, numbers in small blocks with gaps.
      memory_store(
          "memory_scarce",
          {.rounds_max = 2, .short_lists = true, .short_due = true, .block_max = 3, .gap_max = 4}),
      sqlite_store("sqlite", {}),
      // With its threads, a small log, and lines that are long when a few messages stand in them.
      sqlite_store("sqlite_in_small_pieces", {.wal_bytes = 64 * 1024,
                                              .threads = true,
                                              .line_max = 8,
                                              .line_read = 2,
                                              .line_ahead = 6}),
  };
}

}  // namespace rq::store::contract
