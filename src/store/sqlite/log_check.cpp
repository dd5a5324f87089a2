#include "store/sqlite/log_check.h"

#include <array>
#include <cstddef>
#include <string_view>

#include "store/sqlite/file_format.h"
#include "store/sqlite/log_frames.h"

namespace rq::store::sqlite {

int check_log_page(sqlite3_file& log, const LogHeads& heads, const void* read, int bytes,
                   sqlite3_int64 at) {
  const auto page_bytes = static_cast<std::size_t>(bytes);
  const auto in_file = static_cast<std::size_t>(at);
  const std::size_t frame_bytes = kFrameHeadBytes + page_bytes;
  if (!is_page_size(page_bytes) || in_file < kLogHeadBytes + kFrameHeadBytes) return SQLITE_OK;
  const std::size_t frame_at = in_file - kFrameHeadBytes;
  if ((frame_at - kLogHeadBytes) % frame_bytes != 0) return SQLITE_OK;  // no page

  const std::string_view page{static_cast<const char*>(read), page_bytes};
  if (const auto known = heads.find(frame_at)) {
    const bool good =
        passes({known->sum_before.data(), kSumBytes}, {known->head.data(), kFrameHeadBytes}, page);
    return good ? SQLITE_OK : kBadLogPage;
  }
  const bool is_first = frame_at == kLogHeadBytes;
  const std::size_t sum_at = is_first ? kLogHeadSum : frame_at - frame_bytes + kFrameSum;
  std::array<char, kSumBytes> sum{};
  std::array<char, kFrameHeadBytes> head{};
  const auto load = [&log](auto& to, std::size_t from) {
    return log.pMethods->xRead(&log, to.data(), static_cast<int>(to.size()),
                               static_cast<sqlite3_int64>(from));
  };
  if (const int code = load(sum, sum_at); code != SQLITE_OK) return code;
  if (const int code = load(head, frame_at); code != SQLITE_OK) return code;
  const bool good = passes({sum.data(), sum.size()}, {head.data(), head.size()}, page);
  return good ? SQLITE_OK : kBadLogPage;
}

}  // namespace rq::store::sqlite
