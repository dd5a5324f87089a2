// The disk of test_vfs.h, and that it does what it says.
#include "store/sqlite/test_vfs.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/check.h"
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::sqlite::test {

struct TestVfs::File {
  sqlite3_file base;
  TestVfs* owner;
  Disk* disk;  // null: a file that nobody would miss
  sqlite3_file* real;
};

// SQLite's callbacks.
struct TestVfs::Calls {
  static File& file(sqlite3_file* f) { return *reinterpret_cast<File*>(f); }
  static sqlite3_file* real(sqlite3_file* f) { return file(f).real; }
  static TestVfs& owner(sqlite3_vfs* v) { return *static_cast<TestVfs*>(v->pAppData); }

  static int close(sqlite3_file* f) { return real(f)->pMethods->xClose(real(f)); }
  static int read(sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
    return real(f)->pMethods->xRead(real(f), to, n, at);
  }
  static int write(sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
    File& self = file(f);
    if (self.disk == nullptr) return real(f)->pMethods->xWrite(real(f), from, n, at);
    const int failure = self.owner->next_operation(false, self.owner->code_);
    // A write that fails has often done half of its work.
    const int done = failure == SQLITE_OK ? n : n / 2;
    self.disk->pending.push_back(
        {.at = at, .bytes = {static_cast<const char*>(from), static_cast<std::size_t>(done)}});
    const int code = real(f)->pMethods->xWrite(real(f), from, done, at);
    return failure != SQLITE_OK ? failure : code;
  }
  static int truncate(sqlite3_file* f, sqlite3_int64 size) {
    File& self = file(f);
    if (self.disk != nullptr) {
      const int failure = self.owner->next_operation(false, SQLITE_IOERR_TRUNCATE);
      if (failure != SQLITE_OK) return failure;
      self.disk->pending.push_back({.at = size, .bytes = {}, .truncate = true});
    }
    return real(f)->pMethods->xTruncate(real(f), size);
  }
  static int sync(sqlite3_file* f, int flags) {
    static_cast<void>(flags);  // the file is real, but nothing here needs it on a real disk
    File& self = file(f);
    if (self.disk == nullptr) return SQLITE_OK;
    const int failure = self.owner->next_operation(true, SQLITE_IOERR_FSYNC);
    if (failure == SQLITE_OK) {
      self.disk->exists = true;
      for (const Change& change : self.disk->pending) apply(self.disk->durable, change);
    }
    self.disk->pending.clear();
    return failure;
  }
  static int size(sqlite3_file* f, sqlite3_int64* out) {
    return real(f)->pMethods->xFileSize(real(f), out);
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
  static int device(sqlite3_file* f) {
    static_cast<void>(f);
    return 0;  // nothing may be taken for granted
  }
  static int shm_map(sqlite3_file* f, int page, int size, int extend, void volatile** out) {
    return real(f)->pMethods->xShmMap(real(f), page, size, extend, out);
  }
  static int shm_lock(sqlite3_file* f, int offset, int n, int flags) {
    return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
  }
  static void shm_barrier(sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); }
  static int shm_unmap(sqlite3_file* f, int remove) {
    return real(f)->pMethods->xShmUnmap(real(f), remove);
  }

  static sqlite3_io_methods methods(int version) {
    sqlite3_io_methods m{};
    m.iVersion = version;
    m.xClose = close;
    m.xRead = read;
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
    m.xShmMap = shm_map;
    m.xShmLock = shm_lock;
    m.xShmBarrier = shm_barrier;
    m.xShmUnmap = shm_unmap;
    return m;
  }

  static int open(sqlite3_vfs* v, const char* name, sqlite3_file* f, int flags, int* out_flags) {
    static const sqlite3_io_methods kWithMemory = methods(2);
    static const sqlite3_io_methods kWithout = methods(1);
    TestVfs& self = owner(v);
    File& opened = file(f);
    opened.base.pMethods = nullptr;
    opened.owner = &self;
    opened.disk = nullptr;
    opened.real = reinterpret_cast<sqlite3_file*>(&opened + 1);
    const int code = self.real_->xOpen(self.real_, name, opened.real, flags, out_flags);
    if (code != SQLITE_OK) return code;
    constexpr int kKept = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL;
    if (name != nullptr && (flags & kKept) != 0) opened.disk = &self.disks_[name];
    opened.base.pMethods = self.shared_memory_ ? &kWithMemory : &kWithout;
    return SQLITE_OK;
  }
  static int remove(sqlite3_vfs* v, const char* name, int sync_folder) {
    TestVfs& self = owner(v);
    // An open file keeps its entry, so it is emptied, not erased.
    if (const auto found = self.disks_.find(name); found != self.disks_.end()) {
      found->second = Disk{};
    }
    return self.real_->xDelete(self.real_, name, sync_folder);
  }
  static int access(sqlite3_vfs* v, const char* name, int flags, int* out) {
    return owner(v).real_->xAccess(owner(v).real_, name, flags, out);
  }
  static int full_path(sqlite3_vfs* v, const char* name, int n, char* out) {
    return owner(v).real_->xFullPathname(owner(v).real_, name, n, out);
  }
};

TestVfs::TestVfs() {
  real_ = sqlite3_vfs_find(nullptr);
  RQ_CHECK(real_ != nullptr);
  static int made = 0;
  name_ = fmt::format("rq-test-{}", ++made);
  vfs_ = *real_;
  vfs_.zName = name_.c_str();
  vfs_.pNext = nullptr;
  vfs_.pAppData = this;
  vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
  vfs_.xOpen = Calls::open;
  vfs_.xDelete = Calls::remove;
  vfs_.xAccess = Calls::access;
  vfs_.xFullPathname = Calls::full_path;
  RQ_CHECK(sqlite3_vfs_register(&vfs_, 1) == SQLITE_OK);
}

TestVfs::~TestVfs() {
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(real_, 1);
}

void TestVfs::fail_at(int nth, int code, bool stays) {
  operations_ = 0;
  failures_ = 0;
  fail_at_ = nth;
  fail_sync_at_ = 0;
  code_ = code;
  stays_ = stays;
}

void TestVfs::fail_sync_at(int nth) {
  fail_at(0, 0);
  syncs_ = 0;
  fail_sync_at_ = nth;
}

int TestVfs::next_operation(bool sync, int failure) {
  ++operations_;
  if (sync) ++syncs_;
  const bool here =
      (fail_at_ > 0 && (operations_ == fail_at_ || (stays_ && operations_ > fail_at_))) ||
      (sync && fail_sync_at_ > 0 && syncs_ == fail_sync_at_);
  if (!here) return SQLITE_OK;
  ++failures_;
  return failure;
}

void TestVfs::apply(std::string& content, const Change& change) {
  const auto at = static_cast<std::size_t>(change.at);
  if (change.truncate) {
    content.resize(at);
    return;
  }
  if (content.size() < at + change.bytes.size()) content.resize(at + change.bytes.size());
  std::memcpy(content.data() + at, change.bytes.data(), change.bytes.size());
}

void TestVfs::power_cut(const fs::path& from, const fs::path& to, std::uint64_t seed) const {
  for (const auto& [name, disk] : disks_) {
    if (fs::path{name}.parent_path() != from) continue;
    std::string content = disk.durable;
    bool exists = disk.exists;
    if (seed != 0) {
      for (const Change& change : disk.pending) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        if ((seed >> 40U) % 2 == 0) continue;
        apply(content, change);
        exists = true;
      }
    }
    if (!exists) continue;
    std::ofstream out{to / fs::path{name}.filename(), std::ios::binary};
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    RQ_CHECK(out.good());
  }
}

