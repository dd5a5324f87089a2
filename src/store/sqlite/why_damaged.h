#pragma once
// What the start of a store would fail at.
#include <filesystem>
#include <string>

#include "base/result.h"

namespace rq::store::sqlite {

// Why it has to be rebuilt; empty: it reads well. Other faults are the opening's own business. The
// store is not open.
[[nodiscard]] base::Result<std::string> why_damaged(const std::filesystem::path& file);

}  // namespace rq::store::sqlite
