#include "net/link.h"

namespace rq::net {

std::size_t Link::receive(char* into, std::size_t room) {
  if (!channel_) return 0;
  const Channel::Moved moved = channel_->receive(into, room);
  switch (moved.state) {
    case Channel::State::more:
      break;
    case Channel::State::drained:
      // An edge comes with the next bytes; one that has come already for the end does not again.
      readable_ = moved.bytes > 0 && hung_up_;
      break;
    case Channel::State::ended:
    case Channel::State::broken:
      readable_ = false;
      hung_up_ = true;
      ended_ = true;
      broken_ = moved.state == Channel::State::broken;
      break;
  }
  return moved.bytes;
}

std::size_t Link::send(std::string_view bytes) {
  if (!channel_ || !writable_ || bytes.empty()) return 0;
  const Channel::Moved moved = channel_->send(bytes);
  sent(moved.state);
  return moved.bytes;
}

std::size_t Link::send_file(int file, std::uint64_t offset, std::size_t bytes) {
  if (!channel_ || !writable_) return 0;
  const Channel::Moved moved = channel_->send_file(file, offset, bytes);
  sent(moved.state);
  return moved.bytes;
}

void Link::sent(Channel::State state) {
  if (state == Channel::State::drained) writable_ = false;
  if (state == Channel::State::broken) broken_ = true;
}

void Link::end_sending() {
  if (channel_) channel_->end_sending();
}

}  // namespace rq::net
