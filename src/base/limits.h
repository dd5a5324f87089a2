#pragma once
// Bounds on what comes from outside that more than one folder keeps to, with unit and reason. What
// one folder alone keeps to stands beside its code.
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace rq::base {

// --- Names and fields of a message ---
inline constexpr std::size_t kNameBytesMax = 200;         // queue, worker
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
inline constexpr std::int64_t kPriorityMax = 4294967295;  // 2^32-1, both signs
inline constexpr std::int64_t kPriorityMin = -kPriorityMax;
inline constexpr std::int64_t kCountMax = 1'000'000;  // resends, retries, attempts
inline constexpr std::chrono::hours kDelayMax{24 * 366 *
                                              100};  // a due time further off is a mistake
inline constexpr std::chrono::hours kLeaseMax{24 * 366};
inline constexpr std::chrono::milliseconds kLeaseMin{100};
inline constexpr std::chrono::hours kRetentionMax{24 * 366 * 100};

// --- Queues ---
inline constexpr std::size_t kScriptBytesMax = 1024;  // RQ's own bound on a script path
inline constexpr std::size_t kEnvVarsMax = 256;       // per queue
inline constexpr std::size_t kEnvVarBytesMax = 16 * kKiB;
inline constexpr std::size_t kEnvVarsBytesMax = 1 * kMiB;  // in all; Linux gives a program 2 MiB
// A script has five descriptors open when it starts, and opens a few to find what it needs.
inline constexpr std::int64_t kOpenFilesMin = 8;
inline constexpr std::int64_t kWorkersMax = 1024;  // scripts of one queue at a time, a worker
static_assert(kNameBytesMax < 255, "a queue name must fit a path component");

// --- Requests ---
inline constexpr std::size_t kBulkSampleMax = 10;  // ids and errors that a bulk action shows
inline constexpr std::size_t kJsonDepthMax = 32;
inline constexpr std::size_t kBulkMessagesMax = 100'000;  // messages in one bulk put
inline constexpr std::size_t kBulkActionMax = 1'000'000;  // messages that one command runs early
inline constexpr std::size_t kListPageMax = 1000;         // messages in one page of a list
inline constexpr std::size_t kListScanMax = 200'000;      // rows one text search may look at
inline constexpr std::size_t kReserveQueuesMax = 1024;    // queues in one reserve
inline constexpr std::size_t kReserveMessagesMax = 1000;  // messages in one reserve
inline constexpr std::size_t kLeasesPerCallMax = 10'000;  // tokens in one heartbeat, done, ...
inline constexpr std::chrono::seconds kReserveWaitMax{600};

// --- What a worker or client and the server must agree on ---
inline constexpr std::size_t kLastOutputBytesMax = 4 * kKiB;  // of a post-mortem
inline constexpr std::size_t kSseEventBytesMax = 32 * kMiB;   // one event: a whole message

}  // namespace rq::base
