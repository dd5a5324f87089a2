#pragma once
// Tells the texts of JSON from what is between them, byte by byte: for who cuts JSON that comes in
// pieces. What is no JSON gives some answer.

namespace rq::base {

class JsonQuotes {
 public:
  // Whether `c`, the next byte, is a part of a text; its quotes are.
  bool next(char c) {
    if (!in_text_) {
      in_text_ = c == '"';
      return in_text_;
    }
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_text_ = false;
    }
    return true;
  }
  // A text has begun, and has not ended.
  [[nodiscard]] bool in_text() const { return in_text_; }

 private:
  bool in_text_ = false;
  bool escaped_ = false;
};

}  // namespace rq::base
