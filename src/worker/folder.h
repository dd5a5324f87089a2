#pragma once
// The folder of a message: job/ is where its script works. As in RQ, attach/ is there only when the
// message has attachments: whoever attaches makes it.
//
// A script may put anything in the place of what it can reach, so nothing below job/ is opened by a
// path, and nothing is opened that could block or lead elsewhere.
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "worker/spawn.h"

namespace rq::worker {

struct MessageFolder {
  std::string job;  // absolute
  base::Fd fd;      // of it, to go there and to open below it (O_PATH)
};
// Makes what is missing of `dir`/`folder`/job; with `owner`, job/ belongs to that user, who can get
// there.
// internal when the disk does not want to; bad_value when it is the message's own fault: `folder`
// leads out of `dir`, or a script has put something else in the place of job/.
[[nodiscard]] base::Result<MessageFolder> prepare_folder(std::string_view dir,
                                                         std::string_view folder,
                                                         const Credentials* owner);

// job/stdio.log, to append to and to read. What is not a file of its own gives way to one. Errors
// as above.
[[nodiscard]] base::Result<base::Fd> open_log(const MessageFolder& folder,
                                              const Credentials* owner);

struct Workplace {
  MessageFolder folder;
  base::Fd log;
};
// prepare_folder(), and open_log() in it.
[[nodiscard]] base::Result<Workplace> open_workplace(std::string_view dir, std::string_view folder,
                                                     const Credentials* owner);
// The log is still the file at its path: nothing stands in its place, and the folder is where it
// was.
[[nodiscard]] bool is_as_opened(const Workplace& place);

// Lets scripts of other users get to where they work: `dir`, and the folders of messages and
// scripts in it, can be entered by all from now on (not listed). Says so in the log when that
// changes something.
[[nodiscard]] base::Result<void> let_in(const std::string& dir);

}  // namespace rq::worker
