#include "doors/api/memory.h"

#include "doors/api/api_door.h"

namespace rq::doors::api {

base::Result<void> MemoryShare::cover(std::size_t bytes) {
  if (bytes <= covered_) return {};
  const std::size_t wanted = (bytes / http::kMiB + 1) * http::kMiB;  // not for every small piece
  bool got = false;
  door_.with(id_, [&](Exchange& x) { got = x.grow_share(wanted); });
  if (!got) {
    return base::fail(base::Code::busy, "the server has no memory left for large requests",
                      "repeat the request in a moment, or send it in parts");
  }
  covered_ = wanted;
  return {};
}

}  // namespace rq::doors::api
