#include "server/janitor.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "base/remove_tree.h"
#include "server/undeleted.h"

namespace rq::server {
namespace {
constexpr std::int64_t kAtOnce = 200;  // folders in one transaction
constexpr std::chrono::seconds kFirstPause{60};
constexpr std::chrono::hours kPauseMax{24};
constexpr std::size_t kNamedMax = 1000;  // in the file for rq doctor
constexpr std::size_t kCallsMax = 1024;  // one is enough: each looks at all that there is

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
      calls_(kCallsMax) {}

Janitor::~Janitor() { stop(); }

void Janitor::start() {
  thread_ = std::thread([this] { run(); });
  wake();
}

void Janitor::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  calls_.close();
  if (thread_.joinable()) thread_.join();
}

void Janitor::wake() { static_cast<void>(calls_.post(0)); }

// The folders are forgotten: there may be more.
void Janitor::deliver(std::vector<core::Delivery>&& /*deliveries*/) { wake(); }

void Janitor::run() {
  write_stuck();
  std::vector<int> calls;
  while (calls_.drain_until(calls, std::optional{next_try()})) {
    calls.clear();
    delete_all();
  }
}

// Goes over all that is waste, in the order of the names; those that stay do not stop the others.
void Janitor::delete_all() {
  std::map<std::string, Stuck> before = stuck_;
  std::string after;
  for (;;) {
    auto waste = reader_->waste(after, kAtOnce);
    if (!waste) {
      spdlog::warn("looking for folders to delete: {}", waste.error().message);
      return;
    }
    if (waste->empty()) break;
    after = waste->back();
    core::ForgetWaste forget;
    for (std::string& folder : *waste) {
      before.erase(folder);
      if (stopping_.load(std::memory_order_relaxed)) return;
      if (try_delete(folder)) forget.folders.push_back(std::move(folder));
    }
    if (forget.folders.empty()) continue;
    static_cast<void>(pipeline_.submit(
        {.ticket = {.door = door_, .connection = 0, .request = 0}, .command = std::move(forget)}));
  }
  for (const auto& [folder, stuck] : before) stuck_.erase(folder);
  write_stuck();
}

// True: it is off the disk, and may be forgotten.
bool Janitor::try_delete(const std::string& folder) {
  if (!is_message_folder(folder)) {
    spdlog::warn("deleting folders of messages: '{}' is none, and stays; table waste is damaged",
                 folder);
    return true;
  }
  const auto found = stuck_.find(folder);
  const Time now = std::chrono::steady_clock::now();
  if (found != stuck_.end() && found->second.next > now) return false;
  const auto removed = base::remove_tree(
      dir_ / folder, [this] { return stopping_.load(std::memory_order_relaxed); });
  if (removed) {
    stuck_.erase(folder);
    return true;
  }
  if (removed.error().code == base::Code::timed_out) return false;
  Stuck& stuck = stuck_[folder];
  if (stuck.why.empty()) spdlog::warn("deleting {}: {}", folder, removed.error().message);
  stuck.why = removed.error().message;
  stuck.pause = stuck.pause.count() == 0
                    ? kFirstPause
                    : std::min<std::chrono::seconds>(2 * stuck.pause, kPauseMax);
  stuck.next = now + stuck.pause;
  return false;
}

Janitor::Time Janitor::next_try() const {
  Time next = std::chrono::steady_clock::now() + kPauseMax;
  for (const auto& [folder, stuck] : stuck_) next = std::min(next, stuck.next);
  return next;
}

void Janitor::write_stuck() const {
  const std::string file = dir_.string() + std::string{kUndeletedFile};
  // Whatever stands there: a pipe would keep it waiting, a link lead elsewhere.
  std::error_code none;
  std::filesystem::remove(file, none);
  if (stuck_.empty()) return;
  std::ofstream out{file};
  std::size_t named = 0;
  for (const auto& [folder, stuck] : stuck_) {
    if (++named > kNamedMax) break;
    out << folder << ": " << stuck.why << '\n';
  }
  if (named > kNamedMax) out << stuck_.size() << " in all\n";
}

}  // namespace rq::server
