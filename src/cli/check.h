#pragma once
// What rq doctor has found.
#include <sys/statvfs.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rq::cli {

// hint: the system is well, and somebody may want to see to it all the same.
enum class Finding : std::uint8_t { ok, hint, warning, bad };

struct Check {
  std::string what{};
  Finding finding = Finding::ok;
  std::string text{};
  std::string remedy{};  // empty: none is needed
};

// The disk that `dir` is on.
[[nodiscard]] bool is_read_only(const struct statvfs& disk);
[[nodiscard]] std::vector<Check> checks_of_disk(const std::string& dir, const struct statvfs& disk);

}  // namespace rq::cli
