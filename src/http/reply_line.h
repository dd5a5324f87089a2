#pragma once
// The replies of one connection, in the order of its requests. The first in the line writes to what
// is sent; the others gather theirs until it is their turn.
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "http/exchange.h"
#include "http/limits.h"
#include "net/out_buffer.h"

namespace rq::http {

class ReplyLine {
 public:
  // The next request's place.
  [[nodiscard]] Slot& add();
  // The place of a request that is not answered yet; null when it is.
  [[nodiscard]] Slot* find(std::uint64_t request);
  [[nodiscard]] bool empty() const { return slots_.empty(); }
  [[nodiscard]] std::size_t size() const { return slots_.size(); }
  [[nodiscard]] Slot& front() { return slots_.front(); }
  [[nodiscard]] const Slot& back() const { return slots_.back(); }

  // Where the bytes of this reply go.
  [[nodiscard]] std::string& out_of(Slot& slot);
  // Bytes of it that are not sent.
  [[nodiscard]] std::size_t unsent(const Slot& slot) const;
  // Takes those that are done from the front. True when the connection ends after one of them.
  [[nodiscard]] bool advance();
  void clear() { slots_.clear(); }

  // --- What is sent ---
  [[nodiscard]] std::string& out() { return out_.bytes(); }
  [[nodiscard]] std::string_view unsent() const { return out_.unsent(); }
  // The front of unsent() has gone.
  void sent(std::size_t bytes);

 private:
  net::OutBuffer out_{kReadBytes};
  std::deque<Slot> slots_;
  std::uint64_t next_request_ = 1;
};

}  // namespace rq::http
