#pragma once
// Reader threads: each owns a read-only view of the store and runs look-ups beside the engine.
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
  base::Mailbox<Lookup> mailbox_;
  std::vector<std::unique_ptr<store::Reader>> readers_;
  std::vector<std::thread> threads_;
};

}  // namespace rq::server
