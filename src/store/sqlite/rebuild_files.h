#pragma once
// The files beside a store that is rebuilt. What is there tells how far a rebuild has come, so that
// it goes on after a death at any moment. Beside `rq.db`:
//
//   rq.db.rebuild      it is to be rebuilt when it is opened next
//   rq.db.making       the new one while it is made; nobody ever takes it for the store
//   rq.db.fresh-N-ID   whole: it takes the place of the store whose inode is ID, which is not open
//                      until then. By that number no other file is ever taken for one
//   rq.db.damaged-N    what the store was; its log has the same name and `-wal`
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "base/result.h"
#include "store/sqlite/file_bytes.h"

namespace rq::store::sqlite {

// What is done to files; a test lets one of them fail.
class FileCalls {
 public:
  FileCalls() = default;
  FileCalls(const FileCalls&) = delete;
  FileCalls& operator=(const FileCalls&) = delete;
  virtual ~FileCalls() = default;
  static FileCalls& real();

  [[nodiscard]] virtual std::error_code rename(const std::filesystem::path& from,
                                               const std::filesystem::path& to);
  // Nothing is there: no error.
  [[nodiscard]] virtual std::error_code remove(const std::filesystem::path& file);
  // It is on disk then.
  [[nodiscard]] virtual std::error_code copy(FileBytes& from, const std::filesystem::path& to);
  // Names that were given and taken in it are on disk.
  [[nodiscard]] virtual std::error_code sync_folder(const std::filesystem::path& folder);
};

class RebuildFiles {
 public:
  explicit RebuildFiles(std::filesystem::path file, FileCalls& calls = FileCalls::real());

  // What is to be done next, as the files tell.
  enum class Next : std::uint8_t {
    nothing,     // there is no fresh one
    keep_store,  // the damaged file is still in its place
    keep_log,    // likewise its log
    take_place,  // the fresh one may take it
  };
  [[nodiscard]] Next next() const;

  // The store is not open. Does all that is to be done for a fresh one. Until it has worked, the
  // store must not be opened.
  [[nodiscard]] base::Result<void> finish();
  // Likewise. What was made becomes the fresh one, and takes the place of the store.
  [[nodiscard]] base::Result<void> take_over();
  // The store is open, and `database` is its file: what it was is copied.
  [[nodiscard]] base::Result<void> copy_damaged(FileBytes& database);
  // What the log is, is copied. The copy.
  [[nodiscard]] base::Result<std::filesystem::path> copy_log();

  // There is nothing of that name any more, nor of its journals.
  [[nodiscard]] base::Result<void> clear_making();
  [[nodiscard]] std::filesystem::path making() const;
  // What takes the place of the store there is, or of what it was.
  [[nodiscard]] std::filesystem::path fresh(int n) const;

  // Why it is to be rebuilt is written into the mark, unless there is one. False: there is none,
  // for it cannot be written.
  bool mark(std::string_view why) const;
  // Likewise, and its log was damaged while the server ran: all of that is to be read, also after
  // a start of the machine. The mark is on disk then, whether there was one or not.
  [[nodiscard]] base::Result<void> mark_log(std::string_view why) const;
  [[nodiscard]] bool wants_whole_log() const;
  [[nodiscard]] bool is_marked() const;
  // Why, as the mark says it; empty: it does not.
  [[nodiscard]] std::string marked_why() const;
  // It has been rebuilt, or is about to be.
  void unmark();

  [[nodiscard]] const std::filesystem::path& file() const { return file_; }
  // What was kept by this object last; empty: nothing.
  [[nodiscard]] const std::filesystem::path& kept() const { return kept_; }

 private:
  [[nodiscard]] std::optional<int> fresh() const;
  [[nodiscard]] std::filesystem::path damaged(int n) const;
  [[nodiscard]] base::Result<int> make_room();
  [[nodiscard]] base::Result<void> rename(const std::filesystem::path& from,
                                          const std::filesystem::path& to);
  [[nodiscard]] base::Result<void> remove(const std::filesystem::path& file);
  [[nodiscard]] base::Result<void> copy(FileBytes& from, const std::filesystem::path& to);
  [[nodiscard]] base::Result<void> sync_folder() const;
  [[nodiscard]] base::Error cannot(std::string_view what, const std::filesystem::path& file,
                                   const std::error_code& error) const;

  const std::filesystem::path file_;
  FileCalls& calls_;
  std::filesystem::path kept_;
};

}  // namespace rq::store::sqlite
