#include "access/networks.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/number.h"
#include "base/utf8.h"

namespace rq::access {
namespace {

namespace ip = boost::asio::ip;
using base::Code;
using base::fail;

constexpr unsigned kBits = 128;
constexpr unsigned kBitsOfV4 = 32;

ip::address_v6::bytes_type bytes_of(const ip::address& address) {
  if (address.is_v6()) return address.to_v6().to_bytes();
  return ip::make_address_v6(ip::v4_mapped, address.to_v4()).to_bytes();
}

// The first `bits` of both are the same.
bool agree(const ip::address_v6::bytes_type& a, const ip::address_v6::bytes_type& b,
           unsigned bits) {
  for (std::size_t i = 0; bits > 0; ++i) {
    const unsigned here = std::min(bits, 8U);
    const auto mask = static_cast<unsigned char>(0xFFU << (8U - here));
    if ((a[i] & mask) != (b[i] & mask)) return false;
    bits -= here;
  }
  return true;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t from = std::min(text.find_first_not_of(" \t"), text.size());
  return text.substr(from, text.find_last_not_of(" \t") + 1 - from);
}

// "10.0.0.7:4711", "[::1]:4711", "[::1]"
std::string_view without_port(std::string_view text) {
  if (text.starts_with('[')) return text.substr(1, text.find(']') - 1);
  const std::size_t colon = text.find(':');
  const bool is_port = colon != std::string_view::npos && text.rfind(':') == colon;
  return is_port ? text.substr(0, colon) : text;
}

}  // namespace

std::optional<ip::address> parse_address(std::string_view text) {
  boost::system::error_code none;
  const ip::address address = ip::make_address(std::string(text), none);
  if (none) return std::nullopt;
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return ip::make_address_v4(ip::v4_mapped, address.to_v6());
  }
  return address;
}

base::Result<Network> Network::parse(std::string_view text) {
  const auto bad = [text](std::string_view why) {
    return fail(Code::bad_value,
                fmt::format("'{}' is no address and no network: {}", base::shown(text), why),
                "give them as 10.0.0.7, 10.0.0.0/8 or fd00::/8");
  };
  const std::size_t slash = text.find('/');
  const auto address = parse_address(text.substr(0, slash));
  if (!address) return bad("it begins with no address");
  const unsigned all = address->is_v4() ? kBitsOfV4 : kBits;
  unsigned bits = all;
  if (slash != std::string_view::npos) {
    const auto given = base::whole_number<unsigned>(text.substr(slash + 1));
    if (!given || *given > all) return bad(fmt::format("its prefix has at most {} bits", all));
    bits = *given;
  }
  Network out;
  out.text_ = text;
  out.bytes_ = bytes_of(*address);
  out.bits_ = kBits - all + bits;
  ip::address_v6::bytes_type rest = out.bytes_;
  for (unsigned bit = 0; bit < out.bits_; ++bit) {
    rest[bit / 8] = static_cast<unsigned char>(rest[bit / 8] & ~(0x80U >> (bit % 8)));
  }
  if (std::any_of(rest.begin(), rest.end(), [](unsigned char byte) { return byte != 0; })) {
    return bad("it has bits behind its prefix");
  }
  return out;
}

bool Network::has(const ip::address& address) const {
  return agree(bytes_, bytes_of(address), bits_);
}

std::string client_address(const std::vector<Network>& trusted, std::string peer,
                           std::string_view forwarded) {
  std::string from = std::move(peer);
  while (!forwarded.empty() && is_in(trusted, from)) {
    const std::size_t comma = forwarded.rfind(',');
    const std::size_t begins = comma == std::string_view::npos ? 0 : comma + 1;
    const auto address = parse_address(without_port(trimmed(forwarded.substr(begins))));
    if (!address) return from;
    from = address->to_string();
    forwarded = forwarded.substr(0, begins == 0 ? 0 : comma);
  }
  return from;
}

bool is_in(const std::vector<Network>& networks, std::string_view address) {
  const auto parsed = parse_address(address);
  return parsed && std::any_of(networks.begin(), networks.end(),
                               [&](const Network& network) { return network.has(*parsed); });
}

}  // namespace rq::access
