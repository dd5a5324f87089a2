#pragma once
// Cuts a stream of JSON into its items, whatever the pieces it comes in: the lines of NDJSON, or
// the elements of one top-level list. It parses none of them, so what is no JSON is found by
// whoever parses the item.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json_quotes.h"
#include "base/result.h"
#include "doors/api/json_reader.h"

namespace rq::doors::api {

class ItemSplitter {
 public:
  enum class Form : std::uint8_t { lines, list, single };
  // Without a form the first byte decides: '[' is a list, anything else one single item.
  explicit ItemSplitter(std::optional<Form> form) : form_(form) {}

  // Gives the text of the items part by part: `part(text)` for each part of an item, `end()` when
  // it is whole. Both return false to stop.
  template <typename Part, typename End>
  void feed(std::string_view piece, const Part& part, const End& end) {
    mark_.feed(piece, [&](std::string_view text) {
      while (!text.empty() && !stopped_) {
        const Cut cut = next(text);
        if (stopped_) return;
        if (!cut.text.empty()) stopped_ = !part(cut.text);
        if (cut.ends && !stopped_) stopped_ = !end();
      }
    });
  }
  // At the end of the stream: the last line, if it had no end; an error if a list is not closed.
  template <typename End>
  [[nodiscard]] base::Result<void> finish(const End& end) {
    if (stopped_) return {};
    if (form_ != Form::list) {
      if (!blank_) static_cast<void>(end());
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

  struct Cut {
    std::string_view text;
    bool ends = false;  // the item is whole
  };
  // Takes a part of an item off `piece`.
  Cut next(std::string_view& piece);
  Cut next_line(std::string_view& piece);
  Cut next_element(std::string_view& piece);
  [[nodiscard]] bool end_element(char closing);
  void refuse(base::Error error);
  // Spaces before an item are no part of it.
  [[nodiscard]] std::string_view counted(std::string_view text);
  [[nodiscard]] base::Result<void> finish_list();

  std::optional<Form> form_;
  std::size_t item_bytes_ = 0;
  bool blank_ = true;  // nothing but spaces so far in the item
  ByteOrderMark mark_;
  std::optional<base::Error> error_;
  bool stopped_ = false;
  Place place_ = Place::before;
  bool first_ = true;
  base::JsonQuotes quotes_;
  std::size_t depth_ = 0;  // inside the element
};

}  // namespace rq::doors::api
