#pragma once
// What several stores in memory share: what is committed, who may write it, and what a loss of
// power would leave of it.
// Thread: one.
#include <cstdint>
#include <string>
#include <vector>

#include "store/memory/content.h"

namespace rq::store::memory {

class Disk {
 public:
  // The newest is the only writer from now on.
  [[nodiscard]] Boot take_boot() { return newest_ = ++boots_; }
  [[nodiscard]] bool is_newest(Boot boot) const { return boot == newest_; }

  // The first of `n` numbers that nobody else will get, `gap` behind the last ones. Synced.
  [[nodiscard]] Seq take_numbers(Seq n, Seq gap);
  [[nodiscard]] QueueId take_queue_id(QueueId gap) { return queue_ids_ += 1 + gap; }

  [[nodiscard]] const Content& content() const { return content_; }
  // A new commit. Synced, it can never get lost, nor can those before it.
  void commit(Content&& content, bool synced);
  // Commits that a loss of power may take away.
  [[nodiscard]] std::size_t unsynced() const { return before_.size(); }
  // They are synced a second after the first of them that wanted it.
  void sync_at(Instant at);
  [[nodiscard]] Instant sync_at() const { return sync_at_; }
  void sync();

  // Takes away the last `commits`, at most unsynced(). Nobody is a writer after it.
  void lose_power(std::size_t commits);

 private:
  Content content_;
  std::vector<Content> before_;  // what was there before each commit that is not synced
  Boot boots_ = 0;
  Boot newest_ = 0;
  Seq numbers_ = 0;
  QueueId queue_ids_ = 0;
  Instant sync_at_ = Instant::max();
};

}  // namespace rq::store::memory
