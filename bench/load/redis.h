#pragma once
// A reliable queue on Redis lists: LPUSH puts, BLMOVE takes to a list of the connection's own, LREM
// finishes. LREM looks from the tail, where the oldest is, so it never searches.
#include <charconv>
#include <cstring>
#include <string>
#include <string_view>

#include "load/buffers.h"
#include "load/plan.h"

namespace rq::load {

class Redis {
 public:
  using Handle = std::uint64_t;  // number of the message: LREM names it by its whole payload
  static constexpr std::size_t kHelloReplies = 1;

  Redis(const Plan& plan, std::size_t connection) : bytes_(plan.bytes) {
    const std::string own = fmt::format("{}:{}", plan.queue, connection);
    const std::string payload = fmt::format("${}\r\n{}\r\n", bytes_, std::string(bytes_, kFiller));
    put_ = fmt::format("*3\r\n$5\r\nLPUSH\r\n{}{}", bulk(plan.queue), payload);
    take_ = fmt::format("*6\r\n$6\r\nBLMOVE\r\n{}{}{}{}{}", bulk(plan.queue), bulk(own),
                        bulk("RIGHT"), bulk("LEFT"), bulk("0"));
    finish_ = fmt::format("*4\r\n$4\r\nLREM\r\n{}{}{}", bulk(own), bulk("-1"), payload);
    taken_ = fmt::format("${}\r\n", bytes_);
  }

  void hello(Bytes& out) const { out.append("PING\r\n"); }
  [[nodiscard]] std::size_t hello_reply(std::string_view in, std::size_t /*number*/) const {
    const std::size_t end = line_end(in);
    if (end != 0 && in.substr(0, end) != "+PONG\r\n") fail("wrong reply to PING: '{}'", quoted(in));
    return end;
  }

  void put(Bytes& out, std::uint64_t number) const { with_number(out, put_, number); }
  void take(Bytes& out) const { out.append(take_); }
  void finish(Bytes& out, Handle number) const { with_number(out, finish_, number); }

  [[nodiscard]] std::size_t put_reply(std::string_view in) const {
    const std::size_t end = line_end(in);
    if (end != 0 && (in.front() != ':' || in[1] == '-' || in[1] == '0')) {
      fail("wrong reply to LPUSH: '{}'", quoted(in));
    }
    return end;
  }
  [[nodiscard]] std::size_t take_reply(std::string_view in, Handle& handle,
                                       std::uint64_t& number) const {
    const std::size_t end = line_end(in);
    if (end == 0) return 0;
    if (in.substr(0, end) != taken_) fail("wrong reply to BLMOVE: '{}'", quoted(in));
    if (in.size() < end + bytes_ + 2) return 0;
    number = read_number(in.substr(end, bytes_), bytes_);
    handle = number;
    return end + bytes_ + 2;
  }
  [[nodiscard]] std::size_t finish_reply(std::string_view in) const {
    const std::size_t end = line_end(in);
    if (end != 0 && in.substr(0, end) != ":1\r\n") fail("wrong reply to LREM: '{}'", quoted(in));
    return end;
  }

 private:
  static std::string bulk(std::string_view text) {
    return fmt::format("${}\r\n{}\r\n", text.size(), text);
  }
  static std::size_t line_end(std::string_view in) {
    const std::size_t at = in.find('\n');
    return at == std::string_view::npos ? 0 : at + 1;
  }
  // A command whose last word is the payload.
  void with_number(Bytes& out, const std::string& command, std::uint64_t number) const {
    char* at = out.room(command.size());
    std::memcpy(at, command.data(), command.size());
    write_number(number, at + command.size() - 2 - bytes_);
    out.added(command.size());
  }

  std::size_t bytes_;
  std::string put_, take_, finish_, taken_;
};

}  // namespace rq::load
