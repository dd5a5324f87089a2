#include "server/janitor.h"

#include <spdlog/spdlog.h>

#include <optional>
#include <string>

namespace rq::server {
namespace {
constexpr std::int64_t kAtOnce = 200;  // folders in one transaction

// A folder of a message, as the engine names it: nothing that leads elsewhere.
bool is_message_folder(const std::filesystem::path& folder) {
  if (folder.is_absolute() || folder.empty() || *folder.begin() != "queue") return false;
  for (const auto& part : folder) {
    if (part == ".." || part == ".") return false;
  }
  return std::distance(folder.begin(), folder.end()) == 3;
}
}  // namespace

Janitor::Janitor(pipeline::Pipeline& pipeline, std::unique_ptr<core::Reader> reader,
                 std::filesystem::path dir)
    : pipeline_(pipeline),
      reader_(std::move(reader)),
      dir_(std::move(dir)),
      door_(pipeline.add_door(*this)),
      calls_(1024) {}

Janitor::~Janitor() { stop(); }

void Janitor::start() {
  thread_ = std::thread([this] { run(); });
  wake();
}

void Janitor::stop() {
  calls_.close();
  if (thread_.joinable()) thread_.join();
}

void Janitor::wake() { static_cast<void>(calls_.post(0)); }

// The folders are forgotten: there may be more.
void Janitor::deliver(std::vector<core::Delivery>&& /*deliveries*/) { wake(); }

void Janitor::run() {
  std::vector<int> calls;
  while (calls_.drain_until(calls, std::optional<std::chrono::steady_clock::time_point>{})) {
    calls.clear();
    auto waste = reader_->waste(kAtOnce);
    if (!waste) {
      spdlog::warn("looking for folders to delete: {}", waste.error().message);
      continue;
    }
    if (waste->empty()) continue;
    core::ForgetWaste forget;
    for (std::string& folder : *waste) {
      std::error_code error;
      if (is_message_folder(folder)) std::filesystem::remove_all(dir_ / folder, error);
      if (error) {
        // Tried again at the next start; the message itself is gone all the same.
        spdlog::warn("deleting {}: {}", (dir_ / folder).string(), error.message());
        continue;
      }
      forget.folders.push_back(std::move(folder));
    }
    if (forget.folders.empty()) continue;
    static_cast<void>(pipeline_.submit(
        {.ticket = {.door = door_, .connection = 0, .request = 0}, .command = std::move(forget)}));
  }
}

}  // namespace rq::server
