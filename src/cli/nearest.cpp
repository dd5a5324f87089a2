#include "cli/nearest.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/verb.h"

namespace rq::cli {

namespace {

constexpr std::size_t kPrefixMin = 3;  // letters; fewer begin too much

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

struct OtherName {
  std::string_view said;
  std::string_view meant;
};

// What other programs call an option; of several the first that the verb has.
constexpr OtherName kOtherOptions[] = {
    {"-d", "--dir"},
    {"-q", "--queue"},
    {"-s", "--script"},
    {"-s", "--server"},
    {"-w", "--wait"},
    {"--concurrency", "--num-workers"},
    {"--force", "--replace"},
    {"--force", "--yes"},
    {"--overwrite", "--replace"},
    {"--retry", "--retries"},
    {"--since", "--after"},
    {"--until", "--before"},
    {"--workers", "--num-workers"},
    {"--timeout", "--wait-timeout"},
};

constexpr OtherName kOtherStates[] = {
    {"active", "run"},      {"buried", "err"},        {"canceled", "cancelled"},
    {"dead", "err"},        {"delayed", "scheduled"}, {"error", "err"},
    {"errors", "err"},      {"fail", "err"},          {"failed", "err"},
    {"failure", "err"},     {"finished", "done"},     {"ok", "done"},
    {"pending", "que"},     {"queued", "que"},        {"ready", "que"},
    {"retry", "scheduled"}, {"running", "run"},       {"success", "done"},
    {"waiting", "que"},
};

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

std::string nearest_option(const CLI::App& app, std::string_view word) {
  std::vector<std::string> names;
  for (const CLI::Option* known : app.get_options()) {
    for (const std::string& name : known->get_lnames()) names.push_back("--" + name);
  }
  const auto is_there = [&names](std::string_view name) {
    return std::ranges::find(names, name) != names.end();
  };
  const auto* const other = std::ranges::find_if(kOtherOptions, [&](const OtherName& name) {
    return name.said == word && is_there(name.meant);
  });
  if (other != std::end(kOtherOptions)) return std::string(other->meant);
  if (!word.starts_with("--")) return {};
  const auto begins = [word](const std::string& name) { return name.starts_with(word); };
  if (word.size() >= kPrefixMin + 2 && std::ranges::count_if(names, begins) == 1) {
    return *std::ranges::find_if(names, begins);
  }
  return nearest(word, names);
}

std::string_view state_meant(std::string_view word) {
  const auto* const other = std::ranges::find(kOtherStates, word, &OtherName::said);
  return other == std::end(kOtherStates) ? std::string_view{} : other->meant;
}

std::string nearest_queue(client::Client& client, std::string_view name) {
  const auto answer = client.get("/v1/queues", {"queues"});
  if (!answer) return {};  // it is a hint
  std::vector<std::string> names;
  for (const json::value& queue : items_at(*answer, "queues")) {
    names.push_back(text_at(queue, "name"));
  }
  return nearest(name, names);
}

base::Error with_nearest_queue(client::Client& client, std::string_view queue, base::Error error) {
  if (error.code != base::Code::not_found || queue.empty()) return error;
  // It may be a message that is not there.
  if (error.message.find(fmt::format("queue '{}'", queue)) == std::string::npos) return error;
  const std::string meant = nearest_queue(client, queue);
  if (!meant.empty()) error.remedy = fmt::format("did you mean '{}'? {}", meant, error.remedy);
  return error;
}

}  // namespace rq::cli
