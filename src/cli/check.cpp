#include "cli/check.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "cli/text.h"

namespace rq::cli {
namespace {

constexpr double kFreeShareMin = 0.05;              // of the disk
constexpr double kFreeBytesMin = 512 * base::kMiB;  // a busy store grows by this in minutes
constexpr fsfilcnt_t kInodesShareMin = 100;         // one of so many

}  // namespace

bool is_read_only(const struct statvfs& disk) { return (disk.f_flag & ST_RDONLY) != 0; }

std::vector<Check> checks_of_disk(const std::string& dir, const struct statvfs& disk) {
  std::vector<Check> out;
  if (is_read_only(disk)) {
    out.push_back(
        {"disk", Finding::bad, fmt::format("{} is on a disk that is mounted read-only", dir),
         "mount it writable; the system does this by itself when a disk has errors: see dmesg"});
  }
  const double free = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize);
  const double all = static_cast<double>(disk.f_blocks) * static_cast<double>(disk.f_frsize);
  const bool low = free < kFreeBytesMin || free < all * kFreeShareMin;
  out.push_back(
      {"disk", low ? Finding::warning : Finding::ok,
       fmt::format("{} free of {}", show_size(free), show_size(all)),
       low ? "make room: keep finished messages shorter (rq queue set Q --keep-done 1d)" : ""});
  if (disk.f_files > 0 && disk.f_favail < disk.f_files / kInodesShareMin) {
    out.push_back({"disk", Finding::warning, fmt::format("{} inodes left", disk.f_favail),
                   "delete small files on that disk"});
  }
  return out;
}

}  // namespace rq::cli
