#pragma once
// What rq put and rq run say alike of a new message: when, how urgent, how often, which tags.
#include <CLI/App.hpp>
#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace rq::cli {

struct PutOptions {
  std::optional<base::Millis> delay, timeout;
  std::string at;
  std::optional<std::int64_t> priority, retries;
  std::vector<std::string> tags;

  // The options --delay, --at and so on.
  void declare(CLI::App& app);
  // The fields of the put that were given.
  [[nodiscard]] base::Result<boost::json::object> fields() const;
};

}  // namespace rq::cli
