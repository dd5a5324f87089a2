#pragma once
// When a server was last at work on this directory, by its own clock: run/server.seen, written anew
// about once a second. The next server goes on from there, so that leases keep their length while
// none runs, and a wall clock that was set meanwhile is seen.
//
// It is a help and nothing more: without it leases end by the wall clock.
#include <filesystem>
#include <string>
#include <utility>

#include "base/fd.h"
#include "base/result.h"
#include "pipeline/clock.h"

namespace rq::server {

class LastSeen {
 public:
  // Sets the clock on from what is written there, if it can be read. Fails when the file cannot be
  // opened, or is none.
  [[nodiscard]] static base::Result<LastSeen> open(const std::filesystem::path& file,
                                                   pipeline::Clock& clock);
  // Any one thread.
  void note(const pipeline::Clock& clock);

 private:
  LastSeen(std::filesystem::path file, base::Fd fd, std::string run)
      : file_(std::move(file)), fd_(std::move(fd)), run_(std::move(run)) {}

  std::filesystem::path file_;
  base::Fd fd_;
  std::string run_;     // of the machine
  bool fails_ = false;  // and that was said
};

}  // namespace rq::server
