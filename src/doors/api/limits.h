#pragma once
// The bounds of the API, with their units and reasons.
#include <cstddef>

#include "base/limits.h"

namespace rq::doors::api {

inline constexpr std::size_t kBulkBodyBytesMax = 64 * base::kMiB;  // of a put of many messages
// One message, every byte of its payload escaped; the answers of a busy worker.
inline constexpr std::size_t kJsonBodyBytesMax = 32 * base::kMiB;
// Up to this a body is parsed in one go; a larger one piece by piece, as it comes.
inline constexpr std::size_t kJsonAtOnceBytes = 64 * base::kKiB;
// Values in one body that is kept as a tree: 10,000 leases with all that can be said of each.
inline constexpr std::size_t kJsonValuesMax = 500'000;
// Fields of one message but for its payload, as JSON: parameters, headers and tags, escaped.
inline constexpr std::size_t kPutRestBytesMax = 4 * base::kMiB;
inline constexpr std::size_t kPutRestValuesMax = 10'000;

// One count of what waits for another try: scheduled messages that it looks at, and pages of them,
// of which each queue takes one at least.
inline constexpr std::int64_t kTriesScanMax = 100'000;
inline constexpr std::size_t kTriesPagesMax = 1'000;

// Of larger replies the loop sends one, and then the others have their turn.
inline constexpr std::size_t kLargeReplyBytes = 64 * base::kKiB;

inline constexpr std::size_t kLogTailLinesMax = 100'000;
inline constexpr std::size_t kEventsPieceBytes = 64 * base::kKiB;  // written at once to a stream
// News of the message that a stream of its log keeps while the log goes first; newer ones replace
// older ones above it.
inline constexpr std::size_t kLogNewsBytesMax = 64 * base::kKiB;

}  // namespace rq::doors::api
