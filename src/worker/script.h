#pragma once
// The program of a queue: where it is, whether it can be run, how it is called, and which version
// of it that is.
#include <sys/stat.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace rq::worker {

// A script that can be run.
struct Script {
  std::string real_path;
  std::string sha256;   // of its content, hexadecimal
  std::string program;  // what is exec'ed
  std::vector<std::string> argv;
  bool is_binary = false;  // it needs no interpreter that reads it
};

// RQ's rule for exec_prefix: it stands before the path, and the whole is split at blanks, or goes
// through /bin/sh -c when it holds anything that only a shell understands.
[[nodiscard]] bool needs_shell(std::string_view command);

// "; …" for a script that looks like a path with arguments behind it, which it has not; else empty.
[[nodiscard]] std::string of_arguments(std::string_view script);

// Looks at the script before each run; what costs more than a stat is kept until the file changes.
// A name that begins with @ is a script that ships inside of rq: the worker's own program.
class ScriptFile {
 public:
  ScriptFile() = default;
  // A relative path is looked for below `dir`, then below `dir`/scripts.
  ScriptFile(std::string dir, std::string script, std::string exec_prefix);

  // bad_value with a text for the queue's script_error; internal where the worker itself cannot
  // look.
  [[nodiscard]] base::Result<const Script*> look();
  // The exec failed although look() found no fault: that is look()'s answer now, until the file
  // changes or some time has passed.
  void blame(std::string text);

 private:
  [[nodiscard]] base::Result<const Script*> look_inside();
  struct Found {
    std::string path;       // as the queue says it
    std::string real_path;  // without links
    struct stat info {};
  };

  [[nodiscard]] base::Result<Found> find() const;
  [[nodiscard]] base::Result<Script> examine(const Found& found) const;

  std::string dir_;
  std::string script_;
  std::string exec_prefix_;
  bool known_ = false;
  std::string blamed_;
  std::chrono::steady_clock::time_point blamed_until_;
  struct stat seen_ {};
  Script good_;
};

}  // namespace rq::worker
