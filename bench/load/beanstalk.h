#pragma once
// The few words of beanstalkd's protocol that a life needs. Knows nothing of rq's own codec: one
// fault in both would not show.
#include <charconv>
#include <cstring>
#include <string>
#include <string_view>

#include "load/buffers.h"
#include "load/plan.h"

namespace rq::load {

class Beanstalk {
 public:
  using Handle = std::uint64_t;  // job id
  static constexpr std::size_t kHelloReplies = 3;

  Beanstalk(const Plan& plan, std::size_t /*connection*/) : queue_(plan.queue), bytes_(plan.bytes) {
    // Time to run: longer than any run holds a job.
    put_ = fmt::format("put 0 0 600 {}\r\n", bytes_);
    number_at_ = put_.size();
    put_.append(bytes_, kFiller);
    put_ += "\r\n";
  }

  void hello(Bytes& out) const {
    out.append(fmt::format("use {0}\r\nwatch {0}\r\nignore default\r\n", queue_));
  }
  // Takes one reply to hello from the front of `in`; bytes used, or 0: not all there yet.
  [[nodiscard]] std::size_t hello_reply(std::string_view in, std::size_t number) const {
    const std::size_t end = line_end(in);
    if (end == 0) return 0;
    const std::string wanted = number == 0   ? "USING " + queue_ + "\r\n"
                               : number == 1 ? "WATCHING 2\r\n"
                                             : "WATCHING 1\r\n";
    if (in.substr(0, end) != wanted) fail("wrong reply at the start: '{}'", quoted(in));
    return end;
  }

  void put(Bytes& out, std::uint64_t number) const {
    char* at = out.room(put_.size());
    std::memcpy(at, put_.data(), put_.size());
    write_number(number, at + number_at_);
    out.added(put_.size());
  }
  void take(Bytes& out) const { out.append("reserve\r\n"); }
  void finish(Bytes& out, Handle id) const {
    out.append("delete ");
    out.append(id);
    out.append("\r\n");
  }

  [[nodiscard]] std::size_t put_reply(std::string_view in) const {
    const std::size_t end = line_end(in);
    if (end == 0) return 0;
    std::string_view rest = in.substr(0, end);
    std::uint64_t id = 0;
    if (!skip(rest, "INSERTED ") || !number(rest, id) || rest != "\r\n") {
      fail("wrong reply to put: '{}'", quoted(in));
    }
    return end;
  }
  [[nodiscard]] std::size_t take_reply(std::string_view in, Handle& id,
                                       std::uint64_t& number_put) const {
    const std::size_t end = line_end(in);
    if (end == 0) return 0;
    std::string_view rest = in.substr(0, end);
    std::uint64_t size = 0;
    if (!skip(rest, "RESERVED ") || !number(rest, id) || !skip(rest, " ") || !number(rest, size) ||
        rest != "\r\n") {
      fail("wrong reply to reserve: '{}'", quoted(in));
    }
    if (size > kPayloadBytesMax) fail("reserved a job of {} bytes", size);
    if (in.size() < end + size + 2) return 0;
    if (in.substr(end + size, 2) != "\r\n") fail("no line end after the body of job {}", id);
    number_put = read_number(in.substr(end, size), bytes_);
    return end + size + 2;
  }
  [[nodiscard]] std::size_t finish_reply(std::string_view in) const {
    constexpr std::string_view kDeleted = "DELETED\r\n";
    if (in.substr(0, kDeleted.size()) == kDeleted) return kDeleted.size();
    if (line_end(in) != 0) fail("wrong reply to delete: '{}'", quoted(in));
    return 0;
  }

 private:
  static std::size_t line_end(std::string_view in) {
    const std::size_t at = in.find('\n');
    return at == std::string_view::npos ? 0 : at + 1;
  }
  static bool skip(std::string_view& text, std::string_view start) {
    if (!text.starts_with(start)) return false;
    text.remove_prefix(start.size());
    return true;
  }
  static bool number(std::string_view& text, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
  }

  std::string queue_;
  std::size_t bytes_;
  std::string put_;  // a whole put, its number still to be written
  std::size_t number_at_ = 0;
};

}  // namespace rq::load
