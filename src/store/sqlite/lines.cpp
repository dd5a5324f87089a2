#include "store/sqlite/lines.h"

#include <algorithm>
#include <utility>

namespace rq::store::sqlite {

using base::Result;

namespace {
// Changes of lines kept while a part is read ahead; with more it is not worth waiting for.
constexpr std::size_t kLineChangesMax = 16'384;
}  // namespace

Result<void> Lines::open(Db& db, const std::filesystem::path& file, const Options& options) {
  options_ = options;
  windows_.set_max(options.line_max);
  RQ_TRY(query_.prepare(db));
  if (!options.threads) return {};
  RQ_TRY_ASSIGN(ahead, open_line_ahead(file));
  ahead_ = std::move(ahead);
  return {};
}

Result<std::optional<LineKey>> Lines::peek(QueueId queue) {
  auto& window = windows_.of(queue);
  while (!window.loaded || (window.keys.empty() && !window.complete)) RQ_TRY(read_on(queue));
  if (window.keys.empty()) return std::optional<LineKey>{};
  return std::optional{window.keys.front()};
}

// Fills the window with the keys behind those that it has had, and holds the messages. What has
// been read is as of the last commit, or older when it was read ahead.
Result<void> Lines::read_on(QueueId queue) {
  auto& window = windows_.of(queue);
  const LineKey after = window.loaded ? window.bound : kBeforeAll;
  RQ_TRY_ASSIGN(rows, rows_behind(queue, after));
  damaged_.insert(damaged_.end(), rows.damaged.begin(), rows.damaged.end());
  window.loaded = true;
  window.complete = rows.complete;
  window.bound = std::max(after, rows.bound);
  window.keys.clear();
  const auto changes = windows_.changes(queue, after, window.complete ? kBehindAll : window.bound);
  auto change = changes.begin();
  const auto take_change = [&] {
    if (change->ready) window.keys.push_back(change->key);
    ++change;
  };
  for (Message& message : rows.messages) {
    const LineKey key = line_key(message);
    if (key <= after) continue;
    while (change != changes.end() && change->key < key) take_change();
    if (change != changes.end() && change->key == key) {
      take_change();
      continue;
    }
    window.keys.push_back(key);
    if (records_.find(message.seq) == nullptr) records_.hold_stored(std::move(message));
  }
  while (change != changes.end()) take_change();
  return {};
}

// From `after` on, or from some place before it.
Result<LineRows> Lines::rows_behind(QueueId queue, const LineKey& after) {
  const bool here = part_ && part_->queue == queue && part_->after <= after;
  if (here && ahead_->state() == LineAhead::State::done) {
    part_.reset();
    // Whatever the fault was, the own connection can try.
    if (auto rows = ahead_->finish()) return rows;
  }
  return query_.read({.queue = queue, .after = after, .rows = options_.line_read});
}

void Lines::trim() {
  for (const QueueId queue : windows_.trim()) {
    if (part_ && part_->queue == queue) part_.reset();
  }
}

void Lines::look_ahead(bool quiet) {
  const std::optional<QueueId> used = std::exchange(used_, std::nullopt);
  if (part_) {
    const auto& window = windows_.of(part_->queue);
    if (window.loaded && window.bound >= part_->after &&
        windows_.change_count() <= kLineChangesMax) {
      return windows_.forget_changes_but(part_->queue);
    }
    part_.reset();
  }
  windows_.forget_changes();
  if (!ahead_ || ahead_->state() == LineAhead::State::running || !used || quiet) return;
  if (ahead_->state() == LineAhead::State::done) static_cast<void>(ahead_->finish());
  const auto& window = windows_.of(*used);
  if (!window.loaded || window.complete || window.keys.size() > options_.line_ahead / 4 * 3) return;
  part_ = {.queue = *used, .after = window.bound, .rows = options_.line_ahead};
  ahead_->start(*part_);
}

void Lines::clear() {
  windows_.clear();
  part_.reset();
  used_.reset();
  damaged_.clear();
}

void Lines::wait_for_reader() {
  if (ahead_ && ahead_->state() != LineAhead::State::idle) ahead_->wait();
}

}  // namespace rq::store::sqlite
