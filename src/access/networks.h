#pragma once
// Lists of addresses and networks: "10.0.0.7", "10.0.0.0/8", "fd00::/8".
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "base/result.h"

namespace rq::access {

class Network {
 public:
  // bad_value: it is neither an address nor a network, or the network has bits behind its prefix.
  [[nodiscard]] static base::Result<Network> parse(std::string_view text);
  [[nodiscard]] bool has(const boost::asio::ip::address& address) const;
  [[nodiscard]] const std::string& text() const { return text_; }
  friend bool operator==(const Network&, const Network&) = default;

 private:
  std::string text_;
  boost::asio::ip::address_v6::bytes_type bytes_{};  // an IPv4 address as one that is mapped
  unsigned bits_ = 0;                                // of the prefix
};

// An address as it is written; absent: it is none. One of IPv4 that came in over IPv6 is one of
// IPv4.
[[nodiscard]] std::optional<boost::asio::ip::address> parse_address(std::string_view text);
// Of a request that comes through proxies: who has sent it, as far as those that are trusted say.
// `peer` is one of them, `forwarded` the list of X-Forwarded-For: each of them has added at its end
// whom it has it from. From the right, the first that is not trusted counts (pitfalls NA12).
[[nodiscard]] std::string client_address(const std::vector<Network>& trusted, std::string peer,
                                         std::string_view forwarded);
[[nodiscard]] bool is_in(const std::vector<Network>& networks, std::string_view address);

}  // namespace rq::access
