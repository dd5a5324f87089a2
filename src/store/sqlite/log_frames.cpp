#include "store/sqlite/log_frames.h"

#include <bit>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "base/limits.h"

namespace rq::store::sqlite {

namespace {

// Of the head of a log, and of each frame: where their fields are.
constexpr std::uint32_t kMagic = 0x377f0682U;
constexpr std::uint32_t kMagicBig = 0x377f0683U;
constexpr std::size_t kHeadBytes = 32;
constexpr std::size_t kHeadPageBytes = 8;
constexpr std::size_t kHeadSalt = 16;
constexpr std::size_t kHeadSum = 24;
constexpr std::size_t kSaltBytes = 8;
constexpr std::size_t kFrameHeadBytes = 24;
constexpr std::size_t kFramePages = 4;
constexpr std::size_t kFrameSalt = 8;
constexpr std::size_t kFrameSum = 16;
constexpr std::size_t kPageBytesMin = 512;
constexpr std::size_t kPageBytesMax = 65'536;
constexpr std::size_t kPageBytesUsual = 4096;
constexpr std::size_t kReadAtOnce = 256 * base::kKiB;

std::uint32_t native(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
std::uint32_t u32(std::string_view bytes, std::size_t at) {
  return __builtin_bswap32(native(bytes, at));
}

// The running checksum.
struct Sum {
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  bool big = false;

  bool operator==(const Sum&) const = default;
  void add(std::string_view bytes) {
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      a += (big ? u32(bytes, at) : native(bytes, at)) + b;
      b += (big ? u32(bytes, at + 4) : native(bytes, at + 4)) + a;
    }
  }
  [[nodiscard]] bool is(std::string_view bytes, std::size_t at) const {
    return a == u32(bytes, at) && b == u32(bytes, at + 4);
  }
  void take(std::string_view bytes, std::size_t at) {
    a = u32(bytes, at);
    b = u32(bytes, at + 4);
  }
};
static_assert(std::endian::native == std::endian::little);

struct Head {
  std::size_t page_bytes = 0;
  std::string salt;
  bool holds = true;
  // What the checksum of the first frame goes on from: as it is written, and as it should be.
  Sum written;
  Sum made;
};

// A head that does not pass its checksum is read as well as it can be: the salt is that of the
// first frame, which is always of the newest log; and SQLite makes its checksums as this machine
// reads numbers.
base::Result<std::optional<Head>> read_head(FileBytes& log) {
  const auto is_size = [](std::size_t page_bytes) {
    return std::has_single_bit(page_bytes) && page_bytes >= kPageBytesMin &&
           page_bytes <= kPageBytesMax;
  };
  if (log.size() < kHeadBytes) return std::optional<Head>{};
  RQ_TRY_ASSIGN(bytes, log.read(0, kHeadBytes));
  const std::uint32_t magic = u32(bytes, 0);
  Head head{.page_bytes = u32(bytes, kHeadPageBytes),
            .salt = std::string{bytes.substr(kHeadSalt, kSaltBytes)}};
  const auto add_up = [&](bool big) {
    head.made = {.big = big};
    head.made.add(bytes.substr(0, kHeadSum));
    head.written = {.big = big};
    head.written.take(bytes, kHeadSum);
  };
  add_up(magic == kMagicBig);
  head.holds = head.made.is(bytes, kHeadSum) && is_size(head.page_bytes) &&
               (magic == kMagic || magic == kMagicBig);
  if (head.holds) return std::optional{head};
  add_up(false);
  if (!is_size(head.page_bytes)) head.page_bytes = kPageBytesUsual;
  if (log.size() < kHeadBytes + kFrameHeadBytes + head.page_bytes) return std::optional<Head>{};
  RQ_TRY_ASSIGN(salt, log.read(kHeadBytes + kFrameSalt, kSaltBytes));
  head.salt = salt;
  return std::optional{head};
}

// Whether frames pass their checksums, each of which goes on from the one before. Where that one is
// damaged, the next one goes on from what is written there, or from what should be.
class Chain {
 public:
  explicit Chain(const Head& head) : written_(head.written), made_(head.made) {}

  [[nodiscard]] bool passes(std::string_view frame) {
    const Sum from_written = after(written_, frame);
    const Sum from_made = made_ == written_ ? from_written : after(made_, frame);
    written_.take(frame, kFrameSum);
    made_ = from_made.is(frame, kFrameSum) ? from_made : from_written;
    return made_.is(frame, kFrameSum);
  }

 private:
  static Sum after(Sum sum, std::string_view frame) {
    sum.add(frame.substr(0, kFrameSalt));
    sum.add(frame.substr(kFrameHeadBytes));
    return sum;
  }

  Sum written_, made_;
};

}  // namespace

base::Result<LogFrames> read_log(FileBytes& file, LogPart part) {
  LogFrames log;
  RQ_TRY_ASSIGN(head, read_head(file));
  if (!head) return log;
  log.page_bytes = head->page_bytes;
  log.whole_bytes = head->holds ? kHeadBytes : 0;
  const std::size_t frame_bytes = kFrameHeadBytes + head->page_bytes;
  const LogFrames::Number end =
      static_cast<LogFrames::Number>((file.size() - kHeadBytes) / frame_bytes);
  Chain chain(*head);
  bool behind = !head->holds;
  bool ours = true;
  std::size_t committed = 0;
  for (LogFrames::Number n = 0; n < end; ++n) {
    RQ_TRY_ASSIGN(frame, file.read(kHeadBytes + n * frame_bytes, frame_bytes));
    // The checksum does not cover the salt. What an older log has left goes on from another frame.
    const bool salted = frame.substr(kFrameSalt, kSaltBytes) == head->salt;
    const bool holds = (salted || ours) && chain.passes(frame);
    ours = salted || holds;
    behind = behind || !salted || !holds;
    const LogFrames::Number pages = holds ? u32(frame, kFramePages) : 0;
    if (behind && pages != 0) ++log.commits_behind;
    if (!ours || (behind && part == LogPart::as_sqlite_reads)) continue;
    log.frames.push_back({.page = u32(frame, 0), .frame = n});
    if (pages == 0) continue;
    committed = log.frames.size();
    log.pages = pages;
    if (!behind) log.whole_bytes = kHeadBytes + (n + std::size_t{1}) * frame_bytes;
  }
  log.frames.resize(committed);
  return log;
}

base::Result<LogFrames> read_log_of(const std::filesystem::path& database) {
  FileBytes log(kReadAtOnce);
  RQ_TRY(log.open(log_of(database)));
  return read_log(log, LogPart::as_sqlite_reads);
}

std::filesystem::path log_of(const std::filesystem::path& database) {
  return database.string() + "-wal";
}

std::size_t page_at(const LogFrames& log, LogFrames::Number frame) {
  return kHeadBytes + frame * (kFrameHeadBytes + log.page_bytes) + kFrameHeadBytes;
}

}  // namespace rq::store::sqlite
