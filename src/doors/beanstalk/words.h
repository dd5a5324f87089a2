#pragma once
// The protocol's word for each of our codes.
#include <string_view>

#include "base/error.h"

namespace rq::doors::beanstalk {

[[nodiscard]] std::string_view word_of(base::Code code);

}  // namespace rq::doors::beanstalk
