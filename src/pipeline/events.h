#pragma once
// The hub of what happens: notices of the engine reach every listener on the loop.
#include <atomic>
#include <memory>
#include <vector>

#include "core/command.h"
#include "net/loop.h"
#include "pipeline/pipeline.h"

namespace rq::pipeline {

class EventListener {
 public:
  virtual ~EventListener() = default;
  // Loop thread. May add and remove listeners, itself as well.
  virtual void on_notices(const std::vector<core::Notice>& notices) = 0;
};

class EventHub final : public NoticeSink {
 public:
  // To be added to the pipeline before it starts.
  explicit EventHub(net::Loop& loop);

  // Engine thread.
  void publish(const std::shared_ptr<const std::vector<core::Notice>>& notices) override;
  [[nodiscard]] bool wanted() const override { return count_.load(std::memory_order_relaxed) > 0; }

  // Loop thread.
  void add(EventListener& listener);
  void remove(EventListener& listener);

 private:
  void tell(const std::vector<core::Notice>& notices);

  net::Loop& loop_;
  std::atomic<int> count_{0};
  // Loop thread:
  std::vector<EventListener*> listeners_;  // null: removed while they are told
  bool telling_ = false;
};

}  // namespace rq::pipeline