namespace {

TEST(TestVfs, ForgetsWhatWasNeverSynced) {
  TempDir dir;
  TempDir after;
  TestVfs vfs;
  Db db;
  ASSERT_TRUE(db.open(dir.path() / "x.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  ASSERT_TRUE(db.exec("PRAGMA journal_mode = WAL"));
  ASSERT_TRUE(db.exec("PRAGMA synchronous = FULL"));
  ASSERT_TRUE(db.exec("CREATE TABLE t (n); INSERT INTO t VALUES (1)"));
  ASSERT_TRUE(db.exec("PRAGMA synchronous = OFF"));
  ASSERT_TRUE(db.exec("INSERT INTO t VALUES (2)"));
  vfs.power_cut(dir.path(), after.path());
  EXPECT_EQ(rows_of(after.path() / "x.db", "SELECT n FROM t"), std::vector<std::string>{"1"});
}

TEST(TestVfs, FailsTheOperationItWasToldTo) {
  TempDir dir;
  TestVfs vfs;
  Db db;
  ASSERT_TRUE(db.open(dir.path() / "x.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  ASSERT_TRUE(db.exec("CREATE TABLE t (n)"));
  vfs.fail_at(1, SQLITE_FULL);
  const auto full = db.exec("INSERT INTO t VALUES (1)");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::disk_full);
  EXPECT_TRUE(vfs.has_failed());
  EXPECT_TRUE(db.exec("INSERT INTO t VALUES (2)")) << "once";
}

}  // namespace
}  // namespace rq::store::sqlite::test
