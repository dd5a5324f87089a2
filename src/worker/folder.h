#pragma once
// The folder of a message: job/ is where its script works. As in RQ, attach/ is there only when the
// message has attachments: whoever attaches makes it.
#include <string>
#include <string_view>

#include "base/result.h"
#include "worker/spawn.h"

namespace rq::worker {

struct MessageFolder {
  std::string job;  // absolute
  std::string log;  // job/stdio.log
};
// Makes what is missing of `dir`/`folder`/job; with `owner`, job/ belongs to that user.
// internal when the disk does not want to; bad_value when `folder` leads out of `dir`.
[[nodiscard]] base::Result<MessageFolder> prepare_folder(std::string_view dir,
                                                         std::string_view folder,
                                                         const Credentials* owner);

}  // namespace rq::worker
