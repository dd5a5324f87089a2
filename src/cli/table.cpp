#include "cli/table.h"

#include <algorithm>

#include "base/check.h"
#include "cli/text.h"

namespace rq::cli {
namespace {
constexpr std::string_view kGap = "  ";
constexpr std::size_t kLastMin = 10;  // a last column narrower than this says nothing
constexpr std::size_t kCellMax = 2000;
// Of a cell in a list so many lines of the terminal; one that is not a line longer stays whole.
constexpr std::size_t kListLines = 2;
constexpr std::size_t kColumnMin = 10;  // a column that is cut keeps this
// The first column says which one it is: others are cut before it.
constexpr std::size_t kFirstKeeps = 12;

// Widths of all columns but the last, so that they come to no more than `width` with their gaps, if
// that can be: the widest are cut.
void shrink(std::vector<std::size_t>& widths, std::size_t width) {
  const auto sum = [&widths] {
    std::size_t columns = 0;
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) columns += widths[i] + kGap.size();
    return columns;
  };
  while (sum() > width) {
    std::size_t* widest = nullptr;
    std::size_t most = kColumnMin;
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
      const std::size_t kept = i == 0 ? kFirstKeeps : 0;
      if (widths[i] <= most + kept) continue;
      widest = &widths[i];
      most = widths[i] - kept;
    }
    if (widest == nullptr) return;
    --*widest;
  }
}

void end_line(std::string& out) {
  while (out.ends_with(' ')) out.pop_back();
  out += '\n';
}
}  // namespace

void Table::add(std::vector<Cell> row) {
  RQ_CHECK(row.size() == columns_.size());
  for (Cell& cell : row) cell.text = one_line(cell.text, kCellMax);
  rows_.push_back(std::move(row));
}

std::vector<std::size_t> Table::widths(std::optional<std::size_t> width) const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t widest = columns_of(columns_[i].title);
    for (const auto& row : rows_) widest = std::max(widest, columns_of(row[i].text));
    widths.push_back(widest);
  }
  // Elsewhere the last cells may stand below; not so their title.
  const std::size_t of_last = long_ == Long::cut ? kLastMin : columns_of(columns_.back().title);
  if (width) shrink(widths, *width - std::min(*width, of_last));
  return widths;
}

void Table::put(std::string& out, std::size_t column, std::size_t width, const Cell& cell,
                bool colours) const {
  const std::string shown =
      columns_of(cell.text) > width ? middle_cut(cell.text, width) : cell.text;
  const std::string gap(width - std::min(width, columns_of(shown)), ' ');
  const bool right = columns_[column].align == Align::right;
  if (right) out += gap;
  out += paint(cell.ink, shown, colours);
  if (!right) out += gap;
  out += kGap;
}

void Table::put_last(std::string& out, std::size_t before, std::optional<std::size_t> width,
                     const Cell& cell, bool colours) const {
  std::string shown = cell.text;
  if (width && long_ == Long::cut) {
    shown = middle_cut(shown, std::max(kLastMin, *width > before ? *width - before : 0));
  } else if (width && long_ == Long::list) {
    const bool whole = columns_of(shown) <= (kListLines + 1) * *width;
    if (!whole) shown = middle_cut(shown, kListLines * *width);
    shown = indented(shown, before, width, LongWords::broken);
  } else {
    shown = indented(shown, before, width);
  }
  if (shown.starts_with('\n')) end_line(out);
  out += paint(cell.ink, shown.substr(shown.starts_with('\n') ? 1 : 0), colours);
}

std::string Table::text(bool colours, std::optional<std::size_t> width) const {
  const std::vector<std::size_t> wide = widths(width);
  const std::size_t last = columns_.size() - 1;
  std::size_t before = 0;
  for (std::size_t i = 0; i < last; ++i) before += wide[i] + kGap.size();

  std::string out;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    put(out, i, wide[i], {columns_[i].title, Ink::dim}, colours);
  }
  end_line(out);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < last; ++i) put(out, i, wide[i], row[i], colours);
    if (columns_[last].align == Align::right) {
      put(out, last, wide[last], row[last], colours);
    } else {
      put_last(out, before, width, row[last], colours);
    }
    end_line(out);
  }
  return out;
}

void Facts::add(std::string_view name, Cell value) {
  facts_.emplace_back(std::string(name), std::move(value));
}

void Facts::add_if(std::string_view name, std::string value) {
  if (!value.empty()) add(name, Cell(std::move(value)));
}

std::string Facts::text(bool colours, std::optional<std::size_t> width) const {
  std::size_t widest = 0;
  for (const auto& [name, value] : facts_) widest = std::max(widest, columns_of(name));
  std::string out;
  for (const auto& [name, value] : facts_) {
    out += paint(Ink::dim, name, colours);
    out.append(widest - columns_of(name) + kGap.size(), ' ');
    const std::string text = one_line(value.text, kCellMax);
    out += paint(value.ink, indented(text, widest + kGap.size(), width), colours) + "\n";
  }
  return out;
}

}  // namespace rq::cli
