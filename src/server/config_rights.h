#pragma once
// What rq.toml says of rights: lists of them, and tables of users and groups.
#include <string_view>
#include <vector>

#include "access/callers.h"
#include "base/result.h"
#include "core/rights.h"
#include "server/toml.h"

namespace rq::server {

// ["enqueue:mail-*", "read"]; `where` begins the errors.
[[nodiscard]] base::Result<core::Rights> read_rights(std::string_view where,
                                                     const toml::node& value);

enum class Who : bool { users, groups };
// A table of such lists, by name or number. Names are looked up now.
[[nodiscard]] base::Result<std::vector<access::Policy::Users>> read_people(std::string_view where,
                                                                           const toml::node& value,
                                                                           Who who);

}  // namespace rq::server
