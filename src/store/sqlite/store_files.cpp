#include "store/sqlite/store_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <system_error>

namespace rq::store::sqlite {

namespace fs = std::filesystem;

fs::path log_of(const fs::path& database) { return database.string() + "-wal"; }

fs::path index_of(const fs::path& database) { return database.string() + "-shm"; }

std::array<fs::path, 3> files_of(const fs::path& database) {
  return {database, log_of(database), index_of(database)};
}

std::uintmax_t size_with_log(const fs::path& database) {
  std::uintmax_t bytes = 0;
  for (const fs::path& part : {database, log_of(database)}) {
    std::error_code error;
    const std::uintmax_t size = fs::file_size(part, error);
    if (!error) bytes += size;
  }
  return bytes;
}

FileLook look_at_file(const char* path) { return look_at_file(AT_FDCWD, path); }

FileLook look_at_file(int folder, const char* name) {
  struct statx now {};
  if (::statx(folder, name, 0, STATX_INO | STATX_SIZE, &now) != 0) return {};
  return {.device = makedev(now.stx_dev_major, now.stx_dev_minor),
          .inode = now.stx_ino,
          .bytes = static_cast<std::int64_t>(now.stx_size)};
}

}  // namespace rq::store::sqlite
