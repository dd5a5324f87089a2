#pragma once
// Parses JSON into a tree, and refuses an object that has a field twice: of two values one is lost,
// and which one differs from program to program. What rq only carries for others, a payload or a
// result, is left as it stands.
#include <cstddef>
#include <memory>
#include <string_view>

#include <boost/json/storage_ptr.hpp>
#include <boost/json/value.hpp>
#include <boost/system/error_code.hpp>

#include "base/result.h"

namespace rq::doors::api {

class StrictParser {
 public:
  // For what it needs meanwhile; may be empty.
  struct Memory {
    unsigned char* data = nullptr;
    std::size_t bytes = 0;
  };
  explicit StrictParser(Memory memory);
  ~StrictParser();
  StrictParser(const StrictParser&) = delete;
  StrictParser& operator=(const StrictParser&) = delete;

  // Forgets what it has; the next tree will live there.
  void reset(boost::json::storage_ptr storage = {});
  // `more`: the text may go on. Gives how much of it was read.
  std::size_t write(bool more, std::string_view piece, boost::system::error_code& error);
  // REQUIRES: the text is whole, without an error. `text`: all of it, to name what is there twice.
  [[nodiscard]] base::Result<boost::json::value> release(std::string_view text);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rq::doors::api
