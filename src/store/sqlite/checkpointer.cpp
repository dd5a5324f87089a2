#include "store/sqlite/checkpointer.h"

#include "store/sqlite/db.h"

namespace rq::store::sqlite {
namespace {

// A pass writes up to the length of the log, and would sync it all at its end: the engine's own
// syncs would stand behind that at the disk. So each piece is synced by itself.
constexpr sqlite3_int64 kPieceBytes = 256 * 1024;

// The methods of the database's file on one connection, of which one is another.
struct PacedFile {
  sqlite3_io_methods methods;  // first: what the file points to
  const sqlite3_io_methods* real;
  sqlite3_int64 unsynced;

  static int write(sqlite3_file* file, const void* from, int n, sqlite3_int64 at) {
    auto& self = *reinterpret_cast<PacedFile*>(const_cast<sqlite3_io_methods*>(file->pMethods));
    const int code = self.real->xWrite(file, from, n, at);
    self.unsynced += n;
    if (code != SQLITE_OK || self.unsynced < kPieceBytes) return code;
    self.unsynced = 0;
    return self.real->xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
  }

  [[nodiscard]] int attach(sqlite3* db) {
    sqlite3_file* file = nullptr;
    const int code = sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (code != SQLITE_OK || file == nullptr || file->pMethods == nullptr) return SQLITE_ERROR;
    real = file->pMethods;
    methods = *real;
    methods.xWrite = write;
    file->pMethods = &methods;
    return SQLITE_OK;
  }
};

}  // namespace

base::Result<std::unique_ptr<Checkpointer>> open_checkpointer(const std::filesystem::path& file) {
  struct Connection {
    PacedFile paced{};
    Db db;
  };
  auto own = std::make_shared<Connection>();
  RQ_TRY(own->db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX));
  RQ_TRY(own->db.exec("PRAGMA synchronous = NORMAL"));
  RQ_TRY(own->db.exec("PRAGMA wal_autocheckpoint = 0"));
  if (const int code = own->paced.attach(own->db.handle()); code != SQLITE_OK) {
    return fault(own->db.handle(), code, "opening the database for checkpoints");
  }
  return std::make_unique<Checkpointer>([own](CheckpointPass) {
    int frames = 0;
    const int code = sqlite3_wal_checkpoint_v2(own->db.handle(), "main", SQLITE_CHECKPOINT_PASSIVE,
                                               nullptr, &frames);
    return CheckpointDone{.code = code, .frames = frames};
  });
}

}  // namespace rq::store::sqlite
