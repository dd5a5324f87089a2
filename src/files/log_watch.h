#pragma once
// Tells when files of the server's directory appear or grow, by inotify: nothing polls.
// Thread: loop.
#include <array>
#include <cstdint>
#include <filesystem>
#include <unordered_map>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/result.h"

namespace rq::files {

class LogListener {
 public:
  virtual ~LogListener() = default;
  // The watched path, or what is in it, has changed. Must not add or remove watches of others.
  virtual void on_file_changed() = 0;
};

class LogWatch {
 public:
  explicit LogWatch(boost::asio::io_context& io);

  // Watches `file`, or as long as it is not there the deepest folder above it that is, down to
  // `root`. Replaces the listener's earlier watch. True when it is the file that is watched.
  bool watch(LogListener& listener, const std::filesystem::path& file,
             const std::filesystem::path& root);
  void forget(LogListener& listener);

 private:
  void read();
  void on_events(std::size_t bytes);

  boost::asio::posix::stream_descriptor descriptor_;
  std::unordered_map<int, std::vector<LogListener*>> listeners_;  // by watch descriptor
  bool reading_ = false;
  static constexpr std::size_t kBufferBytes = 16 * 1024;
  alignas(8) std::array<char, kBufferBytes> buffer_;
};

}  // namespace rq::files
