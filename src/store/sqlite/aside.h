#pragma once
// One job at a time on a thread of its own, for the engine, which goes on meanwhile.
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/mailbox.h"
#include "base/thread.h"

namespace rq::store::sqlite {

template <typename Job, typename Answer>
class Aside {
 public:
  // `work` runs on the thread.
  explicit Aside(std::function<Answer(Job)> work)
      : thread_([this, work = std::move(work)] { run(work); }) {}
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;
  ~Aside() {  // waits for the job that is under way
    jobs_.close();
    thread_.join();
  }

  // The rest: engine thread.
  enum class State : std::uint8_t { idle, running, done };
  [[nodiscard]] State state() const { return state_.load(std::memory_order_acquire); }
  void start(Job job) {
    RQ_CHECK(state() == State::idle);
    state_.store(State::running, std::memory_order_release);
    RQ_CHECK(jobs_.post(std::move(job)));
  }
  // Waits until the job is done. REQUIRES: not idle.
  void wait() {
    RQ_CHECK(state() != State::idle);
    if (answer_.empty()) answers_.drain_until(answer_, kForever);
  }
  // Waits, and makes it idle. REQUIRES: not idle.
  [[nodiscard]] Answer finish() {
    wait();
    Answer answer = std::move(answer_.at(0));
    answer_.clear();
    state_.store(State::idle, std::memory_order_release);
    return answer;
  }

 private:
  static constexpr std::optional<std::chrono::steady_clock::time_point> kForever{};

  void run(const std::function<Answer(Job)>& work) {
    base::lower_priority();
    std::vector<Job> jobs;
    while (jobs_.drain_until(jobs, kForever)) {
      Answer answer = work(std::move(jobs.at(0)));
      jobs.clear();
      // The state is set before the answer is posted: after that it belongs to the engine.
      state_.store(State::done, std::memory_order_release);
      RQ_CHECK(answers_.post(std::move(answer)));
    }
  }

  std::atomic<State> state_{State::idle};
  base::Mailbox<Job> jobs_{1};
  base::Mailbox<Answer> answers_{1};
  std::vector<Answer> answer_;  // what wait() has got
  std::thread thread_;
};

}  // namespace rq::store::sqlite
