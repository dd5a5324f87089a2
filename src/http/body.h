#pragma once
// Where the body of a request goes, where the body of a reply comes from, and the memory that all
// bodies share.
//
// Thread: the loop's.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.h"

namespace rq::http {

// Takes a body piece by piece, of any size.
class BodySink {
 public:
  BodySink() = default;
  virtual ~BodySink() = default;
  BodySink(const BodySink&) = delete;
  BodySink& operator=(const BodySink&) = delete;
  enum class Next : std::uint8_t {
    more,
    wait,  // this piece is taken; no other before Exchange::go_on()
  };
  virtual Next take(std::string_view piece) = 0;
};

// Gives the body of a reply piece by piece, when the client has taken what was there before.
class Source {
 public:
  Source() = default;
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  enum class Next : std::uint8_t {
    more,
    wait,    // nothing now; Exchange::go_on() tells when to ask again
    end,     // that was all
    failed,  // it cannot go on: the connection is cut, so that the client sees it
  };
  // Appends at most about `bytes` to `out`.
  virtual Next read(std::string& out, std::size_t bytes) = 0;
};

// A part of an open file, which is sent without being read.
struct FileRange {
  base::Fd file;
  std::uint64_t offset = 0;  // of what is still to be sent
  std::uint64_t bytes = 0;
};

// The memory for large bodies, over all connections of a server.
class Budget {
 public:
  explicit Budget(std::size_t bytes) : left_(bytes) {}

  // A part of it, given back when it goes.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Share& operator=(Share&& other) noexcept {
      if (this == &other) return *this;
      give_back();
      budget_ = std::exchange(other.budget_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
      return *this;
    }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { give_back(); }

    // Grows to `bytes` in all. False: there is not so much left, and it stays as it is.
    [[nodiscard]] bool grow_to(Budget& budget, std::size_t bytes);
    void give_back();
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

   private:
    Budget* budget_ = nullptr;
    std::size_t bytes_ = 0;
  };

  // Called when a part has been given back.
  void on_free(std::function<void()> call) { on_free_ = std::move(call); }
  [[nodiscard]] std::size_t left() const { return left_; }

 private:
  std::size_t left_;
  std::function<void()> on_free_;
};

}  // namespace rq::http
