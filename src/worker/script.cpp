#include "worker/script.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "base/fd.h"
#include "worker/process_tree.h"
#include "worker/spawn.h"

namespace rq::worker {
namespace {

using base::Code;
using base::fail;
using base::Result;

constexpr std::chrono::seconds kBlameFor{30};
constexpr std::size_t kFirstLineBytes = 256;  // the kernel reads no more of a "#!" line

// Verbs of the command line.
constexpr std::array<std::string_view, 1> kInside{"@exec-payload"};
constexpr const char* kOwnProgram = "/proc/self/exe";

constexpr std::string_view kDeleted = " (deleted)";  // the kernel adds it to a path that is gone
constexpr int kLooksMax = 3;  // a file that is replaced at each of them counts as not there

constexpr std::string_view kElf(
    "\x7f"
    "ELF");

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mode == b.st_mode && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec && a.st_ctim.tv_sec == b.st_ctim.tv_sec &&
         a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

// The file at that path, and its real path: once it is open the kernel tells that in one call,
// however many folders it lies below. Not open: errno says why.
base::Fd open_named(const std::string& path, std::string& real_path) {
  for (int look = 0; look < kLooksMax; ++look) {
    base::Fd file(::open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!file.is_open()) return file;
    real_path = name_of_file(file.get());
    // One that was replaced at this moment has no path any more: look at the new one.
    if (!real_path.ends_with(kDeleted) || base::is_file_of(real_path, file.get())) return file;
  }
  errno = ENOENT;
  return {};
}

std::vector<std::string> split(std::string_view command) {
  std::vector<std::string> words;
  while (true) {
    const std::size_t start = command.find_first_not_of(" \t");
    if (start == std::string_view::npos) return words;
    command.remove_prefix(start);
    const std::size_t end = std::min(command.find_first_of(" \t"), command.size());
    words.emplace_back(command.substr(0, end));
    command.remove_prefix(end);
  }
}

std::string on_path(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  const char* const path = ::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    std::string candidate = std::string(rest.substr(0, end)) + "/" + program;
    if (end > 0 && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return {};
}

Result<std::string> sha256_of(int fd) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> digest(::EVP_MD_CTX_new(),
                                                                  ::EVP_MD_CTX_free);
  RQ_CHECK(digest && ::EVP_DigestInit_ex(digest.get(), ::EVP_sha256(), nullptr) == 1);
  std::vector<char> buffer(64 * 1024);
  off_t at = 0;
  while (true) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Code::bad_value, base::text_of_errno(errno));
    if (n == 0) break;
    ::EVP_DigestUpdate(digest.get(), buffer.data(), static_cast<std::size_t>(n));
    at += n;
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  ::EVP_DigestFinal_ex(digest.get(), bytes.data(), &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", bytes.at(i));
  return text;
}

bool is_plain_text(std::string_view start) {
  return !start.starts_with("#!") && start.find('\0') == std::string_view::npos;
}

// Can the kernel, or else the shell, run a file that starts like this? Names the fault.
Result<void> check_first_line(const std::string& path, std::string_view start) {
  if (start.starts_with(kElf)) return {};
  if (start.empty()) return fail(Code::bad_value, fmt::format("script '{}' is empty", path));
  if (!start.starts_with("#!")) {
    if (is_plain_text(start)) return {};
    return fail(Code::bad_value,
                fmt::format("script '{}' is neither a program nor text; is it made for another "
                            "machine, or damaged?",
                            path));
  }
  start.remove_prefix(2);
  const std::vector<std::string> words = split(start.substr(0, start.find('\n')));
  if (words.empty()) {
    return fail(Code::bad_value, fmt::format("script '{}' names no interpreter after '#!'", path));
  }
  if (words[0].ends_with('\r')) {
    return fail(Code::bad_value, fmt::format("script '{}' has DOS line ends, so its interpreter "
                                             "is not found; convert them (sed -i 's/\\r$//')",
                                             path));
  }
  if (::access(words[0].c_str(), X_OK) != 0) {
    return fail(Code::bad_value,
                fmt::format("script '{}' wants the interpreter '{}': {}; install it or mend the "
                            "first line",
                            path, words[0], base::text_of_errno(errno)));
  }
  if (words[0].ends_with("/env") && words.size() == 2 && on_path(words[1]).empty()) {
    return fail(Code::bad_value, fmt::format("script '{}' wants the interpreter '{}', which is "
                                             "not on the worker's PATH; install it",
                                             path, words[1]));
  }
  return {};
}

}  // namespace

bool needs_shell(std::string_view command) {
  if (command.find_first_of("*?{}[]<>()~&|\\$;'`\"\n#") != std::string_view::npos) return true;
  const std::vector<std::string> words = split(command);
  if (words.empty()) return false;
  if (words[0].find('=') != std::string::npos) return true;
  static constexpr std::array<std::string_view, 27> kShellWords{
      "!",    ".",    ":",    "break", "case", "continue", "do",    "done",  "elif",
      "else", "esac", "eval", "exec",  "exit", "export",   "fi",    "for",   "if",
      "in",   "set",  "then", "times", "trap", "unset",    "until", "while", "readonly"};
  return std::find(kShellWords.begin(), kShellWords.end(), words[0]) != kShellWords.end();
}

std::string of_arguments(std::string_view script) {
  if (script.find_first_of(" \t") == std::string_view::npos) return {};
  return "; it is a path alone, without arguments: write these into a script";
}

ScriptFile::ScriptFile(std::string dir, std::string script, std::string exec_prefix)
    : dir_(std::move(dir)), script_(std::move(script)), exec_prefix_(std::move(exec_prefix)) {}

void ScriptFile::blame(std::string text) {
  blamed_ = std::move(text);
  blamed_until_ = std::chrono::steady_clock::now() + kBlameFor;
}

// By the kernel's own name for it: whoever replaces or deletes the file changes nothing for a
// program that runs.
Result<const Script*> ScriptFile::look_inside() {
  if (known_) return &good_;
  if (std::find(kInside.begin(), kInside.end(), script_) == kInside.end()) {
    return fail(Code::bad_value, fmt::format("there is no script '{}' inside of rq (there is: {}); "
                                             "change 'script' of the queue",
                                             script_, fmt::join(kInside, ", ")));
  }
  const base::Fd file(::open(kOwnProgram, O_RDONLY | O_CLOEXEC));
  if (file.is_open()) {
    RQ_TRY_ASSIGN(hash, sha256_of(file.get()));
    good_.sha256 = std::move(hash);
  }
  good_.is_binary = true;
  good_.program = kOwnProgram;
  good_.real_path = script_;
  good_.argv = {"rq", script_.substr(1)};
  known_ = true;
  return &good_;
}

Result<const Script*> ScriptFile::look() {
  if (script_.starts_with('@')) return look_inside();
  RQ_TRY_ASSIGN(found, find());
  // One file may have many names, and which of them is meant changes with a link on the way.
  if (known_ && same_file(found.info, seen_) && good_.real_path == found.real_path) {
    if (blamed_.empty()) return &good_;
    // What the exec misses (a loader, a library) may come without a change of the script.
    if (std::chrono::steady_clock::now() < blamed_until_) return fail(Code::bad_value, blamed_);
  }
  known_ = false;
  blamed_.clear();
  RQ_TRY_ASSIGN(script, examine(found));
  good_ = std::move(script);
  seen_ = found.info;
  known_ = true;
  return &good_;
}

Result<ScriptFile::Found> ScriptFile::find() const {
  std::vector<std::string> places;
  if (script_.starts_with('/')) {
    places.push_back(script_);
  } else {
    places.push_back(dir_ + "/" + script_);
    places.push_back(dir_ + "/scripts/" + script_);
  }
  for (const std::string& place : places) {
    Found found{.path = place, .real_path = {}, .info = {}};
    const base::Fd file = open_named(place, found.real_path);
    if (file.is_open() && ::fstat(file.get(), &found.info) == 0) return found;
    if (errno == EMFILE || errno == ENFILE) {
      return fail(Code::internal,
                  fmt::format("cannot look at script '{}': {}", place, base::text_of_errno(errno)));
    }
    if (errno != ENOENT && errno != ENOTDIR) {
      return fail(Code::bad_value, fmt::format("script '{}': {}; make it reachable for the worker",
                                               place, base::text_of_errno(errno)));
    }
  }
  return fail(Code::bad_value,
              fmt::format("script '{}' does not exist (looked for {}); put it there, or change "
                          "'script' of the queue{}",
                          script_, fmt::join(places, " and "), of_arguments(script_)));
}

Result<Script> ScriptFile::examine(const Found& found) const {
  const auto& [path, real_path, info] = found;
  if (!S_ISREG(info.st_mode)) {
    return fail(Code::bad_value, fmt::format("script '{}' is not a file", path));
  }
  if ((info.st_mode & 0111) == 0 || ::access(path.c_str(), X_OK) != 0) {
    return fail(Code::bad_value,
                fmt::format("script '{}' is not executable; try: chmod +x {}", path, path));
  }
  Script script;
  script.real_path = real_path;
  // A program that may be run but not read has no known version, and is run all the same.
  const base::Fd file(::open(real_path.c_str(), O_RDONLY | O_CLOEXEC));
  script.is_binary = !file.is_open();
  if (file.is_open()) {
    RQ_TRY_ASSIGN(hash, sha256_of(file.get()));
    script.sha256 = std::move(hash);
  }
  if (exec_prefix_.find_first_not_of(" \t") == std::string::npos) {
    script.program = script.real_path;
    script.argv = {script.real_path};
    if (file.is_open()) {
      std::array<char, kFirstLineBytes> bytes{};
      const ssize_t n = ::pread(file.get(), bytes.data(), bytes.size(), 0);
      const std::string_view start(bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
      RQ_TRY(check_first_line(path, start));
      script.is_binary = start.starts_with(kElf);
      // As every shell does with a text that names no interpreter.
      if (is_plain_text(start)) {
        script.program = "/bin/sh";
        script.argv = {"sh", script.real_path};
      }
    }
    return script;
  }
  const std::string command = exec_prefix_ + " " + script.real_path;
  if (needs_shell(command)) {
    script.program = "/bin/sh";
    script.argv = {"sh", "-c", command};
    return script;
  }
  script.argv = split(command);
  script.program = on_path(script.argv[0]);
  if (script.program.empty() || ::access(script.program.c_str(), X_OK) != 0) {
    return fail(Code::bad_value, fmt::format("exec_prefix '{}': there is no program '{}' on the "
                                             "worker's PATH; install it or change exec_prefix",
                                             exec_prefix_, script.argv[0]));
  }
  return script;
}

}  // namespace rq::worker
