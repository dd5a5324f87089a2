// The log is copied into the database beside the engine, and stays small while it is.
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::sqlite::test {
namespace {

constexpr std::int64_t kLogBytes = 256 * 1024;

Options beside() {
  Options options;
  options.wal_bytes = kLogBytes;
  options.threads = true;
  return options;
}

std::int64_t bytes_of(const fs::path& file) {
  std::error_code none;
  const auto size = fs::file_size(file, none);
  return none ? 0 : static_cast<std::int64_t>(size);
}

TEST(Checkpointer, CopiesWhileTheEngineWritesAndBoundsTheLog) {
  SqliteRig rig(beside());
  rig.define("q");
  constexpr int kBatches = 3000;
  std::int64_t longest = 0;
  for (int i = 0; i < kBatches; ++i) {
    for (int j = 0; j < 3; ++j) rig.submit(Rig::put_of("q", std::string(500, 'x')));
    rig.run();
    ASSERT_FALSE(testing::Test::HasFailure());
    longest = std::max(longest, bytes_of(rig.file().string() + "-wal"));
  }
  EXPECT_EQ(rig.counters("q").in(State::que), 3 * kBatches);
  // Twice its length, and the pages of the batch that got it there.
  EXPECT_LE(longest, 2 * kLogBytes + 64 * 1024);
  EXPECT_GT(bytes_of(rig.file()), 3 * kBatches * 500 / 2) << "most of it is in the database";
  rig.expect_sound();
}

TEST(Checkpointer, ACrashInTheMiddleLosesNothing) {
  for (int round = 1; round <= 10; ++round) {
    SqliteRig rig(beside());
    rig.define("q");
    int batches = 0;
    // So long that the log is being copied, each time at another moment of that.
    while (bytes_of(rig.file().string() + "-wal") < kLogBytes * 3 / 4) {
      rig.submit(Rig::put_of("q", std::string(500, 'x')));
      rig.run();
      ++batches;
    }
    for (int i = 0; i < round; ++i, ++batches) {
      rig.submit(Rig::put_of("q", std::string(500, 'x')));
      rig.run();
    }
    rig.crash();
    EXPECT_EQ(rig.counters("q").in(State::que), batches);
    rig.expect_sound();
  }
}

}  // namespace
}  // namespace rq::store::sqlite::test
