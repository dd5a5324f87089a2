// The engine alone, in process, on a real SQLite file with synced commits.
//
// A life is put, reserve, done. `Mixed` does what a busy server does: each batch holds 100 puts,
// 100 reserves, and the dones of the 100 messages reserved by the batch before. `Apart` commits the
// puts, the reserves and the dones each on their own: three commits for 100 lives. `Spread` is
// `Mixed` over ten queues in turn: neighbours in number are in different lines.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/check.h"
#include "engine/engine.h"
#include "store/sqlite/open.h"

namespace rq {
namespace {

namespace fs = std::filesystem;

constexpr int kBatch = 100;
constexpr std::size_t kPayloadBytes = 200;
constexpr int kSpreadQueues = 10;
// A log that even a short run fills: from then on it is written over, which syncs sooner than a
// file that grows.
constexpr std::int64_t kLogBytes = 32LL * 1024 * 1024;

std::int64_t bytes_written() {
  std::ifstream io{"/proc/self/io"};
  std::string name;
  std::int64_t value = 0;
  while (io >> name >> value) {
    if (name == "wchar:") return value;
  }
  return 0;
}

std::int64_t resident_bytes() {
  std::ifstream statm{"/proc/self/statm"};
  std::int64_t pages = 0;
  statm >> pages >> pages;
  return pages * ::sysconf(_SC_PAGESIZE);
}

class Rig {
 public:
  Rig(const fs::path& dir, int queues) : dir_(dir) {
    fs::create_directories(dir_);
    const auto start = std::chrono::steady_clock::now();
    store_ = store::sqlite::make_store(dir_ / "rq.db", {.wal_bytes = kLogBytes});
    engine_ = std::make_unique<engine::Engine>(*store_);
    RQ_CHECK(engine_->open().has_value());
    open_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::vector<core::ReserveQueue> watched;
    for (int i = 0; i < queues; ++i) {
      const std::string name = queue_name(i);
      core::DefineQueue define{.queue = name, .mode = core::DefineQueue::Mode::replace};
      define.settings->keep_done.count = 0;
      add(std::move(define));
      watched.push_back({.queue = name});
    }
    run();
    queues_ = std::make_shared<const std::vector<core::ReserveQueue>>(std::move(watched));
  }

  void add(core::Command command) {
    core::Envelope& envelope = batch_.emplace_back();
    envelope.ticket.request = ++requests_;
    envelope.command = std::move(command);
  }
  void add_put(int queue = 0) {
    core::Put put;
    put.queue = queue_name(queue);
    put.message.payload.assign(kPayloadBytes, 'x');
    add(std::move(put));
  }
  void add_reserve() { add(core::Reserve{.queues = queues_}); }
  void add_dones() {
    for (const core::Token& token : reserved_) {
      core::Finish finish;
      finish.items.push_back({.token = token});
      add(std::move(finish));
    }
    reserved_.clear();
  }
  static std::string queue_name(int i) { return fmt::format("work{}", i); }
  void run() {
    now_ += base::Millis{1};
    const auto ran = engine_->run(batch_, {.now = now_}, out_);
    RQ_CHECK(ran.what == core::Committed::What::yes);
    for (core::Delivery& delivery : out_.deliveries) {
      if (auto* got = std::get_if<core::Reserved>(&delivery.reply)) {
        for (const core::Message& m : got->messages) {
          reserved_.push_back({m.seq, m.lease->attempt, m.lease->boot});
        }
      }
    }
    out_.deliveries.clear();
    batch_.clear();
    store_->maintain();
  }

  // Ends what is reserved: the next benchmark finds no leases that nobody ends.
  void finish() {
    add_dones();
    run();
  }

  [[nodiscard]] double open_seconds() const { return open_seconds_; }

 private:
  fs::path dir_;
  std::unique_ptr<core::Store> store_;
  std::unique_ptr<engine::Engine> engine_;
  std::shared_ptr<const std::vector<core::ReserveQueue>> queues_;
  std::vector<core::Envelope> batch_;
  std::vector<core::Token> reserved_;
  core::Outbox out_;
  base::Instant now_ = base::from_ms(1'700'000'000'000);
  std::uint64_t requests_ = 0;
  double open_seconds_ = 0;
};

fs::path bench_dir() {
  const char* dir = std::getenv("RQ_BENCH_DIR");
  return dir != nullptr ? fs::path{dir} : fs::current_path() / "bench-data";
}

// A store with `waiting` messages, made once and kept for all benchmarks of the run.
std::unique_ptr<Rig> rig_with(std::int64_t waiting, int queues = 1) {
  const fs::path dir = bench_dir() / fmt::format("engine-{}", waiting);
  if (waiting == 0) fs::remove_all(dir);
  if (!fs::exists(dir / "filled")) {
    fs::remove_all(dir);
    {
      Rig rig{dir, queues};
      for (std::int64_t i = 0; i < waiting; i += 5000) {
        for (int j = 0; j < 5000; ++j) rig.add_put();
        rig.run();
      }
    }
    std::ofstream{dir / "filled"} << waiting;
  }
  return std::make_unique<Rig>(dir, queues);
}

void report(benchmark::State& state, const Rig& rig, std::int64_t written) {
  const double lives = static_cast<double>(state.iterations()) * kBatch;
  state.counters["lives/s"] = benchmark::Counter(lives, benchmark::Counter::kIsRate);
  state.counters["written/put"] =
      static_cast<double>(written) / (lives * static_cast<double>(kPayloadBytes));
  state.counters["rss_MiB"] = static_cast<double>(resident_bytes()) / 1048576.0;
  state.counters["open_ms"] = rig.open_seconds() * 1000;
}

void mixed(benchmark::State& state) {
  auto rig = rig_with(state.range(0));
  const std::int64_t before = bytes_written();
  for (auto _ : state) {
    for (int i = 0; i < kBatch; ++i) rig->add_put();
    rig->add_dones();
    for (int i = 0; i < kBatch; ++i) rig->add_reserve();
    rig->run();
  }
  report(state, *rig, bytes_written() - before);
  rig->finish();
}

void spread(benchmark::State& state) {
  auto rig = rig_with(state.range(0), kSpreadQueues);
  const std::int64_t before = bytes_written();
  for (auto _ : state) {
    for (int i = 0; i < kBatch; ++i) rig->add_put(i % kSpreadQueues);
    rig->add_dones();
    for (int i = 0; i < kBatch; ++i) rig->add_reserve();
    rig->run();
  }
  report(state, *rig, bytes_written() - before);
  rig->finish();
}

void apart(benchmark::State& state) {
  auto rig = rig_with(state.range(0));
  const std::int64_t before = bytes_written();
  for (auto _ : state) {
    for (int i = 0; i < kBatch; ++i) rig->add_put();
    rig->run();
    for (int i = 0; i < kBatch; ++i) rig->add_reserve();
    rig->run();
    rig->add_dones();
    rig->run();
  }
  report(state, *rig, bytes_written() - before);
  rig->finish();
}

BENCHMARK(mixed)
    ->Arg(0)
    ->Arg(1'000'000)
    ->Arg(10'000'000)
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();
BENCHMARK(spread)->Arg(0)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(apart)->Arg(0)->Arg(10'000'000)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace rq
