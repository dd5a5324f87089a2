#pragma once
// Server-Sent Events from bytes in any chunking: events of one or more data lines; comments, ids
// and retry lines are read over.
#include <string>
#include <string_view>

#include "base/limits.h"

namespace rq::client {

class SseReader {
 public:
  // Calls on_event(event, data) for each event that is complete. False when one grows beyond
  // kSseEventBytesMax: then the stream is of no use any more.
  template <typename OnEvent>
  [[nodiscard]] bool feed(std::string_view bytes, OnEvent&& on_event) {
    while (!bytes.empty()) {
      const std::size_t end = bytes.find('\n');
      line_.append(bytes.substr(0, end));
      if (line_.size() + data_.size() > base::kSseEventBytesMax) return false;
      if (end == std::string_view::npos) return true;
      bytes.remove_prefix(end + 1);
      if (line_.ends_with('\r')) line_.pop_back();
      if (line_.empty()) {
        if (has_data_) on_event(std::string_view(event_), std::string_view(data_));
        event_.clear();
        data_.clear();
        has_data_ = false;
      } else {
        take(line_);
      }
      line_.clear();
    }
    return true;
  }

 private:
  void take(std::string_view line) {
    const std::size_t colon = line.find(':');
    const std::string_view field = line.substr(0, colon);
    std::string_view value;
    if (colon != std::string_view::npos) value = line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "event") event_ = value;
    if (field == "data") {
      if (has_data_) data_.push_back('\n');
      data_.append(value);
      has_data_ = true;
    }
  }

  std::string line_, event_, data_;
  bool has_data_ = false;
};

}  // namespace rq::client
