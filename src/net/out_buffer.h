#pragma once
// Bytes that are to be sent, and how many of them have been.
#include <cstddef>
#include <string>
#include <string_view>

namespace rq::net {

class OutBuffer {
 public:
  // What has been sent is taken from the front when it is more than `sent_max`: the rest is moved
  // then, and not for each small write.
  explicit OutBuffer(std::size_t sent_max) : sent_max_(sent_max) {}

  // To append to, and to give its memory back when all is sent.
  [[nodiscard]] std::string& bytes() { return bytes_; }
  [[nodiscard]] std::string_view unsent() const { return std::string_view(bytes_).substr(sent_); }
  // The front of unsent() has gone.
  void sent(std::size_t bytes) {
    sent_ += bytes;
    if (sent_ == bytes_.size()) {
      bytes_.clear();
      sent_ = 0;
    } else if (sent_ > sent_max_) {
      bytes_.erase(0, sent_);
      sent_ = 0;
    }
  }

 private:
  const std::size_t sent_max_;
  std::string bytes_;
  std::size_t sent_ = 0;
};

}  // namespace rq::net
