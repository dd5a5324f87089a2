#pragma once
// The contract of a store: transactions over records, one batch at a time.
//
// The engine loads records, changes them, and says so; the store works out what that means for its
// tables when the batch is committed. Nothing is visible to readers, and nothing survives, before
// commit() has returned. One suite (contract_test) runs on every implementation.
//
// Thread: the engine's. Errors: faults only (disk_full, unknown_outcome, internal); after a fault
// the batch is gone and the store is as before begin(), or, if commit() failed, as before or after.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/message.h"
#include "core/queue.h"

namespace rq::core {

using base::Result;

// A message in the hands of the engine. Owned by the store; valid until the end of the batch.
struct Record {
  Message message;
};

enum class Change : std::uint8_t {
  place,  // only state que/run, lease: where it is filed, not what it says
  whole,
};

enum class Sync : std::uint8_t {
  none,  // survives a crash of the process, perhaps not one of the machine
  disk,  // on disk when commit() returns
};

class Store {
 public:
  virtual ~Store() = default;

  // How many times a server has started on this store; 1 for the first. Constant after open.
  [[nodiscard]] virtual Boot boot() const = 0;

  // --- The batch ---
  [[nodiscard]] virtual Result<void> begin() = 0;
  [[nodiscard]] virtual Result<void> commit(Sync sync) = 0;
  virtual void abort() = 0;  // forget all since begin()
  // Between batches, when the replies have left: what the store has to do for itself, if it has.
  [[nodiscard]] virtual bool wants_maintenance() const = 0;
  virtual void maintain() = 0;

  // --- Messages ---
  // The next sequence number. Never given twice, also not after a crash.
  [[nodiscard]] virtual Result<Seq> next_seq() = 0;
  // REQUIRES: message.seq from next_seq() of this batch.
  virtual Record& insert(Message&& message) = 0;
  // Null when there is none.
  [[nodiscard]] virtual Result<Record*> find(Seq seq) = 0;
  [[nodiscard]] virtual Result<Record*> find_key(std::string_view client_key) = 0;
  // Says that the engine has changed record.message. The key and seq never change.
  virtual void changed(Record& record, Change change) = 0;
  // The record is not valid after it. Attempts and tags go with it; a folder is noted as waste.
  virtual void erase(Record& record) = 0;
  virtual void insert(Attempt&& attempt) = 0;

  // --- What is next. These see the changes of the batch. Null or empty when there is none ---
  // State que of the queue: largest priority, then smallest seq.
  [[nodiscard]] virtual Result<Record*> next_ready(QueueId queue) = 0;
  // Its key, without loading it: to compare queues.
  struct ReadyKey {
    std::int64_t priority = 0;
    Seq seq = 0;
  };
  [[nodiscard]] virtual Result<std::optional<ReadyKey>> peek_ready(QueueId queue) = 0;
  // State scheduled: smallest due, then seq; of any queue, with due <= now.
  [[nodiscard]] virtual Result<Record*> next_due(Instant now) = 0;
  [[nodiscard]] virtual Result<Record*> next_scheduled(
      QueueId queue) = 0;  // of the queue, at any time
  // State run: smallest lease.until, with until <= now.
  [[nodiscard]] virtual Result<Record*> next_expired(Instant now) = 0;
  // State err with mark buried: smallest finished.
  [[nodiscard]] virtual Result<Record*> next_buried(QueueId queue) = 0;
  // A finished message with the smallest finished time: in err, or in done, relayed, cancelled.
  // As of the last commit: the batch's own changes need not be seen.
  [[nodiscard]] virtual Result<Record*> oldest_finished(QueueId queue, bool err) = 0;
  // Any message of the queue that is not running; for deleting a queue with its messages.
  [[nodiscard]] virtual Result<Record*> any_message(QueueId queue) = 0;
  // State run, LeaseEnd::connection, of a boot before this one; for the start.
  [[nodiscard]] virtual Result<Record*> orphan_lease() = 0;
  // All leases move by `by`.
  [[nodiscard]] virtual Result<void> shift_leases(base::Millis by) = 0;
  // The earliest due or lease end there is.
  [[nodiscard]] virtual Result<std::optional<Instant>> next_deadline() = 0;

  // --- Queues ---
  // All of them, with counters; at the start.
  [[nodiscard]] virtual Result<std::vector<Queue>> queues() = 0;
  // Sets queue.id.
  [[nodiscard]] virtual Result<void> insert(Queue& queue) = 0;
  virtual void update(const Queue& queue) = 0;           // all but the counters
  virtual void update_counters(const Queue& queue) = 0;  // written once, at commit
  virtual void erase(const Queue& queue) = 0;            // REQUIRES: no messages in it

  // The folders are gone from the disk.
  [[nodiscard]] virtual Result<void> forget_waste(const std::vector<std::string>& folders) = 0;
};

// --- Reading, beside the engine ---
// Looks things up in what is committed. Each reader thread has its own; it never blocks the store.
struct MessageRow {
  Message message;  // with its lease
  std::string queue;
  // In a list, the payload may be cut: this is its full length. -1: the payload is whole.
  std::int64_t payload_bytes = -1;
};

struct Filter {
  std::string queue;  // empty: all
  std::optional<State> state;
  std::optional<Mark> mark;
  std::string tag;
  std::string key;
  std::string text;                      // in payload, params, progress, result; case folds
  std::optional<Instant> after, before;  // creation time: after <= created < before
};
struct Page {
  Filter filter;
  Seq cursor = 0;  // 0: from the start
  std::int64_t limit = 100;
  bool newest_first = true;
  bool payloads = true;  // load them (at most kListPayloadBytes of each)
};
struct Listed {
  std::vector<MessageRow> rows;
  std::optional<Seq> cursor;  // for the next page; absent at the end
  bool cut = false;           // a scan bound was reached: the page may be short
};

class Reader {
 public:
  virtual ~Reader() = default;
  [[nodiscard]] virtual Result<std::optional<MessageRow>> message(Seq seq) = 0;
  [[nodiscard]] virtual Result<std::optional<MessageRow>> message_by_key(std::string_view key) = 0;
  [[nodiscard]] virtual Result<std::vector<Attempt>> attempts(Seq seq) = 0;
  [[nodiscard]] virtual Result<Listed> list(const Page& page) = 0;
  // How many messages of the queue would be leased before this one; counts to `bound`.
  [[nodiscard]] virtual Result<std::int64_t> ahead_of(const MessageRow& row,
                                                      std::int64_t bound) = 0;
  // Creation time of the ready message that has waited longest.
  [[nodiscard]] virtual Result<std::optional<Instant>> oldest_ready(QueueId queue) = 0;
  // Folders of messages that are gone, relative to the server's directory. To be deleted from the
  // disk, and then told to the engine (ForgetWaste).
  [[nodiscard]] virtual Result<std::vector<std::string>> waste(std::int64_t limit) = 0;
};

}  // namespace rq::core

namespace rq::store {
using namespace core;  // whoever keeps the port speaks of the words of core
}
