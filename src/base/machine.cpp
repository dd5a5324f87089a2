#include "base/machine.h"

#include <sys/resource.h>

#include <fstream>

namespace rq::base {

std::string run_of_machine() {
  std::string run;
  std::ifstream{"/proc/sys/kernel/random/boot_id"} >> run;
  return run;
}

void raise_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
}

}  // namespace rq::base
