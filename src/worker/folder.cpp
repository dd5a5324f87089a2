#include "worker/folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

namespace rq::worker {
namespace {

using base::Code;
using base::fail;
using base::Result;

constexpr mode_t kEnter = 0011;
constexpr const char* kLog = "stdio.log";

bool make(const std::string& path, mode_t mode) {
  return ::mkdir(path.c_str(), mode) == 0 || errno == EEXIST;
}

// The folder of one message is nobody else's business; those above it can be entered. `dir` itself
// is not made: one that was moved away may come back to its place.
bool make_all(std::string_view dir, const std::string& path, mode_t mode) {
  if (make(path, mode)) return true;
  if (errno != ENOENT) return false;
  const std::size_t slash = path.rfind('/');
  return slash > dir.size() && make_all(dir, path.substr(0, slash), 0711) && make(path, mode);
}

// True when that changed something; nothing when it could not be done.
std::optional<bool> allow_to_enter(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  if ((info.st_mode & kEnter) == kEnter) return false;
  if (::chmod(path.c_str(), (info.st_mode & 07777) | kEnter) != 0) return std::nullopt;
  return true;
}

base::Error cannot_make(const std::string& path) {
  return fail(Code::internal, fmt::format("cannot make '{}': {}", path, base::text_of_errno(errno)),
              "see to the disk and to the rights of the folder");
}

base::Error replaced(const std::string& path, std::string_view what) {
  return fail(Code::bad_value, fmt::format("'{}' is not {} any more: a script of this message has "
                                           "put something else there; remove it",
                                           path, what));
}

// What is the message's own: above it everything could be made. Where rights are missing, they are
// missing each time.
base::Error cannot_make_own(const std::string& path) {
  if (errno != EACCES) return cannot_make(path);
  return fail(Code::bad_value,
              fmt::format("'{}' is closed to the worker: a script of this message has taken the "
                          "rights away; give them back (chmod u+rwx), or remove it",
                          path));
}

bool is_own_file(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 1;
}

bool leads_out(std::string_view folder) {
  if (folder.empty() || folder.starts_with('/')) return true;
  while (!folder.empty()) {
    const std::string_view part = folder.substr(0, folder.find('/'));
    if (part.empty() || part == "." || part == "..") return true;
    folder.remove_prefix(std::min(part.size() + 1, folder.size()));
  }
  return false;
}

}  // namespace

Result<MessageFolder> prepare_folder(std::string_view dir, std::string_view folder,
                                     const Credentials* owner) {
  if (leads_out(folder)) {
    return fail(Code::bad_value,
                fmt::format("message folder '{}' is not a place below '{}'", folder, dir));
  }
  const std::string root = fmt::format("{}/{}", dir, folder);
  MessageFolder made{.job = root + "/job", .fd = {}};
  if (!make_all(dir, root, owner != nullptr ? 0711 : 0700)) return cannot_make(root);
  if (!make(made.job, 0700)) return cannot_make_own(made.job);
  made.fd.reset(::open(made.job.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!made.fd.is_open()) {
    return errno == ENOTDIR || errno == ELOOP ? replaced(made.job, "a folder")
                                              : cannot_make_own(made.job);
  }
  if (owner == nullptr) return made;
  // Its umask, or another setting of the queue, may have made them otherwise.
  for (const std::string& path : {root.substr(0, root.rfind('/')), root}) {
    if (!allow_to_enter(path)) return cannot_make(path);
  }
  struct stat info {};
  if (::fstat(made.fd.get(), &info) != 0) return cannot_make(made.job);
  if (info.st_uid != owner->uid &&
      ::fchownat(made.fd.get(), "", owner->uid, owner->gid, AT_EMPTY_PATH) != 0) {
    return cannot_make(made.job);
  }
  return made;
}

Result<base::Fd> open_log(const MessageFolder& folder, const Credentials* owner) {
  const std::string path = folder.job + "/" + kLog;
  constexpr int kHow = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  base::Fd log(::openat(folder.fd.get(), kLog, kHow, 0640));
  if (!log.is_open() || !is_own_file(log.get())) {
    if (::unlinkat(folder.fd.get(), kLog, 0) == 0 || errno == ENOENT) {
      log.reset(::openat(folder.fd.get(), kLog, kHow | O_EXCL, 0640));
    } else if (errno == EISDIR || errno == EPERM) {
      return replaced(path, "a file");
    }
    if (!log.is_open() || !is_own_file(log.get())) return cannot_make_own(path);
  }
  // The script gets it as it would get any file.
  if (::fcntl(log.get(), F_SETFL, O_APPEND) != 0) return cannot_make(path);
  struct stat info {};
  if (owner != nullptr &&
      (::fstat(log.get(), &info) != 0 ||
       (info.st_uid != owner->uid && ::fchown(log.get(), owner->uid, owner->gid) != 0))) {
    return cannot_make(path);
  }
  return log;
}

Result<Workplace> open_workplace(std::string_view dir, std::string_view folder,
                                 const Credentials* owner) {
  RQ_TRY_ASSIGN(made, prepare_folder(dir, folder, owner));
  RQ_TRY_ASSIGN(log, open_log(made, owner));
  return Workplace{.folder = std::move(made), .log = std::move(log)};
}

bool is_as_opened(const Workplace& place) {
  struct stat open {};
  struct stat named {};
  return ::fstat(place.log.get(), &open) == 0 &&
         ::lstat(fmt::format("{}/{}", place.folder.job, kLog).c_str(), &named) == 0 &&
         open.st_dev == named.st_dev && open.st_ino == named.st_ino && open.st_nlink == 1;
}

Result<void> let_in(const std::string& dir) {
  make(dir + "/queue", 0711);
  for (const std::string& path : {dir, dir + "/queue", dir + "/scripts"}) {
    const std::optional<bool> changed = allow_to_enter(path);
    if (!changed && errno == ENOENT) continue;
    if (!changed) {
      return fail(Code::bad_value, fmt::format("'{}' cannot be opened to other users: {}", path,
                                               base::text_of_errno(errno)));
    }
    if (*changed) {
      spdlog::warn(
          "'{}' can be entered by all users from now on (not listed): scripts run there "
          "as another user",
          path);
    }
  }
  return {};
}

}  // namespace rq::worker
