#pragma once
// Reader threads: each owns a read-only view of the store and runs look-ups beside the engine.
// Searches, which may read the whole store, have threads of their own, of a lower priority, so that
// nobody else waits for them. Nor does who looks for one message wait for pages of many, if there
// is more than one reader.
#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/mailbox.h"
#include "core/store.h"

namespace rq::pipeline {

// While somebody waits for the answer of a look-up. Any thread.
class Wanted {
 public:
  void give_up() { given_up_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool given_up() const { return given_up_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> given_up_{false};
};

class Readers {
 public:
  using Lookup = std::function<void(core::Reader&)>;
  using Views = std::vector<std::unique_ptr<core::Reader>>;
  enum class Kind : std::uint8_t { quick, page, search };
  // One thread for each reader. Without readers for searches the others run them.
  explicit Readers(Views quick, Views search = {});
  ~Readers();
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;

  // Before the first look-up: what is to be done with messages that one has found damaged, on the
  // thread of the look-up.
  using OnDamage = std::function<void(std::vector<core::Suspect>&&)>;
  void on_damage(OnDamage call) { on_damage_ = std::move(call); }

  // Any thread. Runs `lookup` on some reader thread; false when too many wait (answer busy). When
  // `wanted` is given up, it ends early, or is left out.
  [[nodiscard]] bool post(Lookup lookup, Kind kind = Kind::quick,
                          std::shared_ptr<const Wanted> wanted = nullptr);
  // What runs ends early, and the rest is left out.
  void stop();

 private:
  struct Job {
    Lookup lookup;
    std::shared_ptr<const Wanted> wanted;  // may be null
  };
  // A reader with its mailbox and thread. A mailbox has one reader, so each has its own, and a
  // look-up goes where the fewest wait.
  struct Place {
    // `longest`: of the look-ups that it runs.
    Place(std::unique_ptr<core::Reader> view, Kind longest, const Readers& all);
    void serve();
    [[nodiscard]] bool is_over() const;

    std::unique_ptr<core::Reader> reader;
    const Kind longest;
    const Readers& readers;
    base::Mailbox<Job> mailbox;
    const Wanted* wanted = nullptr;  // of the job that runs
    std::atomic<int> busy{0};
    std::thread thread;
  };
  void add(std::unique_ptr<core::Reader> view, Kind longest);
  [[nodiscard]] bool runs(const Place& place, Kind kind) const;

  OnDamage on_damage_;
  std::atomic<bool> stopping_{false};
  std::vector<std::unique_ptr<Place>> places_;
  bool searches_apart_ = false;
};

}  // namespace rq::pipeline
