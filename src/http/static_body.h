#pragma once
// A body that is known when the server starts: a page, a script, a document. It has a tag, so that
// a client that has it already does not get it again.
#include <string>
#include <string_view>

#include "http/exchange.h"

namespace rq::http {

class StaticBody {
 public:
  // `bytes` must outlive it.
  StaticBody(std::string_view content_type, std::string_view bytes);

  // Replies with all of it, a range of it, or that it has not changed.
  void reply(Exchange& exchange, const Head& head) const;
  [[nodiscard]] const std::string& etag() const { return etag_; }

 private:
  std::string_view content_type_;
  std::string_view bytes_;
  std::string etag_;
};

}  // namespace rq::http
