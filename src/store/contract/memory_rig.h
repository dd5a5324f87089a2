#pragma once
// For tests: where a store in memory lives.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/contract/home_rig.h"
#include "store/memory/memory_reader.h"
#include "store/memory/memory_store.h"

namespace rq::store::contract {

class MemoryHome final : public Home {
 public:
  explicit MemoryHome(memory::Options options) : options_(std::move(options)) {}
  std::unique_ptr<Store> make() override {
    return std::make_unique<memory::MemoryStore>(disk_, options_);
  }
  std::unique_ptr<Reader> reader() override { return memory::make_reader(disk_); }
  void crash() override { disk_ = std::make_shared<memory::Disk>(*disk_); }
  std::vector<std::string> findings() override { return disk_->content().findings(); }
  std::string dump() override { return disk_->content().dump(); }

 private:
  memory::Options options_;
  std::shared_ptr<memory::Disk> disk_ = std::make_shared<memory::Disk>();
};

}  // namespace rq::store::contract
