#include "worker/untold_ends.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/fd.h"
#include "base/json_writer.h"
#include "base/whole_file.h"
#include "worker/messages.h"

namespace rq::worker {
namespace {

namespace json = boost::json;

struct Line {
  std::string server;
  UntoldEnds::End end;
};

std::optional<Line> parse(std::string_view line) {
  const base::Result<json::value> value = parse_json(line);
  const json::object* const fields = value ? value->if_object() : nullptr;
  if (fields == nullptr) return std::nullopt;
  const json::value* const whose = fields->if_contains("server");
  const json::value* const end = fields->if_contains("end");
  if (whose == nullptr || !whose->is_string()) return std::nullopt;
  const json::object* const item = end != nullptr ? end->if_object() : nullptr;
  const json::value* const token = item != nullptr ? item->if_contains("token") : nullptr;
  if (token == nullptr || !token->is_string()) return std::nullopt;
  return Line{.server = std::string(whose->get_string()),
              .end = {.token = std::string(token->get_string()), .json = json::serialize(*end)}};
}

constexpr const char* kWhatThen =
    "the ends of scripts that no server has heard of cannot be kept there, and are lost if this "
    "worker ends before its server is back";

std::string why_not(int error) {
  const bool other = error == EISDIR || error == ELOOP || error == ENXIO;
  return other ? std::string("is not a file; remove it")
               : "cannot be opened or written, " + base::text_of_errno(error);
}

}  // namespace

std::vector<UntoldEnds::End> UntoldEnds::read() {
  std::vector<End> ends;
  if (file_.empty()) return ends;
  const base::Fd file = base::open_plain_file(file_, O_RDONLY);
  if (!file.is_open()) {
    if (errno != ENOENT) spdlog::warn("'{}' {}: {}", file_, why_not(errno), kWhatThen);
    return ends;
  }
  // The worker that wrote it had all of it in its memory.
  const std::string text = base::read_whole(file.get());
  others_.clear();
  std::size_t lost = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t size = std::min(rest.find('\n'), rest.size() - 1);
    const std::string_view line = rest.substr(0, size);
    rest.remove_prefix(size + 1);
    if (line.empty()) continue;
    std::optional<Line> read = parse(line);
    if (!read) {
      ++lost;
    } else if (read->server == server_) {
      ends.push_back(std::move(read->end));
    } else {
      others_.append(line).push_back('\n');
    }
  }
  if (lost > 0) spdlog::warn("'{}': {} lines that are no ends of leases are left out", file_, lost);
  if (!others_.empty()) spdlog::info("'{}' keeps ends of scripts for another server", file_);
  any_ = others_.empty() || lost > 0 || !ends.empty();
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
  const base::Fd file = base::open_plain_file(file_, O_WRONLY | O_CREAT | O_APPEND);
  any_ = any_ || file.is_open();
  if (!file.is_open() || !base::write_whole(file.get(), text)) {
    if (!std::exchange(fails_, true)) {
      spdlog::error("'{}' {}: {}", file_, why_not(errno), kWhatThen);
    }
    return false;
  }
  if (std::exchange(fails_, false)) spdlog::info("'{}' can be written again", file_);
  return true;
}

void UntoldEnds::clear() {
  if (!any_) return;
  // What cannot go now is told once more: that does no harm.
  any_ = !others_.empty() ? !leave_others() : ::unlink(file_.c_str()) != 0 && errno != ENOENT;
}

// Whole or not at all: beside it, then renamed.
bool UntoldEnds::leave_others() const {
  const std::string fresh = file_ + ".new";
  const base::Fd file = base::open_plain_file(fresh, O_WRONLY | O_CREAT | O_TRUNC);
  return file.is_open() && base::write_whole(file.get(), others_) &&
         ::rename(fresh.c_str(), file_.c_str()) == 0;
}

}  // namespace rq::worker
