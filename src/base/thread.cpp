#include "base/thread.h"

#include <sys/resource.h>
#include <unistd.h>

namespace rq::base {

namespace {
constexpr int kNice = 10;
}  // namespace

void lower_priority() {
  static_cast<void>(setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice));
}

}  // namespace rq::base
