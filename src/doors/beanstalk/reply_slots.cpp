#include "doors/beanstalk/reply_slots.h"

#include <algorithm>

#include "base/bytes.h"
#include "doors/beanstalk/limits.h"

namespace rq::doors::beanstalk {
namespace {

constexpr std::size_t kSlotsKept = 128;
constexpr std::size_t kBodiesRemembered = 64;  // where one was large, the next ones may be

}  // namespace

using wire::beanstalk::Verb;

bool is_reserve(Verb verb) {
  return verb == Verb::reserve || verb == Verb::reserve_with_timeout || verb == Verb::reserve_job;
}

bool has_body(Verb verb) {
  return is_reserve(verb) || verb == Verb::peek || verb == Verb::peek_ready ||
         verb == Verb::peek_delayed || verb == Verb::peek_buried;
}

bool looks_around(Verb verb) {
  return verb == Verb::stats || verb == Verb::stats_tube || verb == Verb::list_tubes ||
         verb == Verb::pause_tube;
}

ReplySlots::~ReplySlots() {
  --all_.connections;
  all_.commands -= commands_;
  all_.put_bytes -= put_bytes_;
}

// Where all together have too much under way, each has an equal share.
bool ReplySlots::full() const {
  if (size() >= kInFlightMax || commands_ >= kInFlightMax || put_bytes_ >= kPutBytesMax ||
      held_bytes_ + unsent().size() >= kOutBytesMax) {
    return true;
  }
  return (all_.commands >= kInFlightOfAllMax &&
          commands_ >= std::max<std::size_t>(1, kInFlightOfAllMax / all_.connections)) ||
         (all_.put_bytes >= kPutBytesOfAllMax &&
          put_bytes_ >= std::max<std::size_t>(1, kPutBytesOfAllMax / all_.connections));
}

void ReplySlots::count() {
  ++commands_;
  ++all_.commands;
}

void ReplySlots::uncount() {
  --commands_;
  --all_.commands;
}

ReplySlots::Slot& ReplySlots::place(Verb verb) {
  Slot& slot = slots_.emplace_back();
  slot.verb = verb;
  ++next_request_;
  return slot;
}

ReplySlots::Slot& ReplySlots::add(Verb verb) {
  count();
  if (has_body(verb)) ++bodies_;
  if (looks_around(verb)) ++looking_;
  return place(verb);
}

ReplySlots::Slot& ReplySlots::add_put(std::uint64_t bytes) {
  Slot& slot = add(Verb::put);
  slot.bytes = bytes;
  put_bytes_ += bytes;
  all_.put_bytes += bytes;
  return slot;
}

ReplySlots::Slot& ReplySlots::add_reserve(Verb verb, bool waits) {
  Slot& slot = add(verb);
  slot.waits = waits;
  ++reserving_;
  if (waits) {
    ++waiting_;
    uncount();
  }
  return slot;
}

ReplySlots::Slot* ReplySlots::find(std::uint64_t request) {
  const std::uint64_t first = next_request_ - size();
  if (request < first || request >= next_request_) return nullptr;
  Slot& slot = slots_[head_ + static_cast<std::size_t>(request - first)];
  return slot.answered ? nullptr : &slot;
}

void ReplySlots::say(std::string_view line) {
  if (empty()) {
    out().append(line);
    return;
  }
  Slot& slot = place(Verb::quit);
  slot.text = line;
  slot.answered = true;
  hold(slot);
}

void ReplySlots::hold(Slot& slot) {
  slot.held = slot.text.size();
  held_bytes_ += slot.held;
}

std::string& ReplySlots::reply_of(Slot& slot) {
  slot.text.clear();
  return &slot == &slots_[head_] ? out() : slot.text;
}

void ReplySlots::answered(Slot& slot) {
  slot.answered = true;
  if (!slot.waits) uncount();
  if (is_reserve(slot.verb)) {
    --reserving_;
    if (slot.waits) --waiting_;
  }
  if (has_body(slot.verb)) --bodies_;
  if (looks_around(slot.verb)) --looking_;
  put_bytes_ -= slot.bytes;
  all_.put_bytes -= slot.bytes;
  if (&slot == &slots_[head_]) {
    advance();
  } else {
    hold(slot);
  }
}

void ReplySlots::saw_body(std::size_t bytes) {
  body_seen_ = std::max(bytes + 1, body_seen_ - body_seen_ / kBodiesRemembered);
}

void ReplySlots::advance() {
  while (head_ < slots_.size() && slots_[head_].answered) {
    out().append(slots_[head_].text);
    held_bytes_ -= slots_[head_].held;
    ++head_;
  }
  if (head_ == slots_.size()) {
    slots_.clear();
    head_ = 0;
    if (slots_.capacity() > kSlotsKept) std::vector<Slot>().swap(slots_);
  } else if (head_ >= kSlotsKept && head_ * 2 >= slots_.size()) {
    slots_.erase(slots_.begin(), slots_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
}

}  // namespace rq::doors::beanstalk
