#pragma once
// The hub of what happens: notices of the engine reach every listener on the loop.
#include <atomic>
#include <memory>
#include <vector>

#include "core/command.h"
#include "pipeline/loop.h"
#include "pipeline/pipeline.h"

namespace rq::pipeline {

class EventListener {
 public:
  virtual ~EventListener() = default;
  // Loop thread. Must not add or remove listeners.
  virtual void on_notices(const std::vector<core::Notice>& notices) = 0;
};

class EventHub final : public NoticeSink {
 public:
  // To be added to the pipeline before it starts.
  explicit EventHub(Loop& loop);

  // Engine thread.
  void publish(const std::shared_ptr<const std::vector<core::Notice>>& notices) override;
  [[nodiscard]] bool wanted() const override { return count_.load(std::memory_order_relaxed) > 0; }

  // Loop thread.
  void add(EventListener& listener);
  void remove(EventListener& listener);

 private:
  Loop& loop_;
  std::atomic<int> count_{0};
  std::vector<EventListener*> listeners_;
};

}  // namespace rq::pipeline
