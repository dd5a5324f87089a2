#pragma once
// Which server a client talks to, and how to write what it asks.
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"

namespace rq::client {

struct Server {
  base::ServerAddress address;
  std::string remedy;  // what to do when nobody answers there

  // For errors: the path of the socket, or "http://HOST:PORT".
  [[nodiscard]] std::string name() const;
};
// What base::parse_server_address() takes.
[[nodiscard]] base::Result<Server> parse_server(std::string_view text);
[[nodiscard]] Server server_of_dir(const std::string& dir);  // DIR/run/rq.sock

// One character set for paths and queries: letters, digits and -._~ stay, all else is %XX.
[[nodiscard]] std::string url_encode(std::string_view text);
// "/v1/queues/NAME" and what is below it.
[[nodiscard]] std::string queue_path(std::string_view queue, std::string_view below = {});

// A query string, put together piece by piece.
class Query {
 public:
  Query& add(std::string_view name, std::string_view value);
  Query& add_if(std::string_view name, std::string_view value);  // nothing when empty
  [[nodiscard]] std::string on(std::string path) const;

 private:
  std::string text_;
};

}  // namespace rq::client
