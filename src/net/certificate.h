#pragma once
// A certificate that nobody else has signed: for a first try, and for tests.
#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"

namespace rq::net {

struct SelfSigned {
  std::string certificate;  // PEM
  std::string key;          // PEM; whoever has it is the server
};

// `names`: of hosts, or addresses; one at least. bad_value when one is neither.
[[nodiscard]] base::Result<SelfSigned> make_self_signed(const std::vector<std::string>& names,
                                                        std::chrono::days lasts);

}  // namespace rq::net
