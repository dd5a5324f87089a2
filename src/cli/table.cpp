#include "cli/table.h"

#include <algorithm>

#include "base/check.h"
#include "cli/text.h"

namespace rq::cli {
namespace {
constexpr std::string_view kGap = "  ";
constexpr std::size_t kLastMin = 10;  // a last column narrower than this says nothing
constexpr std::size_t kCellMax = 2000;
constexpr std::size_t kWrapMin = 30;    // a narrower column is left, for the lines below it
constexpr std::size_t kWrapIndent = 4;  // there
}  // namespace

void Table::add(std::vector<Cell> row) {
  RQ_CHECK(row.size() == columns_.size());
  for (Cell& cell : row) cell.text = one_line(cell.text, kCellMax);
  rows_.push_back(std::move(row));
}

std::string Table::text(bool colours, std::optional<std::size_t> width) const {
  std::vector<std::size_t> widths;
  std::size_t before_last = 0;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t widest = columns_of(columns_[i].title);
    for (const auto& row : rows_) widest = std::max(widest, columns_of(row[i].text));
    widths.push_back(widest);
    if (i + 1 < columns_.size()) before_last += widest + kGap.size();
  }
  const std::size_t last_max =
      width ? std::max(kLastMin, *width > before_last ? *width - before_last : 0) : kCellMax;

  std::string out;
  const auto put = [&](std::size_t column, const std::string& text, Ink ink) {
    const bool last = column + 1 == columns_.size();
    const std::string shown = last && long_ == Long::cut ? middle_cut(text, last_max) : text;
    const std::size_t taken = columns_of(shown);
    const std::size_t gap = taken < widths[column] ? widths[column] - taken : 0;
    const bool right = columns_[column].align == Align::right;
    if (column > 0) out += kGap;
    if (right) out.append(gap, ' ');
    out += paint(ink, shown, colours);
    if (!right && !last) out.append(gap, ' ');
  };
  const auto end_line = [&out] {
    while (out.ends_with(' ')) out.pop_back();
    out += '\n';
  };
  for (std::size_t i = 0; i < columns_.size(); ++i) put(i, columns_[i].title, Ink::dim);
  end_line();
  // The last cell of a row, on as many lines as it takes; a narrow column has only blanks.
  const bool narrow = last_max < kWrapMin;
  const std::size_t indent = narrow ? kWrapIndent : before_last;
  const auto put_wrapped = [&](const Cell& cell) {
    const std::size_t all = width.value_or(kCellMax);
    const std::size_t room = narrow ? all - std::min(all, indent) : last_max;
    const std::vector<std::string> lines = wrapped(cell.text, room);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i > 0 || narrow) {
        end_line();
        out.append(indent, ' ');
      } else if (columns_.size() > 1) {
        out += kGap;
      }
      out += paint(cell.ink, lines[i], colours);
    }
  };
  for (const auto& row : rows_) {
    const bool fits = long_ == Long::cut || columns_of(row.back().text) <= last_max;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i + 1 == row.size() && !fits) {
        put_wrapped(row[i]);
      } else {
        put(i, row[i].text, row[i].ink);
      }
    }
    end_line();
  }
  return out;
}

void Facts::add(std::string_view name, Cell value) {
  facts_.emplace_back(std::string(name), std::move(value));
}

void Facts::add_if(std::string_view name, std::string value) {
  if (!value.empty()) add(name, Cell(std::move(value)));
}

std::string Facts::text(bool colours) const {
  std::size_t widest = 0;
  for (const auto& [name, value] : facts_) widest = std::max(widest, columns_of(name));
  std::string out;
  for (const auto& [name, value] : facts_) {
    out += paint(Ink::dim, name, colours);
    out.append(widest - columns_of(name) + kGap.size(), ' ');
    out += paint(value.ink, one_line(value.text, kCellMax), colours) + "\n";
  }
  return out;
}

}  // namespace rq::cli
