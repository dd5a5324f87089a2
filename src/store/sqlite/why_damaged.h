#pragma once
// What the start of a store would fail at.
#include <filesystem>
#include <string>

#include "base/result.h"
#include "store/sqlite/raw_file.h"

namespace rq::store::sqlite {

struct WhyDamaged {
  std::string why;  // it has to be rebuilt; empty: it reads well
  bool can_be_served = true;
};
// `roots`: where its tables began when it was last opened. Other faults are the opening's own
// business. The store is not open.
[[nodiscard]] base::Result<WhyDamaged> why_damaged(const std::filesystem::path& file,
                                                   const RawFile::Roots& roots);

}  // namespace rq::store::sqlite
