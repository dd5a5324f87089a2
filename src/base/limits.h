#pragma once
// Every bound on what comes from outside, with its unit and its reason.
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace rq::base {

inline constexpr std::size_t kKiB = 1024;
inline constexpr std::size_t kMiB = 1024 * kKiB;

// --- Names and fields of a message ---
inline constexpr std::size_t kNameBytesMax = 200;         // queue, worker: beanstalkd's own bound
inline constexpr std::size_t kClientKeyBytesMax = 256;    // a URL or two UUIDs
inline constexpr std::size_t kParamBytesMax = 64 * kKiB;  // goes into the environment of a script
inline constexpr std::size_t kTextBytesMax = 4 * kKiB;  // dest, src, orig id, progress text, reason
inline constexpr std::size_t kContentTypeBytesMax = 256;
inline constexpr std::size_t kTagBytesMax = 128;
inline constexpr std::size_t kTagsMax = 64;     // per message
inline constexpr std::size_t kHeadersMax = 64;  // per message
inline constexpr std::size_t kHeaderNameBytesMax = 128;
inline constexpr std::size_t kHeaderValueBytesMax = 4 * kKiB;
inline constexpr std::size_t kWebhooksMax = 8;  // per message
inline constexpr std::size_t kWebhookBytesMax = 2 * kKiB;
inline constexpr std::size_t kPayloadBytesMax = 4 * kMiB;  // in the row; larger goes as attachment
inline constexpr std::size_t kResultBytesMax = 256 * kKiB;
inline constexpr std::int64_t kPriorityMax = 4294967295;  // beanstalkd's 2^32-1, both signs
inline constexpr std::int64_t kPriorityMin = -kPriorityMax;
inline constexpr std::int64_t kCountMax = 1'000'000;  // resends, retries, attempts
inline constexpr std::chrono::hours kDelayMax{24 * 366 *
                                              100};  // a due time further off is a mistake
inline constexpr std::chrono::hours kLeaseMax{24 * 366};
inline constexpr std::chrono::milliseconds kLeaseMin{100};
inline constexpr std::chrono::hours kRetentionMax{24 * 366 * 100};

// --- Queues ---
inline constexpr std::size_t kQueuesMax = 100'000;    // all in memory, some 2 KiB each
inline constexpr std::size_t kScriptBytesMax = 1024;  // RQ's own bound on a script path
inline constexpr std::size_t kEnvVarsMax = 256;       // per queue
inline constexpr std::size_t kEnvVarBytesMax = 16 * kKiB;
inline constexpr std::int64_t kWorkersMax = 1024;  // scripts of one queue at a time, a worker
static_assert(kNameBytesMax < 255, "a queue name must fit a path component");

// --- Requests ---
inline constexpr std::size_t kHttpBodyBytesMax = 64 * kMiB;  // a bulk put
inline constexpr std::size_t kReaderQueueMax = 10'000;  // look-ups that wait for a reader thread
inline constexpr std::size_t kBulkSampleMax = 10;       // ids and errors that a bulk action shows
inline constexpr std::size_t kJsonDepthMax = 32;
inline constexpr std::size_t kBulkMessagesMax = 100'000;  // messages in one bulk put
inline constexpr std::size_t kBulkActionMax = 1'000'000;  // messages in one bulk action
inline constexpr std::size_t kListPageMax = 1000;         // messages in one page of a list
inline constexpr std::size_t kListScanMax = 200'000;      // rows one text search may look at
inline constexpr std::size_t kReserveQueuesMax = 1024;    // queues in one reserve
inline constexpr std::size_t kReserveMessagesMax = 1000;  // messages in one reserve
inline constexpr std::size_t kLeasesPerCallMax = 10'000;  // tokens in one heartbeat, done, ...
inline constexpr std::chrono::seconds kReserveWaitMax{600};

// --- Engine ---
inline constexpr std::size_t kMailboxMax = 1'000'000;    // commands waiting for the engine
inline constexpr std::size_t kBatchCommandsMax = 1200;   // commands in one commit: measured
inline constexpr std::size_t kTimersPerBatchMax = 1000;  // due timers handled in one commit
inline constexpr std::size_t kRetentionPerBatchMax =
    500;                                                  // finished messages deleted in one commit
inline constexpr std::int64_t kSweepMax = 100'000;        // messages one command may delete or kick
inline constexpr std::int64_t kAttemptsKeptMax = 100;     // rows of attempts kept for a message
inline constexpr std::chrono::minutes kOnDemandIdle{10};  // an empty on-demand queue goes after it
inline constexpr std::chrono::seconds kRelaxedSyncEvery{
    1};  // relaxed writes reach the disk by then

// --- beanstalkd's protocol ---
inline constexpr std::size_t kBeanstalkLineBytesMax = 224;      // with CR LF: the protocol's bound
inline constexpr std::size_t kBeanstalkTubeBytesMax = 200;      // of a tube's name: the protocol's
inline constexpr std::size_t kBeanstalkReadBytes = 256 * kKiB;  // of one connection in one turn
inline constexpr std::size_t kBeanstalkInFlightMax = 4096;      // commands of one connection
inline constexpr std::size_t kBeanstalkOutBytesMax = 1 * kMiB;  // unread replies; then no reading
inline constexpr std::size_t kBeanstalkSpareBuffersMax = 64;  // kept for the next one who needs one
static_assert(kBeanstalkLineBytesMax ==
              sizeof("pause-tube  4294967295\r\n") - 1 + kBeanstalkTubeBytesMax);
static_assert(kBeanstalkReadBytes > kBeanstalkLineBytesMax);

// --- Script pipes ---
inline constexpr std::size_t kPipeLineBytesMax = 64 * kKiB;   // one line on fd 3; the rest is cut
inline constexpr std::size_t kLastOutputBytesMax = 4 * kKiB;  // of a post-mortem
inline constexpr std::size_t kDupsWaitingMax =
    64;  // of one script; more are read when these are done

// --- The worker ---
inline constexpr std::size_t kEnvironReadBytesMax = 4 * kMiB;  // of a process, to find a mark in it
inline constexpr std::chrono::milliseconds kLeftoverGrace{500};  // of what a script leaves running
inline constexpr std::chrono::milliseconds kMemorySampleEvery{250};
inline constexpr std::size_t kRunningRecordsMax = 16'384;    // scripts one worker can account for
inline constexpr std::size_t kIdleConnectionsMax = 64;       // kept open by a client
inline constexpr std::size_t kSseEventBytesMax = 32 * kMiB;  // one event: a whole message
inline constexpr std::size_t kReplyBytesMax = 512 * kMiB;    // one reply, as a client takes it
inline constexpr std::chrono::milliseconds kReconnectDelayMin{50};
inline constexpr std::chrono::milliseconds kReconnectDelayMax{2'000};
// A queue of scripts shorter than this on average has its next messages leased ahead of their
// slots.
inline constexpr std::chrono::milliseconds kAheadScriptMax{20};
inline constexpr std::int64_t kAheadMax = 64;                // of one queue, a worker
inline constexpr std::chrono::milliseconds kAheadHold{100};  // then they go back, unbegun
inline constexpr int kStormFailures = 5;  // quick failures in a row: starts back off
inline constexpr std::chrono::milliseconds kStormQuick{300};  // a failure is quick below this
inline constexpr std::chrono::milliseconds kStormDelayMin{100};
inline constexpr std::chrono::milliseconds kStormDelayMax{10'000};

}  // namespace rq::base
