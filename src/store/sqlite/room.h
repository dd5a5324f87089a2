#pragma once
// Room on the disk for what frees room. A file beside the database takes up some of the disk; when
// the disk is full it is given up, so that removes, leases and ends can still be written, while
// what needs more is refused. When there is room again, the file is made anew. Its name is that of
// the database with `.room`.
// Thread: engine.
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>

namespace rq::store::sqlite {

class Room {
 public:
  // Bytes that others may still write to the file system of `file`.
  using Free = std::function<std::int64_t(const std::filesystem::path& file)>;
  [[nodiscard]] static std::int64_t free_on_disk(const std::filesystem::path& file);

  // Keeps `bytes`; 0: none, and it never says that the disk is full.
  Room(const std::filesystem::path& database, std::int64_t bytes, Free free = free_on_disk);

  // Looks at the disk, at most once in kPause unless it is told to look `now`.
  void look(bool now = false);
  // A write has found the disk full.
  void used_up();
  [[nodiscard]] bool none() const { return none_; }
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

 private:
  static constexpr std::chrono::seconds kPause{1};

  [[nodiscard]] bool keep();
  void give_up();

  const std::filesystem::path file_;
  const std::int64_t bytes_;
  const Free free_;
  bool none_ = false;
  bool kept_ = false;
  std::chrono::steady_clock::time_point next_look_;
};

}  // namespace rq::store::sqlite
