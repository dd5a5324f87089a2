#include "store/sqlite/checkpointer.h"

#include "store/sqlite/db.h"
#include "store/sqlite/log_check.h"

namespace rq::store::sqlite {
namespace {

// A pass writes up to the length of the log, and would sync it all at its end: the engine's own
// syncs would stand behind that at the disk. So each piece is synced by itself.
constexpr sqlite3_int64 kPieceBytes = 256 * 1024;

// The methods of a file on one connection, of which one is another.
struct Methods {
  sqlite3_io_methods methods;  // first: what the file points to
  const sqlite3_io_methods* real;

  static Methods& of(sqlite3_file* file) {
    return *reinterpret_cast<Methods*>(const_cast<sqlite3_io_methods*>(file->pMethods));
  }
  // `pointer`: which file of it, for sqlite3_file_control.
  [[nodiscard]] int attach(sqlite3* db, int pointer) {
    sqlite3_file* file = nullptr;
    const int code = sqlite3_file_control(db, "main", pointer, &file);
    if (code != SQLITE_OK || file == nullptr || file->pMethods == nullptr) return SQLITE_ERROR;
    real = file->pMethods;
    sqlite3_io_methods changed = *real;
    if (methods.xWrite != nullptr) changed.xWrite = methods.xWrite;
    if (methods.xRead != nullptr) changed.xRead = methods.xRead;
    methods = changed;
    file->pMethods = &methods;
    return SQLITE_OK;
  }
};

// The database.
struct PacedFile : Methods {
  sqlite3_int64 unsynced = 0;

  PacedFile() : Methods{} { methods.xWrite = write; }
  static int write(sqlite3_file* file, const void* from, int n, sqlite3_int64 at) {
    auto& self = static_cast<PacedFile&>(of(file));
    const int code = self.real->xWrite(file, from, n, at);
    self.unsynced += n;
    if (code != SQLITE_OK || self.unsynced < kPieceBytes) return code;
    self.unsynced = 0;
    return self.real->xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
  }
};

// The log.
struct CheckedFile : Methods {
  const LogHeads& heads;

  explicit CheckedFile(const LogHeads& of_log) : Methods{}, heads(of_log) { methods.xRead = read; }
  static int read(sqlite3_file* file, void* to, int n, sqlite3_int64 at) {
    auto& self = static_cast<CheckedFile&>(of(file));
    const int code = self.real->xRead(file, to, n, at);
    return code == SQLITE_OK ? check_log_page(*file, self.heads, to, n, at) : code;
  }
};

}  // namespace

base::Result<std::unique_ptr<Checkpointer>> open_checkpointer(const std::filesystem::path& file,
                                                              const LogHeads& heads) {
  struct Connection {
    explicit Connection(const LogHeads& of_log) : checked(of_log) {}

    PacedFile paced;
    CheckedFile checked;
    Db db;
  };
  auto own = std::make_shared<Connection>(heads);
  RQ_TRY(own->db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX));
  RQ_TRY(own->db.exec("PRAGMA synchronous = NORMAL"));
  RQ_TRY(own->db.exec("PRAGMA wal_autocheckpoint = 0"));
  RQ_TRY(own->db.one("PRAGMA schema_version"));  // now its log is open
  int attached = own->paced.attach(own->db.handle(), SQLITE_FCNTL_FILE_POINTER);
  if (attached == SQLITE_OK) {
    attached = own->checked.attach(own->db.handle(), SQLITE_FCNTL_JOURNAL_POINTER);
  }
  if (attached != SQLITE_OK) {
    return fault(own->db.handle(), attached, "opening the database for checkpoints");
  }
  return std::make_unique<Checkpointer>([own](CheckpointPass) {
    int frames = 0;
    const int code = sqlite3_wal_checkpoint_v2(own->db.handle(), "main", SQLITE_CHECKPOINT_PASSIVE,
                                               nullptr, &frames);
    return CheckpointDone{.code = code, .frames = frames};
  });
}

}  // namespace rq::store::sqlite
