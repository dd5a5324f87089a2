#pragma once
// Memory of a connection, taken once: what a command costs must not be an allocation.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <string_view>
#include <vector>

#include "load/plan.h"

namespace rq::load {

// A queue of at most `capacity` values.
template <typename T>
class Ring {
 public:
  explicit Ring(std::size_t capacity) : slots_(capacity) {}
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] bool full() const { return size_ == slots_.size(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T& front() { return slots_[head_]; }
  void push(const T& value) {
    if (full()) fail("internal: more in flight than planned");
    std::size_t at = head_ + size_;
    if (at >= slots_.size()) at -= slots_.size();
    slots_[at] = value;
    ++size_;
  }
  void pop() {
    if (++head_ == slots_.size()) head_ = 0;
    --size_;
  }

 private:
  std::vector<T> slots_;
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

// Bytes on their way out or in: appended at the end, used up at the front.
class Bytes {
 public:
  explicit Bytes(std::size_t capacity) : bytes_(capacity) {}
  [[nodiscard]] std::string_view view() const { return {bytes_.data() + begin_, end_ - begin_}; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }

  // Room for `size` more bytes at the end; what is written there counts after added().
  [[nodiscard]] char* room(std::size_t size) {
    if (bytes_.size() - end_ < size) make_room(size);
    return bytes_.data() + end_;
  }
  [[nodiscard]] std::size_t free_bytes() const { return bytes_.size() - end_; }
  void added(std::size_t size) { end_ += size; }
  void used(std::size_t size) {
    begin_ += size;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  void append(std::string_view text) {
    std::memcpy(room(text.size()), text.data(), text.size());
    added(text.size());
  }
  void append(std::uint64_t number) {
    constexpr std::size_t kDigitsMax = 20;
    char* at = room(kDigitsMax);
    added(static_cast<std::size_t>(std::to_chars(at, at + kDigitsMax, number).ptr - at));
  }

 private:
  void make_room(std::size_t size) {
    std::memmove(bytes_.data(), bytes_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (bytes_.size() - end_ < size) bytes_.resize(std::max(bytes_.size() * 2, end_ + size));
  }
  std::vector<char> bytes_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace rq::load
