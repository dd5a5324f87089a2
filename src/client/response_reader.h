#pragma once
// Reads one HTTP/1.1 answer from bytes in any chunking: its head, then its body in pieces. Interim
// answers (100 Continue) are read over. No socket, no copy of the body.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "wire/http_chunks.h"

namespace rq::client {

class ResponseReader {
 public:
  // Takes a piece of the body; status() is known by then. False: enough.
  using OnBody = std::function<bool(std::string_view piece)>;
  enum class State : std::uint8_t {
    more,    // not at its end yet
    done,    // all of it has been read
    enough,  // on_body wants no more
    broken,  // this is no HTTP answer, or it ends in the middle; what() says why
  };

  explicit ResponseReader(OnBody on_body);
  ~ResponseReader();
  ResponseReader(const ResponseReader&) = delete;
  ResponseReader& operator=(const ResponseReader&) = delete;

  // Reads from `bytes`, and says in `used` how many it has taken; the rest is to be given again,
  // with more behind it. After `more` only.
  [[nodiscard]] State feed(std::string_view bytes, std::size_t& used);
  // The peer has closed the connection: `done` when that is how the body ends.
  [[nodiscard]] State end_of_input();

  [[nodiscard]] bool got_some() const;  // has any byte been read?
  [[nodiscard]] unsigned status() const;
  [[nodiscard]] const std::string& content_type() const;
  [[nodiscard]] bool keep_alive() const;  // after `done`
  [[nodiscard]] const std::string& what() const { return what_; }

 private:
  class Parser;

  // Where the next byte belongs, and how the body ends.
  enum class Framing : std::uint8_t { head, length, chunked, to_end };

  [[nodiscard]] State feed_head(std::string_view bytes, std::size_t& used);
  [[nodiscard]] State feed_body(std::string_view bytes, std::size_t& used);
  State broken(std::string why);

  OnBody on_body_;
  std::unique_ptr<Parser> parser_;
  Framing framing_ = Framing::head;
  std::uint64_t left_ = 0;  // of a body whose length is known
  wire::ChunkReader chunks_;
  std::string what_;
  bool had_interim_ = false;
};

}  // namespace rq::client
