#include "client/token.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

namespace rq::client {

using base::Code;
using base::fail;
using base::Result;

namespace {

constexpr std::size_t kTokenBytesMax = 1'024;

// What may stand in a field of a request: a line break would begin another one.
Result<std::string> checked(std::string token, std::string_view from) {
  const bool good = !token.empty() && token.size() <= kTokenBytesMax &&
                    std::ranges::all_of(token, [](char c) { return c > ' ' && c < '\x7f'; });
  if (good) return token;
  return fail(Code::bad_value, fmt::format("{} holds no token", from),
              "it is one line, as rq token create has printed it: rq_...");
}

}  // namespace

Result<std::string> read_token_file(const std::filesystem::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return fail(Code::not_found, fmt::format("there is no token file {}", file.string()),
                "rq token create NAME --right ... > FILE makes one, where the server runs");
  }
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return fail(Code::forbidden,
                fmt::format("others of this machine can read the token file {}", file.string()),
                fmt::format("chmod 600 {}", file.string()));
  }
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return checked(std::move(line), file.string());
}

std::string take_token_from_environment() {
  char* const value = std::getenv("RQ_TOKEN");  // NOLINT(concurrency-mt-unsafe): at the start
  if (value == nullptr) return {};
  std::string token(value);
  std::memset(value, 'x', token.size());  // /proc/PID/environ is this very memory
  ::unsetenv("RQ_TOKEN");                 // NOLINT(concurrency-mt-unsafe): as said
  return token;
}

Result<std::string> find_token(const std::string& file) {
  std::string from_environment = take_token_from_environment();
  if (!file.empty()) return read_token_file(file);
  const char* const named = std::getenv("RQ_TOKEN_FILE");  // NOLINT(concurrency-mt-unsafe): as said
  if (named != nullptr && *named != '\0') return read_token_file(named);
  if (from_environment.empty()) return std::string();
  return checked(std::move(from_environment), "RQ_TOKEN");
}

Result<void> show_token(Server& server, std::string token) {
  const std::string& host = server.address.tcp.host;
  const bool is_safe = server.address.tls || !server.address.socket_path.empty() ||
                       host == "localhost" || host == "::1" || host.starts_with("127.");
  if (!token.empty() && !is_safe) {
    return fail(
        Code::forbidden, fmt::format("the token would go to {} unencrypted", server.address.text()),
        "use https://, or a tunnel (ssh -L 3333:127.0.0.1:3333 HOST) and http://127.0.0.1:3333");
  }
  server.token = std::move(token);
  return {};
}

}  // namespace rq::client
