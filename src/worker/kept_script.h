#pragma once
// What must be known of a running script to go on with it in another process. It lies in shared
// memory, and is written as things happen: it outlives a process that is killed, and a program that
// is replaced, and costs no system call.
//
// Format: version 3, plain bytes; to change it, raise the version in kept_script.cpp: a program of
// another version does not go on with it.
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/result.h"
#include "wire/script_pipe.h"
#include "worker/stop_count.h"

namespace rq::worker {

inline constexpr std::size_t kTokenBytes = 72;  // three 64-bit numbers and dots, and a zero

inline constexpr std::size_t kShortTextBytes = 64;  // an id, a checksum in hex, a mark
inline constexpr std::size_t kDupsBytes = 128 * base::kKiB;
// A reason, the last output and a path, each of them at most 4 KiB and six times as long as JSON.
inline constexpr std::size_t kEndBytes = 96 * base::kKiB;

// A text of at most kBytes; what is beyond is cut.
template <std::size_t kBytes>
struct KeptText {
  std::uint32_t size;
  std::array<char, kBytes> bytes;
  void set(std::string_view text) {
    const std::size_t length = std::min(text.size(), kBytes);
    std::memcpy(bytes.data(), text.data(), length);
    size = static_cast<std::uint32_t>(length);
  }
  [[nodiscard]] std::string_view view() const {
    return {bytes.data(), std::min<std::size_t>(size, kBytes)};
  }
};

struct KeptScript {
  // --- Its process ---
  std::int32_t pid;      // 0: not started. Written by the kernel, before the script runs
  std::uint32_t exited;  // 1: `status` tells how; 2: nobody saw it; written last
  std::int32_t status;
  std::int64_t user_us, system_us, rss_kib;
  std::int32_t from_script, to_script, log;  // descriptors; -1: closed
  std::uint8_t cause;                        // StopCause
  std::int64_t log_start;
  std::int64_t started_ns, timeout_ns;  // of the steady clock; no timeout: the largest
  std::int64_t grace_ms;
  std::int64_t memory_bytes, processes_max;
  KeptText<kShortTextBytes> cookie;
  // --- What it has said ---
  std::uint8_t spoke;
  std::uint8_t decisive;  // 1 + PipeWord; 0: none
  std::int64_t delay_s;
  // --- Its message ---
  std::uint8_t success;  // core::Success
  std::int64_t seq, lease_ms;
  std::int64_t dups_done;
  KeptText<kTokenBytes> token;
  KeptText<kShortTextBytes> id;
  KeptText<kShortTextBytes> sha256;
  KeptText<base::kNameBytesMax> queue;
  KeptText<base::kScriptBytesMax> script;
  KeptText<wire::kPipeWordBytesMax> unknown;
  // --- Its end ---
  std::uint32_t ended;  // nothing of it is needed any more but `report`; written last
  // --- Longer texts: most scripts touch few pages of them ---
  KeptText<base::kTextBytesMax> text;
  KeptText<base::kTextBytesMax + 64> line;  // that has not come to its end
  KeptText<kEndBytes> report;               // as /v1/finish takes it, until a server has answered
  std::uint32_t dups_begin, dups_end;       // in `dups`
  std::array<char, kDupsBytes> dups;        // lines that are not answered yet, each with a newline

  void start_anew();
  void note(const wire::PipeVerdict& verdict);
  [[nodiscard]] wire::PipeVerdict verdict() const;
  // Its pipes and its log, as /proc names them.
  [[nodiscard]] std::array<std::string, 3> files() const;
  void close_files();
  void note_exit(int wait_status, const rusage& used);
  // It has ended, and was nobody's child who could have seen how.
  void note_unseen_exit();
  [[nodiscard]] bool has_exited();
  // REQUIRES: has_exited().
  [[nodiscard]] bool was_seen() const;
  // REQUIRES: has_exited().
  [[nodiscard]] rusage usage() const;
  // False: it is too long.
  [[nodiscard]] bool note_end(std::string_view json);
  [[nodiscard]] bool has_ended();
  void add_dup(std::string_view text, std::string_view dest, std::int64_t delay);
  void drop_dup();
  [[nodiscard]] std::vector<std::string> waiting_dups() const;
};

// The memory, and what the process that holds it has to know.
class KeptMemory {
 public:
  // More scripts than these at a time are not kept: they end with their worker.
  static constexpr std::size_t kScriptsMax = 4096;

  [[nodiscard]] static base::Result<std::unique_ptr<KeptMemory>> make();
  // One that a process before this one has handed on; bad_value when that was another version.
  [[nodiscard]] static base::Result<std::unique_ptr<KeptMemory>> take_over(base::Fd file);
  ~KeptMemory();
  KeptMemory(const KeptMemory&) = delete;
  KeptMemory& operator=(const KeptMemory&) = delete;

  [[nodiscard]] int fd() const { return file_.get(); }
  // Null: there is no room for this one.
  [[nodiscard]] KeptScript* at(int slot);
  // A child of this process has ended that was nobody's: was it a script?
  void note_exit(int pid, int status, const rusage& usage);

  // Counts what was ever started, over all processes that work with this memory.
  [[nodiscard]] std::uint64_t next_serial();
  // How it went with the process that worked with this memory.
  struct Past {
    std::uint32_t orderly;  // it has made way
    std::uint32_t deaths;   // those that died soon after their start, in a row
    StopCount::Told stops;  // how often it was told to end
    std::int64_t begun_ns;  // when it started, by the steady clock
  };
  [[nodiscard]] Past& past();

 private:
  struct Table;
  KeptMemory() = default;
  [[nodiscard]] static base::Result<std::unique_ptr<KeptMemory>> map(base::Fd file);

  base::Fd file_;
  Table* table_ = nullptr;
};

}  // namespace rq::worker
