#include "client/server.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "base/percent.h"

namespace rq::client {

std::string Server::name() const {
  return address.socket_path.empty() ? address.text() : address.socket_path;
}

base::Result<Server> parse_server(std::string_view text) {
  RQ_TRY_ASSIGN(address, base::parse_server_address(text));
  const std::string& path = address.socket_path;
  std::error_code error;
  std::string remedy =
      path.empty() ? fmt::format("start one: rq server --http {}", address.tcp.text())
      : std::filesystem::is_directory(path, error)
          ? fmt::format("it is a folder: for a server's directory say --dir {}", path)
          : "start a server there, or name another with --dir or --server";
  return Server{.address = std::move(address), .remedy = std::move(remedy)};
}

Server server_of_dir(const std::string& dir) {
  return {.address = {.socket_path = dir + "/run/rq.sock", .tcp = {}},
          .remedy = fmt::format("start one: rq server --dir {}   (or name another: --dir DIR, "
                                "--server URL|unix:PATH, RQ_DIR, RQ_SERVER)",
                                dir)};
}

std::string url_encode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      base::append_percent(out, c);
    }
  }
  return out;
}

std::string queue_path(std::string_view queue, std::string_view below) {
  return fmt::format("/v1/queues/{}{}", url_encode(queue), below);
}

Query& Query::add(std::string_view name, std::string_view value) {
  text_ += text_.empty() ? '?' : '&';
  text_ += name;
  text_ += '=';
  text_ += url_encode(value);
  return *this;
}

Query& Query::add_if(std::string_view name, std::string_view value) {
  return value.empty() ? *this : add(name, value);
}

std::string Query::on(std::string path) const { return std::move(path) + text_; }

}  // namespace rq::client
