#pragma once
// Where a store lives in a test, and the list of all stores that the suites run on. The suites name
// no store: stores_test.cpp does.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "core/store.h"

namespace rq::store::contract {

// One place where a store lives, empty at first; gone with the object.
class Home {
 public:
  virtual ~Home() = default;
  // A store on it, not open yet. The one before must be gone, unless crash() was called.
  virtual std::unique_ptr<Store> make() = 0;
  virtual std::unique_ptr<Reader> reader() = 0;
  // From now on make() and reader() see what a death of the process at this moment leaves.
  virtual void crash() = 0;
  // What its own checker says is wrong.
  virtual std::vector<std::string> findings() = 0;
  // All that it holds, as text: the same for the same content.
  virtual std::string dump() = 0;
};

struct Factory {
  std::string name;
  std::function<std::unique_ptr<Home>()> make;
};
inline void PrintTo(const Factory& factory, std::ostream* out) { *out << factory.name; }

[[nodiscard]] std::vector<Factory> all_stores();

// For INSTANTIATE_TEST_SUITE_P(Stores, SUITE, testing::ValuesIn(all_stores()), factory_name).
[[nodiscard]] inline std::string factory_name(const testing::TestParamInfo<Factory>& info) {
  return info.param.name;
}

}  // namespace rq::store::contract
