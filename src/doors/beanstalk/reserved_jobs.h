#pragma once
// The jobs that one connection has reserved: by number, with the token and the end of the lease.
// An open hash table in one piece of memory: a worker with a hundred jobs in hand reserves and
// deletes without allocating.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/time.h"
#include "core/message.h"

namespace rq::doors::beanstalk {

class ReservedJobs {
 public:
  struct Job {
    core::Token token;
    base::Instant until{};
  };

  // Replaces what was there of the same message.
  void insert(const Job& job) {
    if (2 * (count_ + 1) > cells_.size()) grow();
    Job& cell = cells_[index_of(job.token.seq)];
    if (cell.token.seq == 0) ++count_;
    cell = job;
    if (soonest_) soonest_ = std::min(*soonest_, job.until);
    if (count_ == 1) soonest_ = job.until;
  }

  // Null when it is not there. Valid until the next change.
  [[nodiscard]] Job* find(core::Seq seq) {
    if (count_ == 0 || seq == 0) return nullptr;
    Job& cell = cells_[index_of(seq)];
    return cell.token.seq == seq ? &cell : nullptr;
  }

  // Only when it is there with this very attempt: a later lease stays.
  void erase(const core::Token& token) {
    Job* job = find(token.seq);
    if (job == nullptr || !(job->token == token)) return;
    if (soonest_ == job->until) soonest_.reset();
    close_gap(static_cast<std::size_t>(job - cells_.data()));
    --count_;
    if (count_ == 0 && cells_.size() > kCellsKept) cells_ = {};
  }

  void touch(Job& job, base::Instant until) {
    if (soonest_ == job.until) soonest_.reset();
    job.until = until;
    if (soonest_) soonest_ = std::min(*soonest_, until);
  }

  // The earliest end of a lease that has not ended at `now`. Forgets those that ended long ago, so
  // that a client that never finishes anything does not make the table grow.
  [[nodiscard]] std::optional<base::Instant> soonest(base::Instant now) {
    if (count_ == 0) return std::nullopt;
    if (!soonest_ || *soonest_ <= now) look_for_soonest(now);
    return soonest_;
  }

  [[nodiscard]] std::size_t size() const { return count_; }
  void clear() {
    cells_ = {};
    count_ = 0;
    soonest_.reset();
  }

 private:
  static constexpr std::size_t kCellsKept = 256;
  static constexpr std::chrono::minutes kForgetAfter{10};

  [[nodiscard]] std::size_t mask() const { return cells_.size() - 1; }
  [[nodiscard]] std::size_t home_of(core::Seq seq) const {
    // Numbers come in runs: spread them, so that runs do not pile up.
    const auto hash = static_cast<std::uint64_t>(seq) * 0x9E3779B97F4A7C15ULL;
    return static_cast<std::size_t>(hash >> 32) & mask();
  }
  // The cell that holds `seq`, or the free one where it would go.
  [[nodiscard]] std::size_t index_of(core::Seq seq) const {
    std::size_t index = home_of(seq);
    while (cells_[index].token.seq != 0 && cells_[index].token.seq != seq) {
      index = (index + 1) & mask();
    }
    return index;
  }
  void close_gap(std::size_t gap) {
    for (std::size_t next = (gap + 1) & mask(); cells_[next].token.seq != 0;
         next = (next + 1) & mask()) {
      const std::size_t home = home_of(cells_[next].token.seq);
      if (((next - home) & mask()) < ((next - gap) & mask())) continue;
      cells_[gap] = cells_[next];
      gap = next;
    }
    cells_[gap] = Job{};
  }
  void grow() {
    std::vector<Job> old(std::max<std::size_t>(8, 2 * cells_.size()));
    old.swap(cells_);
    for (const Job& job : old) {
      if (job.token.seq != 0) cells_[index_of(job.token.seq)] = job;
    }
  }
  void look_for_soonest(base::Instant now) {
    soonest_.reset();
    std::vector<core::Token> forget;
    for (const Job& job : cells_) {
      if (job.token.seq == 0) continue;
      if (job.until <= now) {
        if (job.until + kForgetAfter <= now) forget.push_back(job.token);
        continue;
      }
      if (!soonest_ || job.until < *soonest_) soonest_ = job.until;
    }
    const auto found = soonest_;
    for (const core::Token& token : forget) erase(token);
    soonest_ = found;
  }

  std::vector<Job> cells_;  // a power of two of them; seq 0: free
  std::size_t count_ = 0;
  std::optional<base::Instant> soonest_;  // absent: not known
};

}  // namespace rq::doors::beanstalk
