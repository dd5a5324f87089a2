#pragma once
// Actions on all messages that a filter finds, as jobs of the server: a job counts them, then acts
// on a step of them after the other, so that it never holds the engine for long. It goes on when
// the client that began it is gone, tells how far it is, and can be cancelled.
//
// Jobs are in memory only. When the server ends, what a job has done stays done, and the same
// action again does the rest.
// Thread: loop.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "core/command.h"
#include "core/store.h"
#include "pipeline/desk.h"
#include "pipeline/readers.h"

namespace rq::doors::api {

// Jobs that work at once: each has a step at the engine and a look-up at a reader.
inline constexpr std::size_t kBulkRunningMax = 8;
// Jobs that are over and can still be asked for; the oldest goes first.
inline constexpr std::size_t kBulkOverMax = 100;
// Messages that a job counts in one look-up.
inline constexpr std::int64_t kBulkCountStep = 10'000;

struct BulkOrder {
  core::Act act;  // its messages are those that the filter finds
  core::Filter filter;
  std::int64_t limit = INT64_MAX;
  bool dry_run = false;          // only count
  std::int64_t caller_uid = -1;  // who ordered it, as a ticket has it
};

struct BulkJob {
  enum class Phase : std::uint8_t { counting, acting, done, cancelled, failed };

  std::uint64_t number = 0;
  BulkOrder order;
  Phase phase = Phase::counting;
  std::int64_t matched = 0;  // so far, while it counts
  std::int64_t changed = 0;
  std::int64_t refused = 0;
  // Of the changed ones (while it counts, of the matched): they run, were told to stop, and end
  // when their scripts have.
  std::int64_t told_to_stop = 0;
  std::int64_t retention_removes = 0;  // what retention will remove, because of the action
  std::vector<std::string> sample;     // ids of the first ones
  std::vector<std::pair<std::string, base::Error>> errors;  // id and why, of the first refused
  base::Instant started{};
  base::Instant ended{};
  std::optional<base::Error> error;  // why it failed

  [[nodiscard]] bool over() const { return phase != Phase::counting && phase != Phase::acting; }
};
[[nodiscard]] std::string_view name_of(BulkJob::Phase phase);

class BulkJobs final : public pipeline::LoopDoor {
 public:
  // Before Loop::start() and Pipeline::start().
  BulkJobs(pipeline::Desk& desk, pipeline::Readers& readers);
  ~BulkJobs() override;

  // Refuses when too many work. Valid until the next call of begin().
  [[nodiscard]] base::Result<const BulkJob*> begin(BulkOrder&& order);
  // Null when there is none. Likewise.
  [[nodiscard]] const BulkJob* find(std::uint64_t number) const;
  [[nodiscard]] std::vector<const BulkJob*> all() const;  // by number
  // It ends after the step that runs. Nothing happens to one that is over.
  void cancel(std::uint64_t number);
  void cancel_all();
  // Calls `then` with the job when it is over, or after `longest`.
  // REQUIRES: it is there and not over.
  using Then = std::function<void(const BulkJob&)>;
  void wait(std::uint64_t number, std::optional<base::Millis> longest, Then then);

  void on_deliveries(std::vector<core::Delivery>& deliveries) override;

 private:
  struct Waiting {
    std::unique_ptr<boost::asio::steady_timer> timer;  // null: until it is over
    Then then;
  };
  struct Work : BulkJob {
    core::Search search;
    std::vector<std::string> ids;  // of the step that the engine works on
    std::int64_t met = 0;          // while it acts
    bool last_step = false;
    bool cancel_asked = false;
    std::map<core::QueueId, core::Queue> queues;
    // Messages that the action makes finished ones of a queue.
    std::map<std::pair<core::QueueId, core::Keep>, std::int64_t> comes;
    std::map<std::uint64_t, Waiting> waiting;
  };

  [[nodiscard]] Work* working(std::uint64_t number);
  void know_queues(Work& work, core::QueuesListed& listed);
  void look(Work& work);
  void on_found(std::uint64_t number, base::Result<core::FoundPage>& page);
  // It is in the queue that it would be moved to: neither counted nor touched.
  [[nodiscard]] static bool stays(const Work& work, const core::Found& found);
  // It is only told to stop when it is in that state.
  [[nodiscard]] static bool ends_later(const Work& work, core::State state);
  void count(Work& work, const core::FoundPage& page);
  void counted(Work& work);
  void act(Work& work, const core::FoundPage& page);
  void acted(Work& work, core::ActDone& done);
  void tally(Work& work, const core::Found& found);
  void end(Work& work, BulkJob::Phase phase);
  void fail(Work& work, const base::Error& error);
  void ask(const Work& work, core::Command&& command);
  void forget_oldest();

  pipeline::Readers& readers_;
  std::map<std::uint64_t, Work> jobs_;
  std::uint64_t last_ = 0;
  std::uint64_t waits_ = 0;
};

}  // namespace rq::doors::api
