// The contract of store.h on SQLite.
#include "store/contract/contract.h"
#include "store/contract/engine_rig.h"

namespace rq::store::contract {
namespace {

namespace sq = store::sqlite;

class SqliteHome final : public Home {
 public:
  explicit SqliteHome(const sq::Options& options) : options_(options) {}
  std::unique_ptr<Store> open() override { return value_of(sq::open_store(file_, options_)); }
  std::unique_ptr<Reader> reader() override { return value_of(sq::open_reader(file_)); }
  void crash() override {
    const auto copy = dir_.path() / fmt::format("crash-{}.db", ++crashes_);
    sq::test::copy_as_after_a_crash(file_, copy);
    file_ = copy;
  }
  std::vector<std::string> findings() override {
    auto found = sq::check_store(file_);
    EXPECT_TRUE(found);
    return found ? std::move(*found) : std::vector<std::string>{};
  }

 private:
  template <typename T>
  static T value_of(Result<T> result) {
    EXPECT_TRUE(result) << result.error().message;
    return std::move(result).value();
  }

  sq::Options options_;
  sq::test::TempDir dir_;
  std::filesystem::path file_ = dir_.path() / "rq.db";
  int crashes_ = 0;
};

Factory factory(const std::string& name, const sq::Options& options) {
  return {.name = name, .make = [options] { return std::make_unique<SqliteHome>(options); }};
}
const Factory kSqlite = factory("sqlite", {});
// With its threads, a small log, and lines that are long when a few messages stand in them.
const Factory kInSmallPieces = factory(
    "in_small_pieces",
    {.wal_bytes = 64 * 1024, .threads = true, .line_max = 8, .line_read = 2, .line_ahead = 6});
std::string name_of(const testing::TestParamInfo<Factory>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreContract, testing::Values(kSqlite, kInSmallPieces), name_of);
INSTANTIATE_TEST_SUITE_P(Sqlite, StoreReaders, testing::Values(kSqlite), name_of);

}  // namespace
}  // namespace rq::store::contract
