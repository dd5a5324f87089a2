#include "store/sqlite/log_frames.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/limits.h"
#include "store/sqlite/file_format.h"
#include "store/sqlite/store_files.h"

namespace rq::store::sqlite {

namespace {

constexpr std::size_t kReadAtOnce = 256 * base::kKiB;
// Of the index: its head stands there twice, each with a checksum, and in the numbers of this
// machine.
constexpr std::size_t kIndexHeadBytes = 48;
constexpr std::size_t kIndexVersion = 0;
constexpr std::size_t kIndexFrames = 16;
constexpr std::size_t kIndexPages = 20;
constexpr std::size_t kIndexSalt = 32;
constexpr std::size_t kIndexSum = 40;
constexpr std::size_t kIndexCopied = 96;
constexpr std::size_t kIndexRead = 100;
constexpr std::uint32_t kIndexVersionKnown = 3'007'000;

template <bool kBig>
std::uint32_t word(const char* at) {
  std::uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return kBig ? __builtin_bswap32(value) : value;
}

std::uint32_t native(std::string_view bytes, std::size_t at) {
  return word<false>(bytes.data() + at);
}

// The running checksum. Each step of it waits for the one before. But a step is linear: what n
// steps make of a sum is (aa * a + ab * b, ab * a + bb * b), plus what they make of 0. So four
// parts of a chunk are added up side by side, and brought together.
struct Steps {
  std::uint32_t aa = 1;
  std::uint32_t ab = 0;
  std::uint32_t bb = 1;
};
constexpr Steps steps(std::size_t n) {
  Steps all;
  for (; n > 0; --n) all = {all.aa + all.ab, all.ab + all.bb, all.ab + 2 * all.bb};
  return all;
}

struct Sum {
  static constexpr std::size_t kParts = 4;
  static constexpr std::size_t kPartBytes = 128;
  static constexpr std::size_t kChunkBytes = kParts * kPartBytes;  // the smallest page

  std::uint32_t a = 0;
  std::uint32_t b = 0;
  bool big = false;

  template <bool kBig>
  void step(const char* at) {
    a += word<kBig>(at) + b;
    b += word<kBig>(at + 4) + a;
  }
  template <bool kBig>
  void add_chunk(const char* bytes) {
    constexpr Steps kPart = steps(kPartBytes / 8);
    Sum first = *this;
    Sum second;
    Sum third;
    Sum fourth;
    for (std::size_t at = 0; at < kPartBytes; at += 8) {
      first.step<kBig>(bytes + at);
      second.step<kBig>(bytes + kPartBytes + at);
      third.step<kBig>(bytes + 2 * kPartBytes + at);
      fourth.step<kBig>(bytes + 3 * kPartBytes + at);
    }
    for (const Sum& next : {second, third, fourth}) {
      first = {.a = kPart.aa * first.a + kPart.ab * first.b + next.a,
               .b = kPart.ab * first.a + kPart.bb * first.b + next.b,
               .big = big};
    }
    *this = first;
  }
  template <bool kBig>
  void add_words(std::string_view bytes) {
    for (; bytes.size() >= kChunkBytes; bytes.remove_prefix(kChunkBytes)) {
      add_chunk<kBig>(bytes.data());
    }
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) step<kBig>(bytes.data());
  }

  bool operator==(const Sum&) const = default;
  void add(std::string_view bytes) { big ? add_words<true>(bytes) : add_words<false>(bytes); }
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
  if (log.size() < kLogHeadBytes) return std::optional<Head>{};
  RQ_TRY_ASSIGN(bytes, log.read(0, kLogHeadBytes));
  const std::uint32_t magic = u32(bytes, 0);
  Head head{.page_bytes = u32(bytes, kLogHeadPageBytes),
            .salt = std::string{bytes.substr(kLogHeadSalt, kSaltBytes)}};
  const auto add_up = [&](bool big) {
    head.made = {.big = big};
    head.made.add(bytes.substr(0, kLogHeadSum));
    head.written = {.big = big};
    head.written.take(bytes, kLogHeadSum);
  };
  add_up(magic == kLogMagicBig);
  head.holds = head.made.is(bytes, kLogHeadSum) && is_page_size(head.page_bytes) &&
               (magic == kLogMagic || magic == kLogMagicBig);
  if (head.holds) return std::optional{head};
  add_up(false);
  if (!is_page_size(head.page_bytes)) head.page_bytes = kPageBytesUsual;
  if (log.size() < kLogHeadBytes + kFrameHeadBytes + head.page_bytes) return std::optional<Head>{};
  RQ_TRY_ASSIGN(salt, log.read(kLogHeadBytes + kFrameSalt, kSaltBytes));
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

// What a frame is.
struct FrameSeen {
  bool ours = false;            // of this log, and not left from an older one
  bool behind = false;          // it, or something before it, is not as it was written
  bool strange = false;         // the index tells of it, and nothing of it is as it was written
  LogFrames::Number pages = 0;  // it ends a commit that can be read: the pages of the store then
};

// Looks at one frame after the other.
class FrameReader {
 public:
  // `told`: frames that the index tells of.
  FrameReader(const Head& head, LogFrames::Number told)
      : salt_(head.salt), told_(told), chain_(head), behind_(!head.holds) {}

