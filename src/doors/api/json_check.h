#pragma once
// Checks that a text is one JSON value, piece by piece and without keeping any of it.
#include <memory>
#include <string_view>

#include "base/result.h"

namespace rq::doors::api {

class JsonCheck {
 public:
  JsonCheck();
  ~JsonCheck();
  JsonCheck(const JsonCheck&) = delete;
  JsonCheck& operator=(const JsonCheck&) = delete;

  [[nodiscard]] base::Result<void> feed(std::string_view piece);
  // At the end of the text.
  [[nodiscard]] base::Result<void> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rq::doors::api
