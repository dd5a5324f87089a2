#include "base/machine.h"

#include <fstream>

namespace rq::base {

std::string run_of_machine() {
  std::string run;
  std::ifstream{"/proc/sys/kernel/random/boot_id"} >> run;
  return run;
}

}  // namespace rq::base
