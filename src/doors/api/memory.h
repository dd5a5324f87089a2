#pragma once
// The memory that a large request may take, out of what the server has for all of them.
#include <cstddef>

#include "base/result.h"
#include "doors/api/exchange.h"

namespace rq::doors::api {

class MemoryShare {
 public:
  explicit MemoryShare(Exchange& x) : door_(x.door()), id_(x.id()) {}

  // Makes sure of `bytes` in all. busy: there is not so much left.
  [[nodiscard]] base::Result<void> cover(std::size_t bytes);

 private:
  ApiDoor& door_;
  const ExchangeId id_;
  std::size_t covered_ = http::kFreeBodyBytes;
};

}  // namespace rq::doors::api
