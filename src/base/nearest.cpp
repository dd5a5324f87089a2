#include "base/nearest.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace rq::base {
namespace {

// How many slips apart two words are: a letter too many, too few or wrong, or two that changed
// places.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::swap(before, last);
    std::swap(last, row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = a[i - 1] == b[j - 1];
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0U : 1U)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& names) {
  std::string best;
  // Further off, it is a guess; of a short word nearly everything is near.
  std::size_t best_distance = std::min<std::size_t>(word.size() / 3, 2) + 1;
  for (const std::string& name : names) {
    const std::size_t apart = distance(word, name);
    if (apart < best_distance) {
      best_distance = apart;
      best = name;
    }
  }
  return best;
}

}  // namespace rq::base
