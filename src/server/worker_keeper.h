#pragma once
// Keeps one local worker running. The worker is a process of its own session: it outlives the
// server, and a server that starts finds it by its lock and leaves it at its work.
// Thread: the loop's, but for the constructor.
#include <chrono>
#include <filesystem>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/fd.h"

namespace rq::server {

class WorkerKeeper {
 public:
  WorkerKeeper(boost::asio::io_context& io, std::filesystem::path dir);
  ~WorkerKeeper();
  WorkerKeeper(const WorkerKeeper&) = delete;
  WorkerKeeper& operator=(const WorkerKeeper&) = delete;

  void start();
  // This server writes its log elsewhere from now on: the worker follows (SIGURG).
  void tell_of_new_log() const;
  // The server ends: an idle worker is asked to end too (SIGHUP), one that runs scripts goes on.
  void stop();

 private:
  void keep_knowing();
  void know_lock();
  void look();
  void spawn();
  void watch(int pid, bool ours);
  void ended();
  void look_again();

  boost::asio::posix::stream_descriptor process_;  // a pidfd
  boost::asio::steady_timer pause_, know_timer_;
  const std::filesystem::path dir_;
  base::Fd lock_;  // the worker's, which it may still hold when that was removed or moved away
  int pid_ = 0;
  bool ours_ = false;  // a child of this process, to be reaped
  bool stopped_ = false;
  std::chrono::milliseconds delay_;
  std::chrono::steady_clock::time_point started_{};
};

}  // namespace rq::server
