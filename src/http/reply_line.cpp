#include "http/reply_line.h"

namespace rq::http {

Slot& ReplyLine::add() {
  Slot& slot = slots_.emplace_back();
  slot.request = next_request_++;
  return slot;
}

Slot* ReplyLine::find(std::uint64_t request) {
  if (slots_.empty()) return nullptr;
  const std::uint64_t first = slots_.front().request;
  if (request < first || request - first >= slots_.size()) return nullptr;
  Slot& slot = slots_[request - first];
  return slot.done ? nullptr : &slot;
}

std::string& ReplyLine::out_of(Slot& slot) { return &slot == &slots_.front() ? out() : slot.bytes; }

std::size_t ReplyLine::unsent(const Slot& slot) const {
  return &slot == &slots_.front() ? out_.unsent().size() : slot.bytes.size();
}

bool ReplyLine::advance() {
  bool last = false;
  while (!slots_.empty() && slots_.front().done) {
    last = last || slots_.front().close_after;
    slots_.pop_front();
    if (slots_.empty()) break;
    // What the next one has ready moves up.
    if (out().empty()) {
      out().swap(slots_.front().bytes);
    } else {
      out() += slots_.front().bytes;
      slots_.front().bytes.clear();
    }
  }
  return last;
}

void ReplyLine::sent(std::size_t bytes) {
  out_.sent(bytes);
  if (out().empty() && out().capacity() > kOutBytesMax) out().shrink_to_fit();
}

}  // namespace rq::http
