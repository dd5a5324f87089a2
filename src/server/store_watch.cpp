#include "server/store_watch.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <utility>

#include "store/sqlite/open.h"

namespace rq::server {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kLookForFile{1};
// A pass takes so much of one processor: 1 of kShare; and a new one begins so long after the last.
constexpr int kShare = 100;
constexpr std::chrono::milliseconds kPieceMin{20};
constexpr std::chrono::hours kBetweenPasses{6};
constexpr std::size_t kReportedMax = 100;  // of one pass; rq doctor names all
constexpr int kNice = 10;
constexpr int kPassesAtOnce = 3;  // one after the other, while something is found

}  // namespace

StoreWatch::StoreWatch(pipeline::Pipeline& pipeline, std::unique_ptr<core::Reader> reader,
                       std::filesystem::path file, std::function<void()> gone)
    : pipeline_(pipeline),
      reader_(std::move(reader)),
      file_(std::move(file)),
      place_(place()),
      on_gone_(std::move(gone)),
      door_(pipeline.add_door(*this)),
      end_(1) {
  reader_->stop_when([this] { return stopping_.load(std::memory_order_relaxed); });
}

StoreWatch::~StoreWatch() { stop(); }

void StoreWatch::start() {
  thread_ = std::thread([this] { run(); });
}

void StoreWatch::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  end_.close();
  if (thread_.joinable()) thread_.join();
}

StoreWatch::Place StoreWatch::place() const {
  struct stat now {};
  if (::stat(file_.c_str(), &now) != 0) return {};
  return {.device = now.st_dev, .inode = now.st_ino};
}

void StoreWatch::run() {
  // Of this thread alone; a failure does no harm.
  static_cast<void>(setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice));
  auto next_look = steady_clock::now();
  for (;;) {
    if (place() != place_) {
      spdlog::critical(
          "the store {} is not there any more: somebody has moved, replaced or deleted it; the "
          "server ends. Put it back and start the server again",
          file_.string());
      gone_.store(true, std::memory_order_relaxed);
      return on_gone_();
    }
    const auto now = steady_clock::now();
    if (next_look <= now) next_look = steady_clock::now() + look();
    if (!sleep(std::min<steady_clock::duration>(kLookForFile, next_look - steady_clock::now()))) {
      return;
    }
  }
}

// False: it is to end.
bool StoreWatch::sleep(steady_clock::duration how_long) {
  std::vector<int> none;
  return end_.drain_until(none, std::optional{steady_clock::now() + how_long});
}

// The next piece; and how long to wait before the one after it.
steady_clock::duration StoreWatch::look() {
  const auto begun = steady_clock::now();
  std::vector<core::Finding> found;
  const auto more = reader_->check(found);
  report(found);
  if (!more) {
    if (stopping_.load(std::memory_order_relaxed)) return kBetweenPasses;
    spdlog::warn("checking the store: {}", more.error().message);
    return kBetweenPasses;
  }
  if (!*more) {
    spdlog::info("the whole store has been checked: {} findings", std::exchange(reported_, 0));
    // Whether it is mended now is looked at once more, and once more after a rebuild.
    passes_ = std::exchange(found_, false) ? passes_ + 1 : 0;
    rebuilt_ = false;
    if (passes_ > 0 && passes_ < kPassesAtOnce) return kLookForFile;
    passes_ = 0;
    return kBetweenPasses;
  }
  return std::max<steady_clock::duration>(kPieceMin, (steady_clock::now() - begun) * kShare);
}

void StoreWatch::report(const std::vector<core::Finding>& found) {
  if (found.empty()) return;
  found_ = true;
  core::Examine examine;
  // What was examined and is found again cannot be mended row by row.
  examine.pages = passes_ > 0;
  for (const core::Finding& finding : found) {
    if (reported_++ < kReportedMax) spdlog::error("checking the store: {}", finding.text);
    if (finding.seq > 0) {
      examine.messages.push_back(finding.seq);
    } else if (finding.page) {
      examine.pages = true;
    } else {
      mark_for_rebuild();
    }
  }
  if (examine.pages) {
    examine.messages.clear();
    examine.pages = !std::exchange(rebuilt_, true);  // once in a pass
    if (examine.pages) spdlog::error("the store is rebuilt now from its messages");
  }
  if (examine.messages.empty() && !examine.pages) return;
  static_cast<void>(pipeline_.submit(
      {.ticket = {.door = door_, .connection = 0, .request = 0}, .command = std::move(examine)}));
}

void StoreWatch::mark_for_rebuild() {
  const std::filesystem::path mark = store::sqlite::rebuild_mark(file_);
  std::error_code none;
  if (std::filesystem::exists(mark, none)) return;
  std::ofstream{mark} << "The next start of the server rebuilds the store.\n";
  spdlog::error("what the tables tell of the store does not agree; the next start rebuilds it");
}

}  // namespace rq::server
