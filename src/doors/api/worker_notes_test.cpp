#include "doors/api/worker_notes.h"

#include <gtest/gtest.h>

#include <chrono>

namespace rq::doors::api {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

// faults.md B18
TEST(WorkerNotes, AHoldLastsUntilItsTime) {
  WorkerNotes notes;
  const base::Instant now{hours{1}};
  notes.hold("q", {.text = "why", .until = now + seconds{2}});
  ASSERT_TRUE(notes.hold_of("q", now).has_value());
  EXPECT_EQ(notes.hold_of("q", now)->text, "why");
  EXPECT_FALSE(notes.hold_of("other", now).has_value());
  EXPECT_FALSE(notes.hold_of("q", now + seconds{2}).has_value());
}

// faults.md D17
TEST(WorkerNotes, AWorkerIsKnownUntilItIsGoneOrLongSilent) {
  WorkerNotes notes;
  const base::Instant now{hours{100}};
  notes.seen("a", {.version = "1", .seen = now});
  notes.seen("b", {.version = "1", .seen = now - hours{2}});
  notes.seen("c", {.version = "1", .seen = now - hours{25}});
  EXPECT_EQ(notes.workers(now).size(), 2U);
  notes.gone("a");
  EXPECT_EQ(notes.workers(now).begin()->first, "b");
}

// faults.md B18, relative
TEST(WorkerNotes, OneThatIsAtWorkIsEnough) {
  using Kind = WorkerNotes::Presence::Kind;
  WorkerNotes notes;
  const base::Instant now{hours{100}};
  EXPECT_EQ(notes.presence(now).kind, Kind::none);
  notes.seen("a", {.version = "1", .seen = now, .draining = true});
  notes.seen("b", {.version = "1", .seen = now});
  EXPECT_EQ(notes.presence(now).kind, Kind::at_work) << "the other one may take messages";
  notes.seen("b", {.version = "1", .seen = now - seconds{31}});
  EXPECT_EQ(notes.presence(now).kind, Kind::draining);
  EXPECT_EQ(notes.presence(now).name, "a");
  const WorkerNotes::Presence later = notes.presence(now + seconds{31});
  EXPECT_EQ(later.kind, Kind::silent);
  EXPECT_EQ(later.name, "a") << "the first of two that are alike";
  EXPECT_EQ(later.seen, now);
  notes.gone("a");
  notes.gone("b");
  EXPECT_EQ(notes.presence(now).kind, Kind::none);
}

}  // namespace
}  // namespace rq::doors::api
