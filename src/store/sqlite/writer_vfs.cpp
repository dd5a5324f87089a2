#include "store/sqlite/writer_vfs.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>
#include <vector>

#include "base/check.h"
#include "store/sqlite/file_format.h"
#include "store/sqlite/log_check.h"
#include "store/sqlite/store_files.h"

namespace rq::store::sqlite {
namespace {

// Of the locks in the log's index (sqlite.org/walformat.html#locks).
constexpr int kWriteLock = 0;

bool ends_commit(const char* frame_head) {
  return u32({frame_head, kFrameHeadBytes}, kFramePages) != 0;
}

}  // namespace

// The log or the database. All other files are those of the VFS below.
struct WriterVfs::File {
  sqlite3_file base;
  std::vector<char>* gathered;  // for the log, not yet written
  sqlite3_int64 start;          // its place in the file
  bool last_frame;              // of a commit
  bool may_write;               // the write lock of the database is held
  Vfs* vfs;
  const char* name;  // SQLite keeps it as long as the file
  ino_t inode;       // what had the name when it was opened
  sqlite3_file* real;

  [[nodiscard]] int flush() {
    last_frame = false;
    if (gathered->empty()) return SQLITE_OK;
    // Whether it is still there is looked at after the sync.
    const FileLook now = look_at_file(name);
    int code = now.inode == inode && now.bytes < start ? SQLITE_IOERR_WRITE : SQLITE_OK;
    if (code == SQLITE_OK) {
      code =
          real->pMethods->xWrite(real, gathered->data(), static_cast<int>(gathered->size()), start);
    }
    if (code == SQLITE_OK) {
      vfs->log_bytes =
          std::max(vfs->log_bytes, start + static_cast<sqlite3_int64>(gathered->size()));
    }
    gathered->clear();
    return code;
  }
};

// SQLite's callbacks.
struct WriterVfs::Calls {
  static File& file(sqlite3_file* f) { return *reinterpret_cast<File*>(f); }
  static sqlite3_file* real(sqlite3_file* f) { return file(f).real; }
  static sqlite3_vfs* real(sqlite3_vfs* v) { return reinterpret_cast<Vfs*>(v)->real; }

