#pragma once
// The files of a store, by their names, and what a look at one tells.
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <filesystem>

namespace rq::store::sqlite {

[[nodiscard]] std::filesystem::path log_of(const std::filesystem::path& database);
// The index of the log.
[[nodiscard]] std::filesystem::path index_of(const std::filesystem::path& database);
// The database, its log, and the index of the log.
[[nodiscard]] std::array<std::filesystem::path, 3> files_of(const std::filesystem::path& database);

// Of the database and its log.
[[nodiscard]] std::uintmax_t size_with_log(const std::filesystem::path& database);

struct FileLook {
  dev_t device = 0;
  ino_t inode = 0;  // 0: it is not there, or cannot be looked at; errno says why
  std::int64_t bytes = 0;
};
// Without its times: who asks for them makes the next write give it finer ones, which the next sync
// then has to write as well.
[[nodiscard]] FileLook look_at_file(const char* path);
// Of that name in a folder that is open.
[[nodiscard]] FileLook look_at_file(int folder, const char* name);

}  // namespace rq::store::sqlite
