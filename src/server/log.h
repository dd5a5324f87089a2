#pragma once
// The server's log: standard error. When that is a file, it can be opened anew by its name, for
// whoever has moved it away.
// Thread: the main one.
#include <string>

#include "base/result.h"

namespace rq::server {

class Log {
 public:
  explicit Log(const std::string& level);

  void set_level(const std::string& level);
  // Goes on in the file that has the name now; it is made when it is not there. Nothing to do for
  // a terminal, a pipe or a socket. internal when it cannot be opened: the old one stays.
  [[nodiscard]] base::Result<void> reopen() const;

 private:
  std::string file_;  // as it was called at the start; empty: not a file
};

}  // namespace rq::server
