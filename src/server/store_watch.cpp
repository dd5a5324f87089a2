#include "server/store_watch.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/thread.h"

namespace rq::server {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kLookEvery{1};
// It works one part in kShare of the time, and begins a new pass kBetweenPasses after the last one.
constexpr int kShare = 100;
constexpr std::chrono::milliseconds kPieceMin{20};
constexpr std::chrono::hours kBetweenPasses{6};
constexpr std::chrono::minutes kAfterFault{1};
constexpr std::size_t kReportedMax = 100;  // of one pass; rq doctor names all
constexpr int kPassesAtOnce = 3;           // one after the other, while something is found
// Who has asked the engine.
constexpr std::uint64_t kOfCheck = 1;
constexpr std::uint64_t kOfLookup = 2;

}  // namespace

StoreWatch::StoreWatch(pipeline::Pipeline& pipeline, std::unique_ptr<core::Reader> reader,
                       std::function<void()> gone, std::function<void()> look)
    : pipeline_(pipeline),
      reader_(std::move(reader)),
      on_gone_(std::move(gone)),
      on_look_(std::move(look)),
      door_(pipeline.add_door(*this)),
      end_(1) {
  reader_->stop_when([this] { return stopping_.load(std::memory_order_relaxed); });
}

StoreWatch::~StoreWatch() { stop(); }

void StoreWatch::start() {
  thread_ = std::thread([this] { run(); });
}

void StoreWatch::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  end_.close();
  if (thread_.joinable()) thread_.join();
}

void StoreWatch::examine(std::vector<core::Suspect>&& suspects) {
  // Others are met again as long as they are damaged.
  if (of_lookups_.load(std::memory_order_relaxed) > 0) return;
  submit({.suspects = std::move(suspects), .rebuild = {}}, of_lookups_);
}

void StoreWatch::submit(core::Examine&& examine, std::atomic<int>& under_way) {
  const core::Ticket ticket{
      .door = door_, .connection = 0, .request = &under_way == &of_check_ ? kOfCheck : kOfLookup};
  under_way.fetch_add(1, std::memory_order_relaxed);
  if (!pipeline_.submit({.ticket = ticket, .command = std::move(examine)})) {
    under_way.fetch_sub(1, std::memory_order_relaxed);
  }
}

void StoreWatch::deliver(std::vector<core::Delivery>&& deliveries) {
  for (const core::Delivery& delivery : deliveries) {
    auto& under_way = delivery.ticket.request == kOfCheck ? of_check_ : of_lookups_;
    under_way.fetch_sub(1, std::memory_order_relaxed);
  }
}

void StoreWatch::run() {
  base::lower_priority();
  auto next_check = steady_clock::now();
  auto next_look = next_check;
  for (;;) {
    if (const auto there = reader_->check_still_there(); !there) {
      spdlog::critical("{}; the server ends; {}", there.error().message, there.error().remedy);
      gone_.store(true, std::memory_order_relaxed);
      return on_gone_();
    }
    if (next_look <= steady_clock::now()) {
      on_look_();
      next_look = steady_clock::now() + kLookEvery;
    }
    if (next_check <= steady_clock::now()) next_check = steady_clock::now() + check();
    if (!sleep(std::min<steady_clock::duration>(kLookEvery, next_check - steady_clock::now()))) {
      return;
    }
  }
}

// False: it is to end.
bool StoreWatch::sleep(steady_clock::duration how_long) {
  std::vector<int> none;
  return end_.drain_until(none, std::optional{steady_clock::now() + how_long});
}

// The next piece; and how long to wait before the one after it.
steady_clock::duration StoreWatch::check() {
  // What is being mended would be found once more.
  if (of_check_.load(std::memory_order_relaxed) > 0) return kLookEvery;
  const auto begun = steady_clock::now();
  std::vector<core::Finding> found;
  const auto more = reader_->check(found);
  report(found);
  const bool broken_off = !more && !found.empty() && found.back().page;
  if (!more && !broken_off) {
    if (stopping_.load(std::memory_order_relaxed)) return kBetweenPasses;
    reported_ = 0;
    found_ = false;
    rebuild_asked_ = false;
    spdlog::warn("checking the store: {}; it is tried again in a minute", more.error().message);
    return kAfterFault;
  }
  if (broken_off || !*more) {
    spdlog::info("{}: {} findings",
                 broken_off
                     ? "the check of the store has ended at what it cannot read, and has not "
                       "looked at what is behind it"
                     : "the whole store has been checked",
                 std::exchange(reported_, 0));
    // Whether it is mended now is looked at once more, and once more after a rebuild.
    passes_ = std::exchange(found_, false) ? passes_ + 1 : 0;
    rebuild_asked_ = false;
    if (passes_ > 0 && passes_ < kPassesAtOnce) return kLookEvery;
    passes_ = 0;
    return kBetweenPasses;
  }
  return std::max<steady_clock::duration>(kPieceMin, (steady_clock::now() - begun) * kShare);
}

void StoreWatch::report(std::vector<core::Finding>& found) {
  if (found.empty()) return;
  // Counters are right or wrong beside rows that are sound: those are mended first.
  const auto is_miscount = [](const core::Finding& finding) {
    return finding.miscount.has_value();
  };
  const bool only_counters = !found_ && std::all_of(found.begin(), found.end(), is_miscount);
  found_ = true;
  core::Examine examine;
  for (core::Finding& finding : found) {
    if (reported_++ < kReportedMax) spdlog::error("checking the store: {}", finding.text);
    // What was examined and is found again cannot be mended message by message.
    if (finding.page || (passes_ > 0 && finding.suspect.seq > 0)) {
      examine.rebuild = core::RebuildWhen::now;
    } else if (finding.suspect.seq > 0) {
      examine.suspects.push_back(finding.suspect);
    } else if (finding.miscount && only_counters) {
      examine.miscounts.push_back(*finding.miscount);
    } else if (finding.miscount && passes_ + 1 < kPassesAtOnce) {
      continue;  // the next pass counts once more
    } else if (!examine.rebuild) {
      examine.rebuild = core::RebuildWhen::at_start;
    }
  }
  if (examine.rebuild == core::RebuildWhen::now && std::exchange(rebuild_asked_, true)) {
    examine.rebuild.reset();  // once in a pass
  }
  if (examine.suspects.empty() && examine.miscounts.empty() && !examine.rebuild) return;
  submit(std::move(examine), of_check_);
}

}  // namespace rq::server
