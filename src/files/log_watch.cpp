#include "files/log_watch.h"

#include <sys/inotify.h>

#include <algorithm>
#include <cstring>

#include <boost/asio/buffer.hpp>

namespace rq::files {

LogWatch::LogWatch(boost::asio::io_context& io) : descriptor_(io) {
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  boost::system::error_code ignored;
  if (fd >= 0) descriptor_.assign(fd, ignored);
}

bool LogWatch::watch(LogListener& listener, const std::filesystem::path& file,
                     const std::filesystem::path& root) {
  forget(listener);
  if (!descriptor_.is_open()) return false;
  std::filesystem::path path = file;
  for (;;) {
    const bool is_file = path == file;
    const std::uint32_t mask =
        is_file ? IN_MODIFY | IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF
                : IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
    const int watched = ::inotify_add_watch(descriptor_.native_handle(), path.c_str(), mask);
    if (watched >= 0) {
      listeners_[watched].push_back(&listener);
      read();
      return is_file;
    }
    if (path == root || !path.has_relative_path()) return false;
    path = path.parent_path();
  }
}

void LogWatch::forget(LogListener& listener) {
  for (auto it = listeners_.begin(); it != listeners_.end(); ++it) {
    auto& list = it->second;
    const auto at = std::find(list.begin(), list.end(), &listener);
    if (at == list.end()) continue;
    list.erase(at);
    if (list.empty()) {
      ::inotify_rm_watch(descriptor_.native_handle(), it->first);
      listeners_.erase(it);
    }
    return;
  }
}

void LogWatch::read() {
  if (reading_) return;
  reading_ = true;
  descriptor_.async_read_some(boost::asio::buffer(buffer_),
                              [this](const boost::system::error_code& error, std::size_t n) {
                                reading_ = false;
                                if (error) return;
                                on_events(n);
                                if (!listeners_.empty()) read();
                              });
}

void LogWatch::on_events(std::size_t bytes) {
  // Gathered first: a listener moves its own watch while it is told.
  std::vector<LogListener*> told;
  for (std::size_t at = 0; at + sizeof(inotify_event) <= bytes;) {
    inotify_event event{};
    std::memcpy(&event, buffer_.data() + at, sizeof event);
    at += sizeof event + event.len;
    const auto found = listeners_.find(event.wd);
    if (found == listeners_.end()) continue;
    for (LogListener* listener : found->second) {
      if (std::find(told.begin(), told.end(), listener) == told.end()) told.push_back(listener);
    }
    // The kernel has dropped this watch; its listeners look for the path again.
    if ((event.mask & IN_IGNORED) != 0) listeners_.erase(found);
  }
  for (LogListener* listener : told) listener->on_file_changed();
}

}  // namespace rq::files
