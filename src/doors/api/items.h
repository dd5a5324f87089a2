#pragma once
// Cuts a stream of JSON into its items, whatever the pieces it comes in: the lines of NDJSON, or
// the elements of one top-level list. Each item is given whole; it is not parsed here, so what is
// no JSON is found by whoever parses the item.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rq::doors::api {

class ItemSplitter {
 public:
  enum class Form : std::uint8_t { lines, list, single };
  // Without a form the first byte decides: '[' is a list, anything else one single item.
  explicit ItemSplitter(std::optional<Form> form) : form_(form) {}

  // Calls `take(item)` for each item that is whole. `take` returns false to stop.
  template <typename Take>
  void feed(std::string_view piece, const Take& take) {
    while (!piece.empty() && !stopped_) {
      if (const auto item = next(piece)) {
        stopped_ = !take(*item);
        item_.clear();
      }
    }
  }
  // At the end of the stream: the last line, if it had no end; an error if a list is not closed.
  template <typename Take>
  [[nodiscard]] base::Result<void> finish(const Take& take) {
    if (stopped_) return {};
    if (form_ != Form::list) {
      if (item_.find_first_not_of(" \t\r\n") != std::string::npos) take(std::string_view{item_});
      return {};
    }
    return finish_list();
  }

  // Answered item by item; `single` is answered as one.
  [[nodiscard]] bool is_many() const { return form_ && form_ != Form::single; }
  [[nodiscard]] bool is_list() const { return form_ == Form::list; }
  [[nodiscard]] const std::optional<base::Error>& error() const { return error_; }

 private:
  enum class Place : std::uint8_t { before, in, after };  // of the list

  // Takes bytes off `piece` until an item is whole.
  std::optional<std::string_view> next(std::string_view& piece);
  std::optional<std::string_view> next_line(std::string_view& piece);
  std::optional<std::string_view> next_element(std::string_view& piece);
  std::optional<std::string_view> end_element(char closing);
  void refuse(base::Error error);
  bool append(std::string_view text);
  [[nodiscard]] base::Result<void> finish_list();

  std::optional<Form> form_;
  std::string item_;
  std::optional<base::Error> error_;
  bool stopped_ = false;
  Place place_ = Place::before;
  bool first_ = true;
  bool in_string_ = false;
  bool escaped_ = false;
  std::size_t depth_ = 0;  // inside the element
};

}  // namespace rq::doors::api
