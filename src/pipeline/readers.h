#pragma once
// Reader threads: each owns a read-only view of the store and runs look-ups beside the engine.
#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/mailbox.h"
#include "core/store.h"

namespace rq::pipeline {

class Readers {
 public:
  using Lookup = std::function<void(core::Reader&)>;
  // One thread for each reader.
  explicit Readers(std::vector<std::unique_ptr<core::Reader>> readers);
  ~Readers();
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;

  // Any thread. Runs `lookup` on some reader thread; false when too many wait (answer busy).
  [[nodiscard]] bool post(Lookup lookup);
  void stop();

 private:
  // A reader with its mailbox and thread. A mailbox has one reader, so each has its own, and a
  // look-up goes where the fewest wait.
  struct Place {
    explicit Place(std::unique_ptr<core::Reader> view);
    void serve();

    std::unique_ptr<core::Reader> reader;
    base::Mailbox<Lookup> mailbox;
    std::atomic<int> busy{0};
    std::thread thread;
  };
  std::vector<std::unique_ptr<Place>> places_;
};

}  // namespace rq::pipeline
