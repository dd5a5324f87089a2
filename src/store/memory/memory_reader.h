#pragma once
// Looks things up in a store in memory.
#include <memory>

#include "store/memory/disk.h"

namespace rq::store::memory {

[[nodiscard]] std::unique_ptr<Reader> make_reader(std::shared_ptr<const Disk> disk);

}  // namespace rq::store::memory
