#include "store/sqlite/copy_pages.h"

namespace rq::store::sqlite {

using base::Result;

Result<void> copy_pages(Db& from, Db& to) {
  constexpr const char* kDoing = "copying the pages of the store";
  sqlite3_backup* copy = sqlite3_backup_init(to.handle(), "main", from.handle(), "main");
  if (copy == nullptr) return fault(to.handle(), sqlite3_errcode(to.handle()), kDoing);
  // What stops a step may come again, and so is none of the errors that finish() tells.
  const int step = sqlite3_backup_step(copy, -1);
  const int end = sqlite3_backup_finish(copy);
  if (step != SQLITE_DONE) return fault(nullptr, step, kDoing);
  if (end != SQLITE_OK) return fault(to.handle(), end, kDoing);
  return {};
}

Result<std::filesystem::path> write_pages_anew(RebuildFiles& files, Db& db, WriterVfs& vfs) {
  RQ_TRY(files.clear_making());
  auto done = [&]() -> Result<std::filesystem::path> {
    Db whole;
    RQ_TRY(whole.open(files.making(),
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX));
    vfs.check_log(true);
    const auto copied = copy_pages(db, whole);
    vfs.check_log(false);  // what is overwritten is read once more
    RQ_TRY(copied);
    RQ_TRY_ASSIGN(kept, files.copy_log());
    RQ_TRY(copy_pages(whole, db));
    return kept;
  }();
  static_cast<void>(files.clear_making());
  return done;
}

}  // namespace rq::store::sqlite
