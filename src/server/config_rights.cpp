#include "server/config_rights.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/certificate.h"
#include "base/number.h"
#include "base/utf8.h"

namespace rq::server {
namespace {

using base::Code;
using base::fail;
using base::Result;

// Only while the configuration is read, by one thread.
std::optional<std::uint32_t> number_of(const std::string& name, Who who) {
  if (const auto number = base::whole_number<std::uint32_t>(name)) return number;
  if (who == Who::groups) {
    const group* const found = ::getgrnam(name.c_str());  // NOLINT(concurrency-mt-unsafe): as said
    return found == nullptr ? std::nullopt : std::optional<std::uint32_t>(found->gr_gid);
  }
  const passwd* const found = ::getpwnam(name.c_str());  // NOLINT(concurrency-mt-unsafe): as said
  return found == nullptr ? std::nullopt : std::optional<std::uint32_t>(found->pw_uid);
}

}  // namespace

Result<core::Rights> read_rights(std::string_view where, const toml::node& value) {
  constexpr std::string_view kExample = R"(give a list of texts: ["enqueue:mail-*", "read"])";
  const toml::array* const list = value.as_array();
  if (list == nullptr) {
    return fail(Code::bad_value, fmt::format("{} has a value of the wrong kind", where),
                std::string(kExample));
  }
  core::Rights rights;
  for (const toml::node& element : *list) {
    const auto text = element.value_exact<std::string_view>();
    if (!text) {
      return fail(Code::bad_value, fmt::format("{} holds what is no text", where),
                  std::string(kExample));
    }
    auto grant = core::Grant::parse(*text);
    if (!grant) {
      return fail(Code::bad_value, fmt::format("{}: {}", where, grant.error().message),
                  grant.error().remedy);
    }
    rights.add(*std::move(grant));
  }
  return rights;
}

Result<std::vector<std::string>> read_texts(std::string_view where, const toml::node& value) {
  const auto wrong = [where] {
    return fail(Code::bad_value, fmt::format("{} has a value of the wrong kind", where),
                "give a text in quotes, or a list of them: [\"A\", \"B\"]");
  };
  if (const auto text = value.value_exact<std::string>()) return std::vector{*text};
  const toml::array* const list = value.as_array();
  if (list == nullptr) return wrong();
  std::vector<std::string> texts;
  for (const toml::node& element : *list) {
    const auto text = element.value_exact<std::string>();
    if (!text) return wrong();
    texts.push_back(*text);
  }
  return texts;
}

Result<std::vector<access::Policy::Certificate>> read_certificates(std::string_view where,
                                                                   const toml::node& value) {
  constexpr std::string_view kExample =
      "give a table: [certificates] and below it lines as \"DNS:worker-1.example.org\" = "
      "[\"work\"]";
  const toml::table* const table = value.as_table();
  if (table == nullptr) {
    return fail(Code::bad_value, fmt::format("{} has a value of the wrong kind", where),
                std::string(kExample));
  }
  std::vector<access::Policy::Certificate> rows;
  for (const auto& [key, rights] : *table) {
    const std::string name(key.str());
    const bool is_name = name.starts_with("DNS:") || name.starts_with("URI:");
    if (!is_name && !base::is_fingerprint(name)) {
      return fail(Code::bad_value,
                  fmt::format("{}: '{}' names no certificate", where, base::shown(name)),
                  "give sha256:DIGITS of its key, DNS:NAME or URI:NAME, as it stands in it");
    }
    RQ_TRY_ASSIGN(theirs, read_rights(fmt::format("{}.{}", where, name), rights));
    rows.push_back({.name = name, .rights = std::move(theirs)});
  }
  return rows;
}

Result<std::vector<access::Policy::Users>> read_people(std::string_view where,
                                                       const toml::node& value, Who who) {
  const std::string_view kind = who == Who::groups ? "group" : "user";
  const toml::table* const table = value.as_table();
  if (table == nullptr) {
    return fail(Code::bad_value, fmt::format("{} has a value of the wrong kind", where),
                fmt::format("give a table: [{}s] and below it lines as NAME = [\"read\"]", kind));
  }
  std::vector<access::Policy::Users> people;
  for (const auto& [key, rights] : *table) {
    const std::string name(key.str());
    const auto id = number_of(name, who);
    if (!id) {
      return fail(
          Code::bad_value,
          fmt::format("{}: there is no {} '{}' on this machine", where, kind, base::shown(name)),
          fmt::format("give the name or the number of a {}", kind));
    }
    RQ_TRY_ASSIGN(theirs, read_rights(fmt::format("{}.{}", where, name), rights));
    people.push_back(
        {.name = name, .group = who == Who::groups, .id = *id, .rights = std::move(theirs)});
  }
  return people;
}

}  // namespace rq::server