  // The checksum does not cover the salt. What an older log has left goes on from another frame.
  [[nodiscard]] FrameSeen next(std::string_view frame) {
    const bool salted = frame.substr(kFrameSalt, kSaltBytes) == salt_;
    const bool holds = (salted || ours_) && chain_.passes(frame);
    const bool told = n_++ < told_;
    ours_ = salted || holds || told;
    behind_ = behind_ || !salted || !holds;
    return {.ours = ours_,
            .behind = behind_,
            .strange = told && !salted && !holds,
            .pages = holds ? u32(frame, kFramePages) : 0};
  }

 private:
  const std::string salt_;
  const LogFrames::Number told_;
  Chain chain_;
  LogFrames::Number n_ = 0;
  bool ours_ = true;
  bool behind_;
};

// With what the index tells of the same log.
void compare(LogFrames& log, const LogIndex& index) {
  // What is left of a log that was copied before it was cut is older than the database.
  if (log.is_short()) {
    std::erase_if(log.frames, [&index](const auto& frame) { return frame.frame < index.copied; });
  }
  // Nothing is lost with a log that is in the database and gives SQLite no older pages.
  if (log.whole == 0 && index.copied >= log.told) log.told = 0;
}

}  // namespace

std::optional<LogIndex> read_index_of(const std::filesystem::path& database) {
  FileBytes file;
  if (!file.open(index_of(database)) || file.size() < kIndexRead) return std::nullopt;
  const auto read = file.read(0, kIndexRead);
  if (!read) return std::nullopt;
  const std::string_view bytes = *read;
  // SQLite writes the second one first: when both pass, that is the newer one.
  for (const std::size_t at : {kIndexHeadBytes, std::size_t{0}}) {
    const std::string_view head = bytes.substr(at, kIndexHeadBytes);
    Sum sum;
    sum.add(head.substr(0, kIndexSum));
    const Sum written{.a = native(head, kIndexSum), .b = native(head, kIndexSum + 4)};
    if (sum != written || native(head, kIndexVersion) != kIndexVersionKnown) continue;
    return LogIndex{.frames = native(head, kIndexFrames),
                    .copied = native(bytes, kIndexCopied),
                    .pages = native(head, kIndexPages),
                    .salt = std::string{head.substr(kIndexSalt, kSaltBytes)}};
  }
  return std::nullopt;
}

bool passes(std::string_view sum_before, std::string_view head, std::string_view page) {
  return std::ranges::any_of(std::array{false, true}, [&](bool big) {
    Sum sum{.big = big};
    sum.take(sum_before, 0);
    sum.add(head.substr(0, kFrameSalt));
    sum.add(page);
    return sum.is(head, kFrameSum);
  });
}

base::Result<LogFrames> read_log(FileBytes& file, LogPart part,
                                 const std::optional<LogIndex>& index) {
  LogFrames log;
  RQ_TRY_ASSIGN(head, read_head(file));
  if (!head) {
    if (index && index->copied < index->frames) log.told = index->frames;
    return log;
  }
  if (index && index->salt == head->salt) log.told = index->frames;
  log.page_bytes = head->page_bytes;
  log.whole_bytes = head->holds ? kLogHeadBytes : 0;
  const std::size_t frame_bytes = kFrameHeadBytes + head->page_bytes;
  log.in_file = static_cast<LogFrames::Number>((file.size() - kLogHeadBytes) / frame_bytes);
  FrameReader reader(*head, log.told);
  std::size_t committed = 0;  // of log.frames
  for (LogFrames::Number n = 0; n < log.in_file; ++n) {
    RQ_TRY_ASSIGN(bytes, file.read(kLogHeadBytes + n * frame_bytes, frame_bytes));
    const FrameSeen frame = reader.next(bytes);
    if (frame.behind && frame.pages != 0) ++log.commits_behind;
    if (frame.strange) ++log.strange;
    if (!frame.ours || (frame.behind && part == LogPart::as_sqlite_reads)) continue;
    log.frames.push_back({.page = u32(bytes, 0), .frame = n});
    if (frame.pages != 0) {
      committed = log.frames.size();
      log.pages = frame.pages;
    }
    if (frame.pages != 0 && !frame.behind) {
      log.whole = n + 1;
      log.whole_bytes = kLogHeadBytes + log.whole * frame_bytes;
    }
    if (n < log.told && part == LogPart::all) {  // it is committed, as the index tells
      committed = log.frames.size();
      log.pages = index->pages;
    }
  }
  log.frames.resize(committed);
  if (log.told > 0) compare(log, *index);
  return log;
}

base::Result<LogFrames> read_log_of(const std::filesystem::path& database,
                                    const std::optional<LogIndex>& index) {
  FileBytes log(kReadAtOnce);
  RQ_TRY(log.open(log_of(database)));
  return read_log(log, LogPart::as_sqlite_reads, index);
}

std::size_t page_at(const LogFrames& log, LogFrames::Number frame) {
  return kLogHeadBytes + frame * (kFrameHeadBytes + log.page_bytes) + kFrameHeadBytes;
}

}  // namespace rq::store::sqlite
