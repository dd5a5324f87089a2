#pragma once
// rq's own HTTP API: one JSON put (or many, as NDJSON), a reserve, a done.
#include <charconv>
#include <cstring>
#include <string>
#include <string_view>

#include "load/buffers.h"
#include "load/plan.h"

namespace rq::load {

class Http {
 public:
  struct Handle {  // a token: three numbers with dots between
    std::uint64_t seq = 0, attempt = 0, boot = 0;
  };
  static constexpr std::size_t kHelloReplies = 1;

  Http(const Plan& plan, std::size_t /*connection*/) : bytes_(plan.bytes), batch_(plan.batch) {
    host_ = fmt::format("Host: {}:{}\r\n", plan.host, plan.port);
    hello_ = fmt::format("GET /v1/health HTTP/1.1\r\n{}\r\n", host_);
    const std::string before = R"({"payload":")";
    const std::string line = before + std::string(bytes_, kFiller) + "\"}";
    std::string body = line;
    for (std::size_t i = 1; i < batch_; ++i) body += "\n" + line;
    line_bytes_ = line.size() + 1;
    put_ = request(fmt::format("/v1/queues/{}/messages", plan.queue),
                   batch_ == 1 ? "application/json" : "application/x-ndjson", body);
    number_at_ = put_.size() - body.size() + before.size();
    take_ =
        request("/v1/reserve", "application/json",
                fmt::format(R"({{"queues":["{}"],"wait_s":30,"worker":"rq_load"}})", plan.queue));
  }

  void hello(Bytes& out) const { out.append(hello_); }
  [[nodiscard]] std::size_t hello_reply(std::string_view in, std::size_t /*number*/) const {
    std::string_view body;
    return answer(in, "200", "health", body);
  }

  // Numbers of a batch follow one another.
  void put(Bytes& out, std::uint64_t number) const {
    char* at = out.room(put_.size());
    std::memcpy(at, put_.data(), put_.size());
    for (std::size_t i = 0; i < batch_; ++i) {
      write_number(number + i, at + number_at_ + i * line_bytes_);
    }
    out.added(put_.size());
  }
  void take(Bytes& out) const { out.append(take_); }
  void finish(Bytes& out, Handle token) const {
    constexpr std::size_t kTokenMax = 64;
    char text[kTokenMax];
    const auto end = fmt::format_to_n(text, kTokenMax, R"({{"token":"{}.{}.{}"}})", token.seq,
                                      token.attempt, token.boot);
    out.append("POST /v1/done HTTP/1.1\r\n");
    out.append(host_);
    out.append("Content-Type: application/json\r\nContent-Length: ");
    out.append(static_cast<std::uint64_t>(end.size));
    out.append("\r\n\r\n");
    out.append(std::string_view{text, end.size});
  }

  [[nodiscard]] std::size_t put_reply(std::string_view in) const {
    std::string_view body;
    const std::size_t used = answer(in, batch_ == 1 ? "201" : "200", "put", body);
    if (used == 0) return 0;
    std::size_t found = 0;
    constexpr std::string_view kSeq = R"("seq":)";
    for (std::size_t at = 0; (at = body.find(kSeq, at)) != std::string_view::npos; ++found) {
      at += kSeq.size();
    }
    if (found != batch_) {
      fail("{} messages put, {} answered: '{}'", batch_, found, quoted(body));
    }
    return used;
  }
  [[nodiscard]] std::size_t take_reply(std::string_view in, Handle& token,
                                       std::uint64_t& number) const {
    std::string_view body;
    const std::size_t used = answer(in, "200", "reserve", body);
    if (used == 0) return 0;
    std::string_view text = field(body, R"("token":")");
    const char* const end = text.data() + text.size();
    const char* at = std::from_chars(text.data(), end, token.seq).ptr;
    if (at != end) at = std::from_chars(at + 1, end, token.attempt).ptr;
    if (at != end) at = std::from_chars(at + 1, end, token.boot).ptr;
    if (at != end || token.boot == 0) fail("a reserve without token: '{}'", quoted(body));
    number = read_number(field(body, R"("payload":")"), bytes_);
    return used;
  }
  [[nodiscard]] std::size_t finish_reply(std::string_view in) const {
    std::string_view body;
    const std::size_t used = answer(in, "200", "done", body);
    if (used != 0 && body.find(R"("state":"done")") == std::string_view::npos) {
      fail("wrong reply to done: '{}'", quoted(body));
    }
    return used;
  }

 private:
  [[nodiscard]] std::string request(std::string_view path, std::string_view type,
                                    std::string_view body) const {
    return fmt::format("POST {} HTTP/1.1\r\n{}Content-Type: {}\r\nContent-Length: {}\r\n\r\n{}",
                       path, host_, type, body.size(), body);
  }
  // One whole response with this status; 0: not all there yet.
  static std::size_t answer(std::string_view in, std::string_view status, std::string_view what,
                            std::string_view& body) {
    constexpr std::string_view kVersion = "HTTP/1.1 ";
    const std::size_t head = in.find("\r\n\r\n");
    if (head == std::string_view::npos) return 0;
    const std::size_t size = content_length(in.substr(0, head + 2));
    if (in.size() < head + 4 + size) return 0;
    body = in.substr(head + 4, size);
    if (!in.starts_with(kVersion) || in.substr(kVersion.size(), status.size()) != status) {
      fail("wrong reply to {}: '{}' '{}'", what, quoted(in.substr(0, in.find('\r'))), quoted(body));
    }
    return head + 4 + size;
  }
  static std::size_t content_length(std::string_view head) {
    constexpr std::string_view kName = "\r\ncontent-length:";
    for (std::size_t at = head.find('\n'); at != std::string_view::npos && at > 0;
         at = head.find('\n', at + 1)) {
      const std::string_view line = head.substr(at - 1);
      if (line.size() <= kName.size()) break;
      const bool same = std::equal(kName.begin(), kName.end(), line.begin(), [](char a, char b) {
        return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b + ('a' - 'A')) : b);
      });
      if (!same) continue;
      std::string_view value = line.substr(kName.size());
      value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
      std::size_t size = 0;
      std::from_chars(value.data(), value.data() + value.size(), size);
      return size;
    }
    fail("a response without Content-Length: '{}'", quoted(head));
  }
  static std::string_view field(std::string_view body, std::string_view name) {
    const std::size_t at = body.find(name);
    if (at == std::string_view::npos) fail("a reserve without {}: '{}'", name, quoted(body));
    const std::string_view rest = body.substr(at + name.size());
    return rest.substr(0, rest.find('"'));
  }

  std::size_t bytes_;
  std::size_t batch_;
  std::size_t line_bytes_ = 0;
  std::size_t number_at_ = 0;
  std::string host_, hello_, put_, take_;
};

}  // namespace rq::load
