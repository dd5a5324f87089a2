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
TEST(WorkerNotes, TheLastWorkerThatIsDrainingIsTheReasonWhyNothingIsTaken) {
  WorkerNotes notes;
  const base::Instant now{hours{100}};
  EXPECT_EQ(notes.last_is_draining(now), nullptr);
  notes.seen("a", {.version = "1", .seen = now, .draining = true});
  notes.seen("b", {.version = "1", .seen = now});
  EXPECT_EQ(notes.last_is_draining(now), nullptr) << "the other one may take them";
  notes.seen("b", {.version = "1", .seen = now - seconds{31}});
  ASSERT_NE(notes.last_is_draining(now), nullptr);
  EXPECT_EQ(*notes.last_is_draining(now), "a");
  EXPECT_EQ(notes.last_is_draining(now + seconds{31}), nullptr) << "nobody knows of it any more";
  notes.gone("a");
  EXPECT_EQ(notes.last_is_draining(now), nullptr);
}

}  // namespace
}  // namespace rq::doors::api
