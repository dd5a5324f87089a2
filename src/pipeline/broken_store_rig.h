#pragma once
// For tests: a store whose commits and openings come out as the test says.
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include "core/store.h"

namespace rq::pipeline::test {

// What becomes of a commit: what the engine is told, and whether it is done nevertheless.
struct Fate {
  core::Committed told{};
  bool done = false;
};

// The fates of the next commits; after them all goes well. Any thread.
class Fates {
 public:
  void next_commit(core::Committed::What what, base::Code code, bool done = false) {
    const std::scoped_lock lock(mutex_);
    commits_.push_back(
        {.told = {.what = what, .why = base::fail(code, "as the test wants it")}, .done = done});
  }
  // So many openings fail.
  void next_opens_fail(int count, base::Code code = base::Code::internal) {
    const std::scoped_lock lock(mutex_);
    failing_opens_ = count;
    opens_fail_with_ = code;
  }
  [[nodiscard]] Fate of_commit() {
    const std::scoped_lock lock(mutex_);
    if (commits_.empty()) return {.told = {}, .done = true};
    Fate fate = std::move(commits_.front());
    commits_.pop_front();
    return fate;
  }
  [[nodiscard]] core::Result<void> of_open() {
    const std::scoped_lock lock(mutex_);
    if (failing_opens_ == 0) return {};
    --failing_opens_;
    return base::fail(opens_fail_with_, "as the test wants it");
  }

 private:
  std::mutex mutex_;
  std::deque<Fate> commits_;
  int failing_opens_ = 0;
  base::Code opens_fail_with_ = base::Code::internal;
};

// All but open() and commit() is the other store's.
class BrokenStore final : public core::Store {
 public:
  BrokenStore(std::unique_ptr<core::Store> store, Fates& fates)
      : store_(std::move(store)), fates_(fates) {}

  core::Result<void> open() override {
    RQ_TRY(fates_.of_open());
    return store_->open();
  }
  core::Committed commit(core::Sync sync) override {
    Fate fate = fates_.of_commit();
    if (!fate.done) {
      store_->abort();
      return fate.told;
    }
    core::Committed real = store_->commit(sync);
    return fate.told.what == core::Committed::What::yes ? real : fate.told;
  }

  core::Boot boot() const override { return store_->boot(); }
  bool late() const override { return store_->late(); }
  int rounds_max() const override { return store_->rounds_max(); }
  core::Result<std::vector<core::Queue>> queues() override { return store_->queues(); }
  core::Result<void> load(const core::Needs& needs) override { return store_->load(needs); }
  void abort() override { store_->abort(); }
  core::Result<core::Record*> find(core::Seq seq) override { return store_->find(seq); }
  core::Result<core::Record*> find_key(std::string_view key) override {
    return store_->find_key(key);
  }
  core::Result<std::optional<core::LineKey>> peek(core::QueueId queue) override {
    return store_->peek(queue);
  }
  core::Result<core::Record*> take(core::QueueId queue) override { return store_->take(queue); }
  core::LineKey known(core::QueueId queue) const override { return store_->known(queue); }
  core::Result<core::Record*> first(core::QueueId queue, core::Place place) override {
    return store_->first(queue, place);
  }
  core::Result<bool> more(core::QueueId queue, core::Place place) override {
    return store_->more(queue, place);
  }
  core::Result<core::Record*> next_ended() override { return store_->next_ended(); }
  core::Result<core::Record*> next_due() override { return store_->next_due(); }
  std::vector<core::Timer> due_timers() override { return store_->due_timers(); }
  core::Seq next_number() override { return store_->next_number(); }
  core::Record& insert(core::Message&& message) override {
    return store_->insert(std::move(message));
  }
  void changed(core::Record& record, core::Change change) override {
    store_->changed(record, change);
  }
  void erase(core::Record& record) override { store_->erase(record); }
  core::QueueId insert(const core::Queue& queue) override { return store_->insert(queue); }
  void changed(const core::Queue& queue) override { store_->changed(queue); }
  void counted(const core::Queue& queue) override { store_->counted(queue); }
  void erase(const core::Queue& queue) override { store_->erase(queue); }
  void append(core::Attempt&& attempt) override { store_->append(std::move(attempt)); }
  void arm(const core::Timer& timer) override { store_->arm(timer); }
  void disarm(const core::Timer& timer) override { store_->disarm(timer); }
  void forget_waste(const std::vector<std::string>& folders) override {
    store_->forget_waste(folders);
  }
  core::Instant next_deadline() const override { return store_->next_deadline(); }
  core::Condition condition() const override { return store_->condition(); }
  void maintain() override { store_->maintain(); }

 private:
  const std::unique_ptr<core::Store> store_;
  Fates& fates_;
};

}  // namespace rq::pipeline::test
