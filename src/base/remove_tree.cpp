#include "base/remove_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace rq::base {
namespace {

constexpr int kEntriesUnasked = 256;  // between two questions whether to stop

struct Close {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using Dir = std::unique_ptr<DIR, Close>;

// The folder to be deleted becomes flat: what is nested deeper than one level is moved up, so that
// a path is never long and three folders are open at most.
class Tree {
 public:
  Tree(std::filesystem::path folder, const std::function<bool()>& stop)
      : folder_(std::move(folder)), stop_(stop) {}

  Result<void> remove() {
    if (::rmdir(folder_.c_str()) == 0 || errno == ENOENT) return {};
    top_ = Dir{open_at(AT_FDCWD, folder_.c_str())};
    if (!top_) return failure("open", {});
    // What is moved up may come in this round or in the next one.
    for (bool again = true; again;) {
      again = false;
      RQ_TRY(empty(top_.get(), {}, [&](const char* name) -> Result<void> {
        RQ_TRY_ASSIGN(gone, remove_folder(name));
        again = again || gone;
        return {};
      }));
    }
    if (::rmdir(folder_.c_str()) != 0 && !error_) error_ = failure("delete", {});
    return error_ ? Result<void>{*error_} : Result<void>{};
  }

 private:
  static DIR* open_at(int at, const char* name) {
    const int fd = ::openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    // A script may have left it read-only. If it is somebody else's it stays as it is.
    if (fd >= 0) static_cast<void>(::fchmod(fd, S_IRWXU));
    DIR* dir = fd < 0 ? nullptr : ::fdopendir(fd);
    if (fd >= 0 && dir == nullptr) ::close(fd);
    return dir;
  }

  // `inner`: a path below the folder; empty: the folder itself.
  Error failure(std::string_view what, const std::filesystem::path& inner) const {
    const std::filesystem::path path = inner.empty() ? folder_ : folder_ / inner;
    return fail(Code::internal,
                fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(errno)),
                "see to whom it belongs, and delete it by hand");
  }
  void remember(std::string_view what, const std::filesystem::path& inner) {
    if (!error_) error_ = failure(what, inner);
  }

  // Deletes the files of the folder `path`, and calls each(name) for the folders in it.
  template <typename Each>
  Result<void> empty(DIR* dir, const std::filesystem::path& path, const Each& each) {
    int unasked = 0;
    while (const dirent* entry = ::readdir(dir)) {
      if (++unasked % kEntriesUnasked == 0 && stop_()) {
        return fail(Code::timed_out, "the deletion was stopped", "it goes on at the next start");
      }
      const char* name = entry->d_name;
      if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) continue;
      if (::unlinkat(::dirfd(dir), name, 0) == 0 || errno == ENOENT) continue;
      const int why = errno;
      if (why != EISDIR && why != EPERM) {
        remember("delete", path / name);
        continue;
      }
      struct stat info {};
      if (::fstatat(::dirfd(dir), name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode)) {
        RQ_TRY(each(name));
      } else {
        errno = why;
        remember("delete", path / name);
      }
    }
    ::rewinddir(dir);
    return {};
  }

  // Deletes it, if it is empty.
  bool move_up(int at, const char* name) {
    if (::unlinkat(at, name, AT_REMOVEDIR) == 0) return true;
    const std::string moved = next_name();
    const int top = ::dirfd(top_.get());
    if (::renameat(at, name, top, moved.c_str()) == 0) return true;
    if (errno != EACCES) return false;
    // Only a folder that may be written can be moved: opening it makes it so.
    const Dir opened{open_at(at, name)};
    return opened && ::renameat(at, name, top, moved.c_str()) == 0;
  }

  // A folder at the top. True: it is gone, and what was in it may have come to the top.
  Result<bool> remove_folder(const std::string& name) {
    const int top = ::dirfd(top_.get());
    if (::unlinkat(top, name.c_str(), AT_REMOVEDIR) == 0) return true;
    const Dir dir{open_at(top, name.c_str())};
    if (!dir) {
      remember("open", name);
      return false;
    }
    RQ_TRY(empty(dir.get(), name, [&](const char* inner) -> Result<void> {
      if (!move_up(::dirfd(dir.get()), inner)) {
        remember("move", std::filesystem::path{name} / inner);
      }
      return {};
    }));
    if (::unlinkat(top, name.c_str(), AT_REMOVEDIR) == 0) return true;
    remember("delete", name);
    return false;
  }

  // One that nobody else has.
  std::string next_name() {
    std::string name;
    struct stat info {};
    do {
      name = ".rq-deleting-" + std::to_string(++names_);
    } while (::fstatat(::dirfd(top_.get()), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0);
    return name;
  }

  const std::filesystem::path folder_;
  const std::function<bool()>& stop_;
  Dir top_;
  std::optional<Error> error_;
  std::uint64_t names_ = 0;
};

}  // namespace

Result<void> remove_tree(const std::filesystem::path& folder, const std::function<bool()>& stop) {
  return Tree(folder, stop).remove();
}

}  // namespace rq::base
