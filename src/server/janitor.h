#pragma once
// Deletes the folders of messages that are gone. The store notes them in the transaction that
// removes the message; they are forgotten when they are off the disk, so none is left behind.
#include <filesystem>
#include <memory>
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
  void run();

  pipeline::Pipeline& pipeline_;
  const std::unique_ptr<core::Reader> reader_;
  const std::filesystem::path dir_;
  const std::uint32_t door_;
  base::Mailbox<int> calls_;
  std::thread thread_;
};

}  // namespace rq::server
