#pragma once
// Reader threads: each owns a read-only view of the store and runs look-ups beside the engine.
#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/mailbox.h"
#include "store/store.h"

namespace rq::server {

class Readers {
 public:
  using Lookup = std::function<void(store::Reader&)>;
  // One thread for each reader.
  explicit Readers(std::vector<std::unique_ptr<store::Reader>> readers);
  ~Readers();
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;

  // Any thread. Runs `lookup` on some reader thread; false when too many wait (answer busy).
  [[nodiscard]] bool post(Lookup lookup);
  void stop();

 private:
  // A reader with its mailbox and thread. A mailbox has one reader, so each has its own, and a
  // look-up goes where the fewest wait.
  struct Desk {
    explicit Desk(std::unique_ptr<store::Reader> view);
    void serve();

    std::unique_ptr<store::Reader> reader;
    base::Mailbox<Lookup> mailbox;
    std::atomic<int> busy{0};
    std::thread thread;
  };
  std::vector<std::unique_ptr<Desk>> desks_;
};

}  // namespace rq::server
