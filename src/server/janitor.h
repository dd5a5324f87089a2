#pragma once
// Deletes the folders of messages that are gone. The store notes them in the transaction that
// removes the message; they are forgotten when they are off the disk, so none is left behind. One
// that cannot be deleted keeps nobody waiting: it is named in a file for rq doctor, and tried again
// more and more rarely.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mailbox.h"
#include "core/store.h"
#include "pipeline/pipeline.h"

namespace rq::server {

class Janitor final : public pipeline::Door {
 public:
  // Before Pipeline::start(); `reader` is its own.
  Janitor(pipeline::Pipeline& pipeline, std::unique_ptr<core::Reader> reader,
          std::filesystem::path dir);
  ~Janitor() override;
  Janitor(const Janitor&) = delete;
  Janitor& operator=(const Janitor&) = delete;

  void start();
  void stop();
  // Engine thread: there is waste.
  void wake();
  void deliver(std::vector<core::Delivery>&& deliveries) override;

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Stuck {
    std::string why;
    std::chrono::seconds pause{};  // before the next try
    Time next{};
  };
  void run();
  void delete_all();
  [[nodiscard]] bool try_delete(const std::string& folder);
  void write_stuck() const;
  [[nodiscard]] Time next_try() const;

  pipeline::Pipeline& pipeline_;
  const std::unique_ptr<core::Reader> reader_;
  const std::filesystem::path dir_;
  const std::uint32_t door_;
  std::map<std::string, Stuck> stuck_;  // what could not be deleted, for so long as it is waste
  std::atomic<bool> stopping_{false};
  base::Mailbox<int> calls_;
  std::thread thread_;
};

}  // namespace rq::server
