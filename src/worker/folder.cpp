#include "worker/folder.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace rq::worker {
namespace {

using base::Code;
using base::fail;
using base::Result;

bool make(const std::string& path) { return ::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST; }

bool make_all(const std::string& path) {
  if (make(path)) return true;
  if (errno != ENOENT) return false;
  const std::size_t slash = path.rfind('/');
  return slash != std::string::npos && slash > 0 && make_all(path.substr(0, slash)) && make(path);
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
  MessageFolder made{.job = root + "/job", .log = root + "/job/stdio.log"};
  const auto failed = [](const std::string& path) {
    return fail(Code::internal,
                fmt::format("cannot make '{}': {}", path, base::text_of_errno(errno)),
                "see to the disk and to the rights of the folder");
  };
  if (!make_all(root)) return failed(root);
  if (!make(made.job)) return failed(made.job);
  if (owner != nullptr && ::lchown(made.job.c_str(), owner->uid, owner->gid) != 0) {
    return failed(made.job);
  }
  return made;
}

}  // namespace rq::worker
