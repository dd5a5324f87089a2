#include "store/sqlite/log_frames.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/fd.h"

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
  std::string_view salt;
  bool big = false;  // how the checksums are made
  bool holds = true;
};

// A head that does not pass its checksum is read as well as it can be: the salt is that of the
// first frame, which is always of the newest log.
std::optional<Head> read_head(std::string_view bytes) {
  const auto is_size = [](std::size_t page_bytes) {
    return std::has_single_bit(page_bytes) && page_bytes >= kPageBytesMin &&
           page_bytes <= kPageBytesMax;
  };
  if (bytes.size() < kHeadBytes) return std::nullopt;
  const std::uint32_t magic = u32(bytes, 0);
  Head head{.page_bytes = u32(bytes, kHeadPageBytes),
            .salt = bytes.substr(kHeadSalt, kSaltBytes),
            .big = magic == kMagicBig};
  Sum sum{.big = head.big};
  sum.add(bytes.substr(0, kHeadSum));
  head.holds = sum.is(bytes, kHeadSum) && is_size(head.page_bytes) &&
               (magic == kMagic || magic == kMagicBig);
  if (head.holds) return head;
  if (!is_size(head.page_bytes)) head.page_bytes = kPageBytesUsual;
  if (bytes.size() < kHeadBytes + kFrameHeadBytes + head.page_bytes) return std::nullopt;
  head.salt = bytes.substr(kHeadBytes + kFrameSalt, kSaltBytes);
  return head;
}

}  // namespace

LogFrames read_log(std::string_view bytes, LogPart part) {
  LogFrames log;
  const std::optional<Head> head = read_head(bytes);
  if (!head) return log;
  log.page_bytes = head->page_bytes;
  log.whole_bytes = head->holds ? kHeadBytes : 0;
  const std::size_t frame_bytes = kFrameHeadBytes + head->page_bytes;
  const LogFrames::Number end =
      static_cast<LogFrames::Number>((bytes.size() - kHeadBytes) / frame_bytes);
  Sum sum{.big = head->big};
  sum.take(bytes, kHeadSum);
  bool behind = !head->holds;
  std::size_t committed = 0;
  for (LogFrames::Number n = 0; n < end; ++n) {
    const std::string_view frame = bytes.substr(kHeadBytes + n * frame_bytes, frame_bytes);
    const bool ours = frame.substr(kFrameSalt, kSaltBytes) == head->salt;
    if (ours) {
      sum.add(frame.substr(0, kFrameSalt));
      sum.add(frame.substr(kFrameHeadBytes));
    }
    const bool holds = ours && sum.is(frame, kFrameSum);
    sum.take(frame, kFrameSum);  // what the next one goes on from, whether this one is good or bad
    behind = behind || !holds;
    const LogFrames::Number pages = holds ? u32(frame, kFramePages) : 0;
    if (behind && pages != 0) ++log.commits_behind;
    if (!ours || (behind && part == LogPart::whole)) continue;
    log.frames.push_back({.page = u32(frame, 0), .frame = n});
    if (pages == 0) continue;
    committed = log.frames.size();
    log.pages = pages;
    if (!behind) log.whole_bytes = kHeadBytes + (n + std::size_t{1}) * frame_bytes;
  }
  log.frames.resize(committed);
  return log;
}

LogFrames read_log_of(const std::filesystem::path& database) {
  return read_log(MappedFile(database.string() + "-wal").bytes(), LogPart::whole);
}

std::size_t page_at(const LogFrames& log, LogFrames::Number frame) {
  return kHeadBytes + frame * (kFrameHeadBytes + log.page_bytes) + kFrameHeadBytes;
}

MappedFile::MappedFile(const std::filesystem::path& file) {
  errno = 0;
  const base::Fd opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!opened.is_open() || ::fstat(opened.get(), &info) != 0 || info.st_size == 0) return;
  const auto size = static_cast<std::size_t>(info.st_size);
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, opened.get(), 0);
  if (mapped != MAP_FAILED) bytes_ = {static_cast<const char*>(mapped), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

}  // namespace rq::store::sqlite
