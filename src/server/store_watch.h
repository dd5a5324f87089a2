#pragma once
// Looks after the store while the server runs: reads all of it again and again, slowly, in pieces,
// and has the store mend or set aside what turns out to be damaged; and sees whether its file is
// still there.
#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/mailbox.h"
#include "core/store.h"
#include "pipeline/pipeline.h"

namespace rq::server {

class StoreWatch final : public pipeline::Door {
 public:
  // Before Pipeline::start(); `reader` is its own. `gone` is called on its thread when the store is
  // not where it was any more: what is committed now would be lost.
  StoreWatch(pipeline::Pipeline& pipeline, std::unique_ptr<core::Reader> reader,
             std::function<void()> gone);
  ~StoreWatch() override;
  StoreWatch(const StoreWatch&) = delete;
  StoreWatch& operator=(const StoreWatch&) = delete;

  void start();
  void stop();
  // Any thread. All of the store is read once more, now or after the pass that is under way.
  void look_again() { again_.store(true, std::memory_order_relaxed); }
  // Any thread. A look-up has found them damaged: the store is to look at them, too.
  void examine(std::vector<core::Suspect>&& suspects);
  void deliver(std::vector<core::Delivery>&& deliveries) override;
  [[nodiscard]] bool store_is_gone() const { return gone_.load(std::memory_order_relaxed); }

 private:
  void run();
  [[nodiscard]] bool sleep(std::chrono::steady_clock::duration how_long);
  [[nodiscard]] std::chrono::steady_clock::duration check();
  void report(std::vector<core::Finding>& found);
  void submit(core::Examine&& examine, std::atomic<int>& under_way);

  pipeline::Pipeline& pipeline_;
  const std::unique_ptr<core::Reader> reader_;
  const std::function<void()> on_gone_;
  const std::uint32_t door_;
  std::size_t reported_ = 0;    // in this pass
  bool found_ = false;          // in this pass
  bool rebuild_asked_ = false;  // likewise
  bool in_pass_ = false;
  int passes_ = 0;                  // consecutive ones that have found something
  std::atomic<int> of_check_{0};    // Examines that the engine has not answered
  std::atomic<int> of_lookups_{0};  // likewise
  std::atomic<bool> again_{false};
  std::atomic<bool> gone_{false};
  std::atomic<bool> stopping_{false};
  base::Mailbox<int> end_;
  std::thread thread_;
};

}  // namespace rq::server
