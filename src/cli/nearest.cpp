#include "cli/nearest.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/verb.h"

namespace rq::cli {

namespace {

constexpr std::size_t kPrefixMin = 3;  // letters; fewer begin too much

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
