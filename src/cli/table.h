#pragma once
// Tables for people: aligned columns; the last one is fitted to the width of the terminal.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/terminal.h"

namespace rq::cli {

struct Cell {
  Cell(std::string words, Ink colour = Ink::plain)  // NOLINT(google-explicit-constructor)
      : text(std::move(words)), ink(colour) {}
  Cell(const char* words) : text(words) {}  // NOLINT(google-explicit-constructor)
  std::string text;
  Ink ink = Ink::plain;
};

class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
  };
  // What does not fit of the last column: cut in its middle, where each row has one line; shown on
  // more lines, where all of it is wanted; or on a few, for lists that are looked through. Of the
  // other columns the widest are cut when all of them leave it no room.
  enum class Long { cut, wrapped, list };
  explicit Table(std::vector<Column> columns, Long fit = Long::cut)
      : columns_(std::move(columns)), long_(fit) {}

  // REQUIRES: as many cells as columns.
  void add(std::vector<Cell> row);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  // With a line of titles. `width`: of the terminal; absent: nothing is cut or wrapped.
  [[nodiscard]] std::string text(bool colours, std::optional<std::size_t> width) const;

 private:
  // Of each column.
  [[nodiscard]] std::vector<std::size_t> widths(std::optional<std::size_t> width) const;
  void put(std::string& out, std::size_t column, std::size_t width, const Cell& cell,
           bool colours) const;
  // `before`: columns that stand before it.
  void put_last(std::string& out, std::size_t before, std::optional<std::size_t> width,
                const Cell& cell, bool colours) const;

  std::vector<Column> columns_;
  Long long_;
  std::vector<std::vector<Cell>> rows_;
};

// "name   value" lines.
class Facts {
 public:
  void add(std::string_view name, Cell value);
  void add_if(std::string_view name, std::string value);  // nothing when empty
  // `width`: as in Table; a value that is longer takes more lines.
  [[nodiscard]] std::string text(bool colours, std::optional<std::size_t> width) const;

 private:
  std::vector<std::pair<std::string, Cell>> facts_;
};

}  // namespace rq::cli
