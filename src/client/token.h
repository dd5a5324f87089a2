#pragma once
// The token that a client shows, and where it comes from: a file, or the environment. It is never
// an argument: the list of processes shows those to everybody.
#include <filesystem>
#include <string>

#include "base/result.h"
#include "client/server.h"

namespace rq::client {

// Of the first line of the file. forbidden: others of this machine can read it, too.
[[nodiscard]] base::Result<std::string> read_token_file(const std::filesystem::path& file);
// Takes RQ_TOKEN out of the environment, also where the kernel shows it; empty: it is not there.
[[nodiscard]] std::string take_token_from_environment();

// `file`, else RQ_TOKEN_FILE, else RQ_TOKEN; empty: there is none.
[[nodiscard]] base::Result<std::string> find_token(const std::string& file);

// forbidden: it would go over a network for everybody to read.
[[nodiscard]] base::Result<void> show_token(Server& server, std::string token);

}  // namespace rq::client
