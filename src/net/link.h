#pragma once
// One connection: its channel, and what is known of its state. Whoever speaks a protocol derives
// its own kind; Links calls it when there is something to read or room to write.
//
// Thread: the loop's.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "net/channel.h"

namespace rq::net {

class Links;

// A connection that has just come in.
struct Arrival {
  std::uint64_t id = 0;  // never given twice by the same Links
  std::unique_ptr<Channel> channel;
};

class Link {
 public:
  explicit Link(Arrival&& arrival) : id(arrival.id), channel_(std::move(arrival.channel)) {}
  virtual ~Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  const std::uint64_t id;

 protected:
  // Reads what is there, at most `room` bytes, and gives how many. 0: nothing now, or never any
  // more: ended(), broken().
  [[nodiscard]] std::size_t receive(char* into, std::size_t room);
  // Sends what the channel takes now, and gives how much. Less than all: flush() is called when
  // there is room again, unless broken().
  [[nodiscard]] std::size_t send(std::string_view bytes);
  // The same from a file. None sent while writable(): the file ends there.
  [[nodiscard]] std::size_t send_file(int file, std::uint64_t offset, std::size_t bytes);
  void end_sending();
  void close_channel() { channel_.reset(); }
  [[nodiscard]] Caller caller() const { return channel_ ? channel_->caller() : Caller{}; }
  // The channel may take more bytes now.
  [[nodiscard]] bool writable() const { return writable_; }
  // The other side sends no more; what is left can still be read, and when it has been, ended().
  [[nodiscard]] bool hung_up() const { return hung_up_; }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] bool broken() const { return broken_; }
  // It has read more than it has dealt with: read() is called in a later turn, also when nothing
  // comes.
  void keep_rest(bool kept) { has_rest_ = kept; }
  [[nodiscard]] bool has_rest() const { return has_rest_; }

 private:
  friend class Links;
  // Whether read() is wanted when there is something to read.
  [[nodiscard]] virtual bool wants_to_read() const = 0;
  // There is something, or has_rest(): deals with a piece of it.
  virtual void read() = 0;
  // Sends what is there; then whatever else waits for the end of a turn. Called by Links alone,
  // which then knows whether to wait for room.
  virtual void flush() = 0;

  // Nothing is under way, and the other side can come again: it may be closed to make room.
  [[nodiscard]] virtual bool is_idle() const { return false; }
  virtual void close() {}

  void sent(Channel::State state);
  [[nodiscard]] bool may_read() const { return (readable_ || has_rest_) && wants_to_read(); }

  std::unique_ptr<Channel> channel_;  // null: closed
  std::uint64_t spoke_ = 0;           // when it last did, as Links counts
  bool readable_ = false;             // there may be more to read
  bool has_rest_ = false;
  bool writable_ = true;
  bool watched_for_room_ = false;
  bool hung_up_ = false;
  bool ended_ = false;
  bool broken_ = false;
  bool queued_ = false;  // in Links::ready_
  bool dirty_ = false;   // in Links::dirty_
};

}  // namespace rq::net
