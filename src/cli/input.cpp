#include "cli/input.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "base/limits.h"

namespace rq::cli {

namespace {

// What the server takes of one message, with all its fields.
constexpr std::size_t kLineBytesMax = 32 * base::kMiB;

// A loop of a shell around us reads it: that is the same there.
bool is_of_parent(const struct stat& mine) {
  struct stat theirs {};
  const std::string path = fmt::format("/proc/{}/fd/{}", ::getppid(), STDIN_FILENO);
  return ::stat(path.c_str(), &theirs) == 0 && theirs.st_dev == mine.st_dev &&
         theirs.st_ino == mine.st_ino;
}

}  // namespace

bool input_is_given() {
  struct stat info {};
  if (::fstat(STDIN_FILENO, &info) != 0 || is_of_parent(info)) return false;
  return S_ISFIFO(info.st_mode) ||
         (S_ISREG(info.st_mode) && info.st_size > ::lseek(STDIN_FILENO, 0, SEEK_CUR));
}

base::Result<std::string> read_all(std::istream& from, const std::string& name) {
  std::string bytes;
  std::array<char, 64 * base::kKiB> buffer{};
  while (from.read(buffer.data(), buffer.size()) || from.gcount() > 0) {
    bytes.append(buffer.data(), static_cast<std::size_t>(from.gcount()));
    if (bytes.size() > base::kPayloadBytesMax) {
      return base::fail(
          base::Code::too_large,
          fmt::format("{}: more than {} MiB", name, base::kPayloadBytesMax / base::kMiB),
          "put the name of the file instead of its content");
    }
  }
  return bytes;
}

base::Result<bool> read_line(std::istream& from, std::string& line, const std::string& name) {
  constexpr int kEnd = std::char_traits<char>::eof();
  line.clear();
  std::streambuf& bytes = *from.rdbuf();
  for (int c = bytes.sbumpc(); c != kEnd; c = bytes.sbumpc()) {
    if (c == '\n') return true;
    if (line.size() == kLineBytesMax) {
      return base::fail(
          base::Code::too_large,
          fmt::format("{}: a line has more than {} MiB", name, kLineBytesMax / base::kMiB),
          "one message a line; what is larger goes beside it, as a file that it names");
    }
    line.push_back(std::char_traits<char>::to_char_type(c));
  }
  return !line.empty();
}

}  // namespace rq::cli
