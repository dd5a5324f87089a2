#pragma once
// The path of a unix socket, of any length. The address of one holds 107 bytes; a socket with a
// longer path is named from its folder, which is held open meanwhile.
#include <optional>
#include <string>
#include <utility>

#include "base/fd.h"

namespace rq::base {

class SocketPath {
 public:
  // None: errno says why; ENAMETOOLONG where its last part alone is too long.
  [[nodiscard]] static std::optional<SocketPath> of(const std::string& path);
  // For bind() and connect(), while this lives, in this process.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  SocketPath(Fd folder, std::string text) : folder_(std::move(folder)), text_(std::move(text)) {}

  Fd folder_;
  std::string text_;
};

}  // namespace rq::base
