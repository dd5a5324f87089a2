#pragma once
// A bounded mailbox between threads: many post, one drains. The only place for a mutex.
// A full mailbox refuses at the door, so a slow reader slows its senders and never eats memory.
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace rq::base {

template <typename T>
class Mailbox {
 public:
  explicit Mailbox(std::size_t capacity) : capacity_(capacity) {}

  // Any thread. False when full or closed; then `item` is untouched.
  [[nodiscard]] bool post(T&& item) {
    {
      const std::scoped_lock lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(item));
      if (!waiting_) return true;
      waiting_ = false;
    }
    wake_.notify_one();
    return true;
  }

  // Any thread. Posts all of `batch` (and empties it), or nothing when they do not fit.
  [[nodiscard]] bool post_all(std::vector<T>& batch) {
    {
      const std::scoped_lock lock(mutex_);
      if (closed_ || items_.size() + batch.size() > capacity_) return false;
      if (batch.empty()) return true;  // or nobody would wake a reader that waits
      if (items_.empty()) {
        items_.swap(batch);
      } else {
        for (T& item : batch) items_.push_back(std::move(item));
      }
      batch.clear();
      if (!waiting_) return true;
      waiting_ = false;
    }
    wake_.notify_one();
    return true;
  }

  // The one reader. Swaps all that has arrived into `out` (which must be empty, its capacity is
  // reused). Waits until something is there, `until` has passed, or the mailbox is closed.
  // False when closed and empty.
  template <typename Clock, typename Duration>
  bool drain_until(std::vector<T>& out,
                   std::optional<std::chrono::time_point<Clock, Duration>> until) {
    std::unique_lock lock(mutex_);
    const auto ready = [this] { return !borrowed_ && (!items_.empty() || closed_ || poked_); };
    if (!ready()) {
      waiting_ = true;
      if (until) {
        wake_.wait_until(lock, *until, ready);
      } else {
        wake_.wait(lock, ready);
      }
      overslept_ = borrowed_;
      wake_.wait(lock, [this] { return !borrowed_; });
      overslept_ = false;
      waiting_ = false;
    }
    poked_ = false;
    out.swap(items_);
    return !(closed_ && out.empty());
  }

  // Any thread. Takes the reader's turn while the reader sleeps and nothing is there for it: all
  // that was ever posted has been drained, and the reader is done with it. It sleeps on until
  // give_back().
  [[nodiscard]] bool borrow() {
    const std::scoped_lock lock(mutex_);
    if (!waiting_ || borrowed_ || !items_.empty() || poked_ || closed_) return false;
    borrowed_ = true;
    return true;
  }
  void give_back() {
    {
      const std::scoped_lock lock(mutex_);
      borrowed_ = false;
      if (items_.empty() && !poked_ && !closed_ && !overslept_) return;
    }
    wake_.notify_one();
  }

  // Any thread. Makes a waiting drain return, with nothing if nothing is there.
  void poke() {
    {
      const std::scoped_lock lock(mutex_);
      poked_ = true;
    }
    wake_.notify_one();
  }

  // Any thread. No more posts; what is there can still be drained.
  void close() {
    {
      const std::scoped_lock lock(mutex_);
      closed_ = true;
    }
    wake_.notify_all();
  }

  [[nodiscard]] std::size_t size() const {
    const std::scoped_lock lock(mutex_);
    return items_.size();
  }

 private:
  const std::size_t capacity_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Protected by mutex_:
  std::vector<T> items_;
  bool waiting_ = false;
  bool poked_ = false;
  bool closed_ = false;
  bool borrowed_ = false;
  bool overslept_ = false;  // the reader's time is up, the borrower has its turn
};

}  // namespace rq::base
