#pragma once
// The hub of what happens: notices of the engine reach every listener on the loop.
#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/command.h"
#include "net/loop.h"
#include "pipeline/pipeline.h"

namespace rq::pipeline {

// Notices that are told at once: between two pieces of a large batch others have their turn.
inline constexpr std::size_t kNoticesAtOnce = 256;

// What happened in one batch, or in a piece of it.
struct Happened {
  std::span<const core::Notice> notices;
  // What the first listener to render a notice has made of it, for the others; by its place in
  // `notices`, empty: nobody has yet.
  std::vector<std::string> texts;
};

class EventListener {
 public:
  virtual ~EventListener() = default;
  // Loop thread. May add and remove listeners, itself as well.
  virtual void on_notices(Happened& happened) = 0;
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
  using Batch = std::shared_ptr<const std::vector<core::Notice>>;
  void tell_next();
  void tell(std::span<const core::Notice> notices);

  net::Loop& loop_;
  std::atomic<int> count_{0};
  // Loop thread:
  std::vector<EventListener*> listeners_;  // null: removed while they are told
  bool telling_ = false;
  std::deque<Batch> waiting_;
  std::size_t told_ = 0;  // of the first of them
};

}  // namespace rq::pipeline
