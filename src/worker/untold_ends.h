#pragma once
// Ends of leases that a server could not be told, in a file: the next worker of the name tells them
// when this one is gone before it could. A script that is done does not run again for that.
//
// Format: a line for each, {"server":ADDRESS,"end":ITEM}, the item as POST /v1/finish takes it.
// A line that does not read well (its worker died while it wrote) counts for nothing; one that is
// for another server stays, for a worker of that address. An end that was told after all does no
// harm: its token is no longer a live one.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace rq::worker {

// Thread: one.
class UntoldEnds {
 public:
  struct End {
    std::string token;
    std::string json;
  };
  // `file` empty: nothing is kept.
  UntoldEnds(std::string file, std::string server)
      : file_(std::move(file)), server_(std::move(server)) {}

  // What is there. The log tells what cannot be a file to keep ends in.
  [[nodiscard]] std::vector<End> read();
  // Adds items of JSON. False: the file cannot be written, which the log tells, once.
  [[nodiscard]] bool add(const std::vector<std::string_view>& ends);
  // All have been told. What is for other servers stays.
  void clear();

 private:
  [[nodiscard]] bool leave_others() const;

  const std::string file_;
  const std::string server_;
  std::string others_;  // lines for other servers
  bool any_ = false;    // there is more in the file, or nothing at all
  bool fails_ = false;  // it could not be written when this was tried last
};

}  // namespace rq::worker