  static int close(sqlite3_file* f) {
    File& self = file(f);
    // What was not committed is nobody's.
    const int code = self.real->pMethods->xClose(self.real);
    delete self.gathered;
    return code;
  }
  static int read(sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
    const int code = file(f).flush();
    return code != SQLITE_OK ? code : real(f)->pMethods->xRead(real(f), to, n, at);
  }
  static int read_log(sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
    const int code = read(f, to, n, at);
    if (code != SQLITE_OK || !file(f).vfs->check_log) return code;
    return check_log_page(*real(f), *file(f).vfs->heads, to, n, at);
  }
  static int write(sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
    File& self = file(f);
    std::vector<char>& gathered = *self.gathered;
    const sqlite3_int64 end = self.start + static_cast<sqlite3_int64>(gathered.size());
    if (at != end || gathered.size() >= kLogPieceBytes) {
      const bool last_frame = self.last_frame;
      if (const int code = self.flush(); code != SQLITE_OK) return code;
      self.last_frame = last_frame;
      self.start = at;
    }
    const char* const bytes = static_cast<const char*>(from);
    self.vfs->heads->note(bytes, static_cast<std::size_t>(n), static_cast<std::size_t>(at));
    gathered.insert(gathered.end(), bytes, bytes + n);
    if (static_cast<std::size_t>(n) == kFrameHeadBytes) {
      self.last_frame = ends_commit(bytes);
      return SQLITE_OK;
    }
    return self.last_frame ? self.flush() : SQLITE_OK;
  }
  static int truncate(sqlite3_file* f, sqlite3_int64 size) {
    const int code = file(f).flush();
    return code != SQLITE_OK ? code : real(f)->pMethods->xTruncate(real(f), size);
  }
  static int sync(sqlite3_file* f, int flags) {
    const int code = file(f).flush();
    return code != SQLITE_OK ? code : real(f)->pMethods->xSync(real(f), flags);
  }
  static int size(sqlite3_file* f, sqlite3_int64* out) {
    const int code = file(f).flush();
    return code != SQLITE_OK ? code : real(f)->pMethods->xFileSize(real(f), out);
  }
  static int lock(sqlite3_file* f, int level) { return real(f)->pMethods->xLock(real(f), level); }
  static int unlock(sqlite3_file* f, int level) {
    return real(f)->pMethods->xUnlock(real(f), level);
  }
  static int reserved(sqlite3_file* f, int* out) {
    return real(f)->pMethods->xCheckReservedLock(real(f), out);
  }
  static int control(sqlite3_file* f, int op, void* argument) {
    return real(f)->pMethods->xFileControl(real(f), op, argument);
  }
  static int sector(sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); }
  static int device(sqlite3_file* f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); }

  static int write_direct(sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
    return real(f)->pMethods->xWrite(real(f), from, n, at);
  }
  static int shm_map(sqlite3_file* f, int region, int size, int extend, void volatile** out) {
    return real(f)->pMethods->xShmMap(real(f), region, size, extend, out);
  }
  static int shm_lock(sqlite3_file* f, int offset, int n, int flags) {
    File& self = file(f);
    if (offset != kWriteLock || n != 1) {
      return self.real->pMethods->xShmLock(self.real, offset, n, flags);
    }
    if ((flags & SQLITE_SHM_UNLOCK) != 0 || self.may_write) return SQLITE_OK;
    const int code = self.real->pMethods->xShmLock(self.real, offset, n, flags);
    self.may_write = code == SQLITE_OK;
    return code;
  }
  static void shm_barrier(sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); }
  static int shm_unmap(sqlite3_file* f, int remove) {
    File& self = file(f);
    if (std::exchange(self.may_write, false)) {
      self.real->pMethods->xShmLock(self.real, kWriteLock, 1,
                                    SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
    }
    return self.real->pMethods->xShmUnmap(self.real, remove);
  }

  // Version 2 has shared memory; without it, a log cannot work.
  static sqlite3_io_methods database_methods(int version) {
    sqlite3_io_methods m = log_methods();
    m.iVersion = version;
    m.xRead = read;
    m.xWrite = write_direct;
    m.xShmMap = shm_map;
    m.xShmLock = shm_lock;
    m.xShmBarrier = shm_barrier;
    m.xShmUnmap = shm_unmap;
    return m;
  }
  static sqlite3_io_methods log_methods() {
    sqlite3_io_methods m{};
    m.iVersion = 1;
    m.xClose = close;
    m.xRead = read_log;
    m.xWrite = write;
    m.xTruncate = truncate;
    m.xSync = sync;
    m.xFileSize = size;
    m.xLock = lock;
    m.xUnlock = unlock;
    m.xCheckReservedLock = reserved;
    m.xFileControl = control;
    m.xSectorSize = sector;
    m.xDeviceCharacteristics = device;
    return m;
  }

  static int open(sqlite3_vfs* v, const char* name, sqlite3_file* f, int flags, int* out_flags) {
    if ((flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_DB)) == 0) {
      return real(v)->xOpen(real(v), name, f, flags, out_flags);
    }
    static const sqlite3_io_methods kLog = log_methods();
    static const sqlite3_io_methods kDatabase = database_methods(2);
    static const sqlite3_io_methods kWithoutMemory = database_methods(1);
    File& opened = file(f);
    opened = File{};
    opened.vfs = reinterpret_cast<Vfs*>(v);
    opened.name = name;
    opened.real = reinterpret_cast<sqlite3_file*>(&opened + 1);
    const int code = real(v)->xOpen(real(v), name, opened.real, flags, out_flags);
    if (code != SQLITE_OK) return code;
    opened.inode = look_at_file(name).inode;
    opened.gathered = new (std::nothrow) std::vector<char>;
    if (opened.gathered == nullptr) {
      opened.real->pMethods->xClose(opened.real);
      return SQLITE_NOMEM;
    }
    opened.base.pMethods = (flags & SQLITE_OPEN_WAL) != 0         ? &kLog
                           : opened.real->pMethods->iVersion >= 2 ? &kDatabase
                                                                  : &kWithoutMemory;
    return SQLITE_OK;
  }
  static int remove(sqlite3_vfs* v, const char* name, int sync_folder) {
    return real(v)->xDelete(real(v), name, sync_folder);
  }
  static int access(sqlite3_vfs* v, const char* name, int flags, int* out) {
    return real(v)->xAccess(real(v), name, flags, out);
  }
  static int full_path(sqlite3_vfs* v, const char* name, int n, char* out) {
    return real(v)->xFullPathname(real(v), name, n, out);
  }
};

WriterVfs::WriterVfs() {
  static std::atomic<int> made{0};
  name_ = fmt::format("rq-writer-{}", ++made);
  vfs_.real = sqlite3_vfs_find(nullptr);
  RQ_CHECK(vfs_.real != nullptr);
  vfs_.base = *vfs_.real;
  vfs_.heads = &heads_;
  vfs_.base.zName = name_.c_str();
  vfs_.base.pNext = nullptr;
  vfs_.base.szOsFile = static_cast<int>(sizeof(File)) + vfs_.real->szOsFile;
  vfs_.base.xOpen = Calls::open;
  vfs_.base.xDelete = Calls::remove;
  vfs_.base.xAccess = Calls::access;
  vfs_.base.xFullPathname = Calls::full_path;
  RQ_CHECK(sqlite3_vfs_register(&vfs_.base, 0) == SQLITE_OK);
}

WriterVfs::~WriterVfs() { sqlite3_vfs_unregister(&vfs_.base); }

}  // namespace rq::store::sqlite
