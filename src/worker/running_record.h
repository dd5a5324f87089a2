#pragma once
// Which scripts this worker runs, in a file that outlives it. A process that takes over from one
// that has died or made way finds here which scripts it can go on with (see holder.h). When there
// is nobody to take over, the next worker of the name ends what is left of them, and hands the
// leases back, before it takes anything.
//
// The table lies in memory that goes on to the process that takes over. The file is a copy of it,
// for the next worker of the name: nothing here reads it but open(), so whatever becomes of it does
// no harm to a worker that runs. It says where it was written: no process is killed for what stands
// in a copy of the file.
//
// Format: version 2; to change it, change kVersion: a file of another version is started anew.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "worker/kept_script.h"
#include "worker/process_tree.h"
#include "worker/spawn.h"

namespace rq::worker {

class RunningRecord {
 public:
  // Opens or makes the file. `memory`: the table of a process before this one, that has handed it
  // on (see fd()). The caller holds the lock of the worker's name.
  [[nodiscard]] static base::Result<std::unique_ptr<RunningRecord>> open(
      const std::string& path, base::Fd memory = base::Fd());
  ~RunningRecord();
  RunningRecord(const RunningRecord&) = delete;
  RunningRecord& operator=(const RunningRecord&) = delete;

  // Kills all that is left of a previous worker's scripts, waits until it is gone (bounded),
  // empties the table and gives the tokens that were in it. Whose scripts ran is remembered: it may
  // be why the worker died.
  struct Leftovers {
    struct Begun {
      std::string token;
      std::int64_t deaths = 1;  // how often in a row its worker died while this message ran
    };
    std::vector<Begun> begun;
    std::vector<std::string> not_begun;
    std::size_t processes = 0;
    // Scripts that go on, of take_over() only.
    struct Staying {
      int slot = -1;
      std::int64_t deaths = 0;  // as above; 0: its worker has made way
      bool witness = false;     // its worker died in this very attempt, now or before
      Spawned process;          // no times: they are not known
      bool orphaned = false;    // it is nobody's child who could see how it ends
    };
    std::vector<Staying> staying;
    // Scripts that have ended, which no server has confirmed; their slots are in use until then.
    struct Untold {
      int slot = -1;
      std::string token;
      std::string end;        // see keep_end()
      base::Millis lease{0};  // its length; 0: not known
    };
    std::vector<Untold> untold;
  };
  [[nodiscard]] Leftovers clean_up();
  // The same, but scripts that are in the kept memory stay, also those that have ended and whose
  // end is not judged yet. `died`: the process that ran them has not made way.
  // REQUIRES: keep_in().
  [[nodiscard]] Leftovers take_over(bool died);

  // Of the table.
  [[nodiscard]] int fd() const { return memory_file_.get(); }

  // From now on scripts are kept, as far as there is room.
  void keep_in(KeptMemory& memory) { memory_ = &memory; }
  // Null: it is not kept.
  [[nodiscard]] KeptScript* kept(int slot) { return memory_ ? memory_->at(slot) : nullptr; }
  // Calls each(KeptScript&) for those that run, or whose end no server has confirmed.
  template <typename Each>
  void for_kept(Each&& each) {
    for (const int slot : used_slots()) {
      if (KeptScript* const script = kept(slot)) each(*script);
    }
  }

  // "RQ_RUN=<random>." for the environment of all scripts of this worker.
  [[nodiscard]] const std::string& mark() const { return mark_; }
  // One for a single script.
  [[nodiscard]] std::string next_mark();

  // Leased, not begun: only its token is kept.
  // -1 when the table is full: then the end of the lease is what cleans up.
  [[nodiscard]] int add(std::string_view token);
  // Before its script is started: the script may be the end of this worker at once. -1 as above.
  [[nodiscard]] int begin(std::string_view token);
  void began(int slot, const Spawned& process);
  // How it has ended, for a process that takes over before a server has confirmed it (until
  // remove()). False: that cannot be kept.
  [[nodiscard]] bool keep_end(int slot, std::string_view end);
  void remove(int slot);
  // What has changed goes into the file now, see changed().
  void flush();
  // Makes the file anew if somebody has removed or moved it. In a process that shares memory and
  // descriptors with the one that works.
  void keep_file();

  // Did a worker before this one die twice or more while this message ran?
  [[nodiscard]] bool is_suspect(std::int64_t seq) const;
  // It ran when a script told its worker to end: that counts as a death, once for the attempt in
  // `slot`. Gives how many there are in a row.
  [[nodiscard]] std::int64_t accuse(int slot, std::int64_t seq);
  // It has ended, and the worker lives.
  void clear(std::int64_t seq);

 private:
  struct Entry;
  struct Table;
  struct Sorting;
  RunningRecord() = default;
  [[nodiscard]] bool is_usable() const;
  [[nodiscard]] base::Result<void> open_file();
  void read_file();
  void warn_of(std::string_view what);
  // Of the table. Goes into the file with the next lease or script that comes, or when there is
  // none any more: what has ended may stand there a little longer.
  void changed(const void* from, std::size_t bytes);
  [[nodiscard]] const char* bytes_of_table() const {
    return static_cast<const char*>(static_cast<const void*>(table_));
  }
  void start_anew();
  void go_on_with(const std::unordered_set<int>& slots);
  [[nodiscard]] std::vector<int> used_slots() const;
  [[nodiscard]] bool has_ended(int slot);
  [[nodiscard]] Leftovers sort_out(bool died, bool keep);
  void sort_out(int slot, Sorting& sorting);
  [[nodiscard]] std::size_t kill_left(const std::vector<Entry>& ended,
                                      const std::vector<Leftovers::Staying>& staying);
  [[nodiscard]] int take(std::string_view token, std::int32_t pid);

  std::string path_;
  base::Fd file_, memory_file_;
  Table* table_ = nullptr;
  bool is_handed_ = false;  // the table was a living worker's just now
  bool warned_ = false;
  // Bytes of the table that the file does not have yet; none: the end is not above the start.
  std::size_t changed_from_ = SIZE_MAX;
  std::size_t changed_end_ = 0;
  KeptMemory* memory_ = nullptr;
  std::vector<int> free_;
  std::string mark_;
  std::uint64_t marks_ = 0;
};

}  // namespace rq::worker
