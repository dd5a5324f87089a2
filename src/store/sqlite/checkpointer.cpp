#include "store/sqlite/checkpointer.h"

#include <optional>
#include <vector>

#include "base/check.h"

namespace rq::store::sqlite {
namespace {
constexpr std::optional<std::chrono::steady_clock::time_point> kForever{};
}  // namespace

Checkpointer::~Checkpointer() {
  starts_.close();
  if (thread_.joinable()) thread_.join();
}

base::Result<void> Checkpointer::open(const std::filesystem::path& file) {
  RQ_TRY(db_.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX));
  RQ_TRY(db_.exec("PRAGMA synchronous = NORMAL"));
  RQ_TRY(db_.exec("PRAGMA wal_autocheckpoint = 0"));
  thread_ = std::thread([this] { run(); });
  return {};
}

void Checkpointer::run() {
  std::vector<int> starts;
  while (starts_.drain_until(starts, kForever)) {
    starts.clear();
    const int code = sqlite3_wal_checkpoint_v2(db_.handle(), "main", SQLITE_CHECKPOINT_PASSIVE,
                                               nullptr, nullptr);
    // First this: when the code is there, the state is the engine's.
    state_.store(State::done, std::memory_order_release);
    RQ_CHECK(ends_.post(int{code}));
  }
}

void Checkpointer::start() {
  RQ_CHECK(state() == State::idle);
  state_.store(State::running, std::memory_order_release);
  RQ_CHECK(starts_.post(0));
}

int Checkpointer::finish() {
  RQ_CHECK(state() != State::idle);
  std::vector<int> ends;
  ends_.drain_until(ends, kForever);
  state_.store(State::idle, std::memory_order_release);
  return ends.at(0);
}

}  // namespace rq::store::sqlite
