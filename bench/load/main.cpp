// rq_load: a client of beanstalkd's protocol, of Redis lists, or of rq's HTTP API, that keeps a
// server busy, checks every reply, and says how much was done.
#include <CLI/CLI.hpp>

#include "load/beanstalk.h"
#include "load/http.h"
#include "load/load.h"
#include "load/plan.h"
#include "load/redis.h"

namespace rq::load {
namespace {

struct Options {
  Plan plan;
  std::string protocol;
  std::string server;
  std::string work = "lives";
  bool json = false;
};

void split_address(Options& options) {
  const std::size_t colon = options.server.rfind(':');
  unsigned port = 0;
  const char* const end = options.server.data() + options.server.size();
  if (colon == std::string::npos ||
      std::from_chars(options.server.data() + colon + 1, end, port).ptr != end || port == 0 ||
      port > UINT16_MAX) {
    fail("'{}' is not a server; give ADDR:PORT, as 127.0.0.1:11300", options.server);
  }
  options.plan.host = options.server.substr(0, colon);
  options.plan.port = static_cast<std::uint16_t>(port);
}

void check(const Options& options) {
  const Plan& plan = options.plan;
  if (plan.bytes < kNumberDigits || plan.bytes > kPayloadBytesMax) {
    fail("--bytes {}: {} to {} are possible", plan.bytes, kNumberDigits, kPayloadBytesMax);
  }
  if (plan.batch > 1 && (options.protocol != "http" || plan.work != Work::puts)) {
    fail("--batch {}: only for http with --work puts", plan.batch);
  }
  if (plan.count % plan.batch != 0) {
    fail("--count {}: not a multiple of --batch {}", plan.count, plan.batch);
  }
  if (plan.rate > 0 && plan.work == Work::takes) fail("--rate: not with --work takes");
}

void print(const Options& options, const Report& report, double cpu_s) {
  const Plan& plan = options.plan;
  const std::uint64_t counted = plan.work == Work::puts ? report.puts : report.lives;
  const double per_s = report.seconds > 0 ? static_cast<double>(counted) / report.seconds : 0;
  const auto us = [](std::uint64_t ns) { return static_cast<double>(ns) / 1000; };
  const auto json_of = [us](const Histogram& h) {
    return fmt::format(R"({{"count":{},"median":{:.1f},"p99":{:.1f},"p999":{:.1f},"max":{:.1f}}})",
                       h.count(), us(h.at(0.5)), us(h.at(0.99)), us(h.at(0.999)), us(h.max()));
  };
  const Histogram& h = report.put_latency;
  if (options.json) {
    fmt::print(
        R"({{"protocol":"{}","work":"{}","connections":{},"depth":{},"bytes":{},"counted":{},)"
        R"("seconds":{:.6f},"per_s":{:.1f},"put_us":{},"undisturbed_us":{},)"
        R"("undisturbed_share":{:.4f},"stops_watched":{},"stops":{},"stopped_s":{:.3f},)"
        R"("late_max_us":{:.1f},"next":{},"total_puts":{},"total_lives":{},"cpu_s":{:.3f}}})"
        "\n",
        options.protocol, options.work, plan.connections, plan.depth, plan.bytes, counted,
        report.seconds, per_s, json_of(h), json_of(report.undisturbed), report.undisturbed_share,
        report.stops_watched, report.stops, report.stopped_s, report.late_max_s * 1e6, report.next,
        report.total_puts, report.total_lives, cpu_s);
    return;
  }
  fmt::print("{}: {:.0f} {} a second ({} in {:.2f} s), {} connections, {} in flight on each\n",
             options.protocol, per_s, options.work, counted, report.seconds, plan.connections,
             plan.depth);
  if (h.count() > 0) {
    fmt::print("a put, in microseconds: median {:.0f}, p99 {:.0f}, p99.9 {:.0f}, max {:.0f}\n",
               us(h.at(0.5)), us(h.at(0.99)), us(h.at(0.999)), us(h.max()));
  }
  if (report.stops_watched) {
    const Histogram& u = report.undisturbed;
    fmt::print(
        "the machine was stopped {} times, {:.2f} s in all; in the {:.0f} % of the time "
        "that was not in the wake of one: median {:.0f}, p99 {:.0f}\n",
        report.stops, report.stopped_s, report.undisturbed_share * 100, us(u.at(0.5)),
        us(u.at(0.99)));
  }
  fmt::print("this program itself took {:.2f} s of CPU\n", cpu_s);
}

template <typename Protocol>
void load(const Options& options) {
  const auto work = std::make_unique<Load<Protocol>>(options.plan);
  const Report report = work->run();
  print(options, report, cpu_seconds());
}

int main_of(int argc, char** argv) {
  Options options;
  Plan& plan = options.plan;
  CLI::App app{"Keeps a server busy and says how much was done."};
  const std::map<std::string, Work> works{
      {"lives", Work::lives}, {"puts", Work::puts}, {"takes", Work::takes}};
  app.add_option("protocol", options.protocol, "beanstalk, redis or http")
      ->required()
      ->check(CLI::IsMember({"beanstalk", "redis", "http"}));
  app.add_option("server", options.server, "ADDR:PORT")->required();
  app.add_option("--work", options.work, "lives, puts or takes")
      ->check(CLI::IsMember(works))
      ->capture_default_str();
  app.add_flag("--rows", plan.rows,
               "lives: a row of puts, one of takes, one of finishes, not mixed");
  app.add_option("--queue", plan.queue, "queue, tube or list")->capture_default_str();
  app.add_option("--connections", plan.connections)
      ->check(CLI::Range(std::size_t{1}, kConnectionsMax))
      ->capture_default_str();
  app.add_option("--depth", plan.depth, "commands in flight on each connection")
      ->check(CLI::Range(std::size_t{1}, kDepthMax))
      ->capture_default_str();
  app.add_option("--bytes", plan.bytes, "of each payload")->capture_default_str();
  app.add_option("--batch", plan.batch, "messages in one put (http, --work puts)")
      ->check(CLI::Range(std::size_t{1}, kBatchMax))
      ->capture_default_str();
  app.add_option("--warmup", plan.warmup_s, "seconds before counting")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--seconds", plan.seconds, "seconds of counting")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--count", plan.count, "stop after so many messages, not by time");
  app.add_option("--rate", plan.rate, "puts started a second, answered or not (0: no limit)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--first", plan.first, "number of the first message");
  app.add_flag("--leave", plan.leave, "do not wait at the end for what is still in flight");
  app.add_option("--stall", plan.stall_s, "seconds without a reply that end the run")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--json", options.json, "one line of JSON");
  CLI11_PARSE(app, argc, argv);

  plan.work = works.at(options.work);
  split_address(options);
  check(options);
  if (options.protocol == "beanstalk") {
    load<Beanstalk>(options);
  } else if (options.protocol == "redis") {
    load<Redis>(options);
  } else {
    load<Http>(options);
  }
  return 0;
}

}  // namespace
}  // namespace rq::load

int main(int argc, char** argv) { return rq::load::main_of(argc, argv); }
