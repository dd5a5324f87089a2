#include "worker/untold_ends.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <optional>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/json_writer.h"
#include "worker/messages.h"

namespace rq::worker {
namespace {

namespace json = boost::json;

constexpr std::size_t kFileBytesMax = 256 * base::kMiB;
constexpr std::size_t kReadBytes = 64 * base::kKiB;

std::string text_of(int file) {
  std::string text;
  while (text.size() < kFileBytesMax) {
    const std::size_t at = text.size();
    text.resize(at + kReadBytes);
    const ssize_t n = ::read(file, text.data() + at, kReadBytes);
    text.resize(at + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n <= 0) break;
  }
  return text;
}

std::optional<UntoldEnds::End> parse(std::string_view line, std::string_view server) {
  const base::Result<json::value> value = parse_json(line);
  const json::object* const fields = value ? value->if_object() : nullptr;
  if (fields == nullptr) return std::nullopt;
  const json::value* const whose = fields->if_contains("server");
  const json::value* const end = fields->if_contains("end");
  if (whose == nullptr || !whose->is_string() || whose->get_string() != server) return std::nullopt;
  const json::object* const item = end != nullptr ? end->if_object() : nullptr;
  const json::value* const token = item != nullptr ? item->if_contains("token") : nullptr;
  if (token == nullptr || !token->is_string()) return std::nullopt;
  return UntoldEnds::End{.token = std::string(token->get_string()), .json = json::serialize(*end)};
}

}  // namespace

std::vector<UntoldEnds::End> UntoldEnds::read() {
  std::vector<End> ends;
  if (file_.empty()) return ends;
  const base::Fd file(::open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.is_open()) return ends;
  any_ = true;
  const std::string text = text_of(file.get());
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t size = std::min(rest.find('\n'), rest.size() - 1);
    const std::string_view line = rest.substr(0, size);
    rest.remove_prefix(size + 1);
    if (line.empty()) continue;
    if (auto end = parse(line, server_)) {
      ends.push_back(*std::move(end));
    } else {
      spdlog::warn("'{}': a line that is no end of a lease of server {} is left out", file_,
                   server_);
    }
  }
  return ends;
}

bool UntoldEnds::add(const std::vector<std::string_view>& ends) {
  if (file_.empty() || ends.empty()) return true;
  std::string text;
  for (const std::string_view end : ends) {
    // First a new line: the one before may be a worker's that died while it wrote.
    text.push_back('\n');
    base::JsonObject out(text);
    out.text("server", server_);
    out.raw("end", end);
    out.close();
  }
  text.push_back('\n');
  const base::Fd file(::open(
      file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  any_ = any_ || file.is_open();
  if (!file.is_open() ||
      ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    spdlog::error(
        "'{}': {}; {} ends of scripts are lost if this worker ends before its server "
        "is back",
        file_, base::text_of_errno(errno), ends.size());
    return false;
  }
  return true;
}

void UntoldEnds::clear() {
  if (!any_) return;
  any_ = ::unlink(file_.c_str()) != 0 && errno != ENOENT;
}

}  // namespace rq::worker
