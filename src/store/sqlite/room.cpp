#include "store/sqlite/room.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <limits>
#include <utility>

#include "core/store.h"

namespace rq::store::sqlite {

std::int64_t Room::free_on_disk(const std::filesystem::path& file) {
  struct statvfs disk {};
  // One that cannot be asked is not known to be full.
  if (::statvfs(file.parent_path().c_str(), &disk) != 0) {
    return std::numeric_limits<std::int64_t>::max();
  }
  return static_cast<std::int64_t>(disk.f_bavail) * static_cast<std::int64_t>(disk.f_frsize);
}

Room::Room(const std::filesystem::path& database, std::int64_t bytes, Free free)
    : file_(database.string() + ".room"), bytes_(bytes), free_(std::move(free)) {
  std::error_code error;
  const std::uintmax_t left = std::filesystem::file_size(file_, error);
  kept_ = bytes_ > 0 && !error && left == static_cast<std::uintmax_t>(bytes_);
}

void Room::look(bool now) {
  if (bytes_ == 0) return;
  const auto at = std::chrono::steady_clock::now();
  if (!now && at < next_look_) return;
  next_look_ = at + kPause;
  // Full when less than a quarter of what is kept is free.
  const std::int64_t free = free_(file_);
  if (kept_ && free < bytes_ / 4) return used_up();
  if (!kept_ && free >= (none_ ? core::room_again(bytes_) : bytes_ + bytes_ / 4)) {
    none_ = !keep();
  } else if (!kept_) {
    none_ = true;
  }
}

void Room::used_up() {
  if (bytes_ == 0) return;
  give_up();
  none_ = true;
}

bool Room::keep() {
  const int file = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return false;
  kept_ = ::posix_fallocate(file, 0, bytes_) == 0;
  ::close(file);
  if (!kept_) give_up();
  return kept_;
}

void Room::give_up() {
  static_cast<void>(::unlink(file_.c_str()));
  kept_ = false;
}

}  // namespace rq::store::sqlite
