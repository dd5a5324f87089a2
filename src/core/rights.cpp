#include "core/rights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/names.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "core/name.h"

namespace rq::core {
namespace {

using base::Code;
using base::fail;
using base::Result;

constexpr std::array<std::string_view, kRights> kNames{"enqueue", "work",   "read",
                                                       "manage",  "define", "admin"};

// A pattern of queues has none of it.
constexpr std::string_view kBetweenGrants = ", ";

}  // namespace

std::string_view name_of(Right right) { return base::name_in(kNames, right); }

std::optional<Right> right_of(std::string_view name) { return base::value_of<Right>(kNames, name); }

std::string names_of_rights() { return fmt::format("{}", fmt::join(kNames, ", ")); }

Result<QueuePattern> QueuePattern::parse(std::string_view text) {
  const bool open = text.ends_with('*');
  const std::string_view start = text.substr(0, text.size() - (open ? 1 : 0));
  if (open && start.empty()) return all();
  if (start.find('*') != std::string_view::npos) {
    return fail(
        Code::bad_value,
        fmt::format("queue pattern '{}': a * may only be its last character", base::shown(text)),
        "write a queue, the beginning of names and * (mail-*), or * for all queues");
  }
  if (const auto checked = check_queue_name(start); !checked) {
    return fail(Code::bad_value,
                fmt::format("queue pattern '{}': {}", base::shown(text), checked.error().message),
                "write a queue, the beginning of names and * (mail-*), or * for all queues");
  }
  return QueuePattern(start, open);
}

Result<Grant> Grant::parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const std::optional<Right> right = right_of(name);
  if (!right) {
    const std::string meant = base::nearest(name, {kNames.begin(), kNames.end()});
    return fail(Code::bad_value, fmt::format("there is no right '{}'", base::shown(name)),
                fmt::format("{}the rights are {}",
                            meant.empty() ? "" : fmt::format("did you mean '{}'? ", meant),
                            names_of_rights()));
  }
  if (colon == std::string_view::npos) return Grant{.right = *right};
  RQ_TRY_ASSIGN(queues, QueuePattern::parse(text.substr(colon + 1)));
  return Grant{.right = *right, .queues = std::move(queues)};
}

std::string Grant::text() const {
  return queues.is_all() ? std::string(name_of(right))
                         : fmt::format("{}:{}", name_of(right), queues.text());
}

Rights Rights::all() {
  Rights rights;
  for (std::size_t i = 0; i < kRights; ++i) rights.add({.right = static_cast<Right>(i)});
  return rights;
}

void Rights::add(Grant grant) {
  const auto covers = [](const Grant& a, const Grant& b) {
    return a.right == b.right && a.queues.covers(b.queues);
  };
  for (const Grant& had : grants_) {
    if (covers(had, grant)) return;
  }
  std::erase_if(grants_, [&](const Grant& had) { return covers(grant, had); });
  somewhere_ |= bit(grant.right);
  if (grant.queues.is_all()) everywhere_ |= bit(grant.right);
  grants_.push_back(std::move(grant));
}

bool Rights::has_by_pattern(Right right, std::string_view queue) const {
  return std::any_of(grants_.begin(), grants_.end(), [&](const Grant& grant) {
    return grant.right == right && grant.queues.covers(queue);
  });
}

Result<Rights> Rights::parse(std::string_view text) {
  Rights rights;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(kBetweenGrants), text.size());
    RQ_TRY_ASSIGN(grant, Grant::parse(text.substr(0, end)));
    rights.add(std::move(grant));
    text.remove_prefix(std::min(end + kBetweenGrants.size(), text.size()));
  }
  return rights;
}

std::string Rights::text() const {
  std::string out;
  for (const Grant& grant : grants_) {
    if (!out.empty()) out += kBetweenGrants;
    out += grant.text();
  }
  return out;
}

const Grant* Rights::beyond(const Rights& other) const {
  for (const Grant& asked : other.grants_) {
    const bool covered = std::any_of(grants_.begin(), grants_.end(), [&](const Grant& own) {
      return own.right == asked.right && own.queues.covers(asked.queues);
    });
    if (!covered) return &asked;
  }
  return nullptr;
}

}  // namespace rq::core
