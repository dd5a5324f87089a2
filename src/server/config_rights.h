#pragma once
// What rq.toml says of rights: lists of them, and tables of users, groups and certificates.
#include <string>
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

// A text, or a list of texts.
[[nodiscard]] base::Result<std::vector<std::string>> read_texts(std::string_view where,
                                                                const toml::node& value);
// A table of lists of rights, by what names a client's certificate.
[[nodiscard]] base::Result<std::vector<access::Policy::Certificate>> read_certificates(
    std::string_view where, const toml::node& value);

enum class Who : bool { users, groups };
// A table of such lists, by name or number. Names are looked up now.
[[nodiscard]] base::Result<std::vector<access::Policy::Users>> read_people(std::string_view where,
                                                                           const toml::node& value,
                                                                           Who who);

}  // namespace rq::server
