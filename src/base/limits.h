#pragma once
// Bounds on what comes from outside that more than one folder keeps to, with unit and reason. What
// one folder alone keeps to stands beside its code.
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace rq::base {

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
inline constexpr std::size_t kHttpLineBytesMax = 8 * kKiB;
inline constexpr std::size_t kHttpHeaderBytesMax = 16 * kKiB;
inline constexpr std::size_t kHttpBodyBytesMax = 64 * kMiB;  // a bulk put
inline constexpr std::size_t kHttpPipelineMax = 1024;        // requests in flight a connection
inline constexpr std::size_t kHttpSingleBodyBytesMax =
    32 * kMiB;                                             // one message, every byte escaped
inline constexpr std::size_t kHttpOutBytesMax = 1 * kMiB;  // unsent replies, then reading stops
inline constexpr std::size_t kHttpHeldBytesMax =
    8 * kMiB;  // bodies of unanswered requests, likewise
inline constexpr std::size_t kHttpReadBytes =
    64 * kKiB;  // read at once; the loop has one such buffer
inline constexpr std::chrono::seconds kHttpSweepEvery{5};  // idle connections are looked for
inline constexpr std::chrono::seconds kHttpRequestTime{
    30};  // a started request brings a byte within it
inline constexpr std::chrono::seconds kHttpIdleTime{600};  // between two requests
inline constexpr std::chrono::seconds kHttpWriteTime{60};  // a reader that takes nothing is cut off
inline constexpr std::chrono::seconds kHttpLingerTime{
    5};  // after the last reply, for the peer to read
inline constexpr std::chrono::seconds kSsePingEvery{
    15};                                                // keeps proxies from closing a quiet stream
inline constexpr std::size_t kReaderQueueMax = 10'000;  // look-ups that wait for a reader thread
inline constexpr std::size_t kBulkSampleMax = 10;       // ids and errors that a bulk action shows
inline constexpr std::size_t kLogTailLinesMax = 100'000;
inline constexpr std::size_t kLogChunkBytes = 64 * kKiB;  // of a followed log, read at once
inline constexpr std::size_t kJsonDepthMax = 32;
inline constexpr std::size_t kBulkMessagesMax = 100'000;  // messages in one bulk put
inline constexpr std::size_t kBulkActionMax = 1'000'000;  // messages in one bulk action
inline constexpr std::size_t kListPageMax = 1000;         // messages in one page of a list
inline constexpr std::size_t kListScanMax = 200'000;      // rows one text search may look at
inline constexpr std::size_t kReserveQueuesMax = 1024;    // queues in one reserve
inline constexpr std::size_t kReserveMessagesMax = 1000;  // messages in one reserve
inline constexpr std::size_t kLeasesPerCallMax = 10'000;  // tokens in one heartbeat, done, ...
inline constexpr std::chrono::seconds kReserveWaitMax{600};
inline constexpr std::size_t kConnectionsMax = 20'000;
inline constexpr std::size_t kSseStreamsMax = 1000;
inline constexpr std::size_t kSseBacklogBytesMax = 1 * kMiB;  // a slower reader is cut off
inline constexpr std::size_t kLogRangeBytesMax = 16 * kMiB;   // of one log reply

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

// --- What a worker or client and the server must agree on ---
inline constexpr std::size_t kLastOutputBytesMax = 4 * kKiB;  // of a post-mortem
inline constexpr std::size_t kSseEventBytesMax = 32 * kMiB;   // one event: a whole message

}  // namespace rq::base
