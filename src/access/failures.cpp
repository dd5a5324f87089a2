#include "access/failures.h"

#include <algorithm>
#include <utility>

#include <boost/asio/ip/address.hpp>

namespace rq::access {
namespace {

// Whoever has one address of IPv6 has all of its network.
std::string network_of(std::string_view address) {
  boost::system::error_code none;
  const auto read = boost::asio::ip::make_address(std::string(address), none);
  if (none || !read.is_v6()) return std::string(address);
  auto bytes = read.to_v6().to_bytes();
  std::fill(bytes.begin() + bytes.size() / 2, bytes.end(), std::uint8_t{0});
  return boost::asio::ip::make_address_v6(bytes).to_string();
}

base::Millis wait_after(std::uint32_t failures) {
  if (failures <= kFailuresFree) return base::Millis{0};
  constexpr std::uint32_t kDoublingsMax = 16;
  const std::uint32_t doublings = std::min(failures - kFailuresFree - 1, kDoublingsMax);
  return std::min(kFailureWaitMin * (1 << doublings), kFailureWaitMax);
}

}  // namespace

base::Millis Failures::note(std::string_view address, base::Instant now) {
  if (young_.size() >= kAddressesMax / 2) {
    old_ = std::move(young_);
    young_.clear();
  }
  const std::string network = network_of(address);
  const auto [found, is_new] = young_.try_emplace(network);
  Count& count = found->second;
  if (is_new) {
    if (const auto before = old_.find(network); before != old_.end()) {
      count = before->second;
      old_.erase(before);
    }
  }
  if (now - count.last >= kFailureForgotten) count.failures = 0;
  ++count.failures;
  count.last = now;
  return wait_after(count.failures);
}

}  // namespace rq::access
