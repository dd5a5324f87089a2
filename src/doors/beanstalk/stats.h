#pragma once
// The texts of stats, stats-job, stats-tube and list-tubes: rq's figures under beanstalkd's names.
#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"
#include "core/command.h"
#include "doors/beanstalk/host.h"
#include "doors/beanstalk/tubes.h"

namespace rq::doors::beanstalk {

// Whether beanstalkd would know it: a finished message is none of its jobs, unless buried.
[[nodiscard]] bool is_job(const core::Message& message);

// `queue_lease`: of its queue, when the message has no time to run of its own.
[[nodiscard]] std::string stats_of_job(const core::Peeked& peeked,
                                       std::optional<base::Millis> queue_lease, base::Instant now);
// `tube` null: no connection refers to it; `queue` null: no message was ever put.
[[nodiscard]] std::string stats_of_tube(const std::string& name, const Tube* tube,
                                        const core::QueueShown* queue, base::Instant now);
[[nodiscard]] std::string list_of_tubes(const core::QueuesListed& queues, const Tubes& tubes);

struct Process {
  std::int64_t uptime_s = 0;
  std::size_t body_bytes_max = 0;
  bool draining = false;
  std::string id;  // of this run of the server
};
[[nodiscard]] std::string stats_of_server(const core::EngineStatsDone& engine, const Totals& totals,
                                          const Tubes& tubes, const Process& process);

}  // namespace rq::doors::beanstalk
