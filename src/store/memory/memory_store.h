#pragma once
// A store in memory, for tests. It keeps the port (core/store.h) to the letter: whoever looks at or
// changes what was not asked for in this batch, nor made by it, is aborted; a payload that was not
// asked for is filled with other bytes. What a store may do as it likes it does as its options and
// its seed say: short lists, few rounds, gaps in the numbers, faults.
//
// A store that was replaced finds nothing any more, and its commit says so.
// Thread: one.
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/memory/disk.h"

namespace rq::store::memory {

enum class Fault : std::uint8_t { none, no, unknown_and_done, unknown_and_not };

struct Options {
  int rounds_max = 4;
  bool short_lists = false;  // of lines and places
  bool short_due = false;    // of what is due
  Seq block_max = 100;       // numbers set aside at once
  Seq gap_max = 0;           // numbers left out between two blocks
  std::uint64_t seed = 1;
  // Called before each load and each commit, first of all; others may go on meanwhile.
  std::function<void()> turn;
  std::function<bool()> load_fails;
  std::function<Fault()> commit_fails;
  std::function<bool()> no_room;
};
// Rounds, lists, blocks and gaps as the seed says.
[[nodiscard]] Options drawn_from(std::uint64_t seed);

// What a payload is filled with that was not asked for.
inline constexpr std::string_view kNotAskedFor = "<this payload was not asked for>";

class MemoryStore : public Store {
 public:
  // REQUIRES: the commits of others happen only within `turn`.
  MemoryStore(std::shared_ptr<Disk> disk, Options options);

  [[nodiscard]] Result<void> open() override;
  [[nodiscard]] Boot boot() const override { return boot_; }
  [[nodiscard]] bool late() const override { return false; }
  [[nodiscard]] int rounds_max() const override { return options_.rounds_max; }
  [[nodiscard]] Result<std::vector<Queue>> queues() override;

  [[nodiscard]] Result<void> load(const Needs& needs) override;
  [[nodiscard]] Committed commit(Sync sync) override;
  void abort() override;

  [[nodiscard]] Result<Record*> find(Seq seq) override;
  [[nodiscard]] Result<Record*> find_key(std::string_view client_key) override;
  [[nodiscard]] Result<std::optional<LineKey>> peek(QueueId queue) override;
  [[nodiscard]] Result<Record*> take(QueueId queue) override;
  [[nodiscard]] LineKey known(QueueId queue) const override;
  [[nodiscard]] Result<Record*> first(QueueId queue, Place place) override;
  [[nodiscard]] Result<bool> more(QueueId queue, Place place) override;
  [[nodiscard]] Result<Record*> next_ended() override;
  [[nodiscard]] Result<Record*> next_due() override;
  [[nodiscard]] std::vector<Timer> due_timers() override;

  [[nodiscard]] Seq next_number() override;
  Record& insert(Message&& message) override;
  void changed(Record& record, Change change) override;
  void erase(Record& record) override;
  QueueId insert(const Queue& queue) override;
  void changed(const Queue& queue) override;
  void counted(const Queue& queue) override;
  void erase(const Queue& queue) override;
  void append(Attempt&& attempt) override;
  void arm(const Timer& timer) override;
  void disarm(const Timer& timer) override;
  void forget_waste(const std::vector<std::string>& folders) override;

  [[nodiscard]] Instant next_deadline() const override;
  [[nodiscard]] Condition condition() const override {
    return {.no_room = options_.no_room && options_.no_room()};
  }
  void maintain() override {}

 private:
  struct Row : Record {
    std::shared_ptr<const Message> stored;  // null: made by this batch, or not there
    bool there = false;
    bool payload = false;  // it is the message's own
    bool changed = false;
    bool whole = false;
    bool listed = false;  // in Batch::in_hand
    Filed filed;          // as the batch left it
  };
  // The front of a line, or the first ones of a place, as they were when the batch began.
  struct List {
    std::int64_t asked = 0;
    std::int64_t n = 0;  // that were loaded
    bool complete = false;
    LineKey end = kBeforeAll;  // of the last one; without meaning in Place::any
  };
  struct QueueChange {
    std::optional<Queue> row;
    std::optional<Counters> counters;
    bool made = false;
    bool gone = false;
  };
  // All that is forgotten with the batch.
  struct Batch {
    bool begun = false;
    Instant now{};
    Millis shift{};
    std::map<Seq, Row> rows;
    std::map<std::string, Seq, std::less<>> asked_keys;  // 0: there is none
    std::map<std::string, Seq, std::less<>> new_keys;
    std::map<std::pair<QueueId, Place>, List> lists;
    std::set<Filed> in_hand;      // rows that a list brought or that the batch has changed
    std::vector<Seq> ended, due;  // in reverse
    std::vector<Timer> timers;
    std::set<Seq> numbers;  // drawn, and not used yet
    std::map<QueueId, QueueChange> queues;
    std::vector<Attempt> attempts;
    std::map<TimerKey, std::optional<Instant>> armed;
    std::vector<std::string> waste_gone;
  };

  [[nodiscard]] std::uint64_t draw(std::uint64_t below);
  [[nodiscard]] std::int64_t draw_length(bool may_be_short, std::int64_t asked, std::int64_t had);
  [[nodiscard]] const Content& seen() const;
  void load_row(Seq seq, bool payload);
  void load_key(std::string_view key);
  void load_list(QueueId queue, Place place, std::int64_t n);
  void load_due(std::int64_t n);
  void list_row(Seq seq);
  void refile(Row& row);
  [[nodiscard]] bool may_look(QueueId queue, Place place) const;
  [[nodiscard]] const List* list_of(QueueId queue, Place place) const;
  [[nodiscard]] Record* best(QueueId queue, Place place);
  Row& row_of(Record& record);
  [[nodiscard]] Record* next_of(std::vector<Seq>& seqs, State state);
  void write(Content& to);
  void write_row(Content& to, Row& row) const;
  [[nodiscard]] bool is_orphan(const Message& message) const;
  [[nodiscard]] Committed fail(Committed::What what, base::Code code, std::string why);

  const std::shared_ptr<Disk> disk_;
  const Options options_;
  std::uint64_t random_;
  bool usable_ = false;  // open, and no fault since
  Boot boot_ = 0;
  Boot first_boot_ = 0;
  Seq next_ = 1;
  Seq block_end_ = 1;
  Batch batch_;
};

}  // namespace rq::store::memory
