#pragma once
// Deletes a folder with all that is in it, however deep and however much, with three descriptors.
// Links are deleted, never followed.
#include <filesystem>
#include <functional>

#include "base/result.h"

namespace rq::base {

// A folder that is not there is deleted. What cannot be deleted does not keep the rest: the error
// names the first of it. `stop` is asked now and then; when it is true, what is left stays, with
// timed_out.
[[nodiscard]] Result<void> remove_tree(const std::filesystem::path& folder,
                                       const std::function<bool()>& stop);

}  // namespace rq::base
