#include "doors/api/json_check.h"

#include <cstddef>
#include <cstdint>
#include <limits>

#include <boost/json/basic_parser_impl.hpp>

#include "doors/api/json_reader.h"

namespace rq::doors::api {
namespace {

namespace json = boost::json;
using Text = json::string_view;
using Error = boost::system::error_code;

// Looks at everything and keeps nothing.
struct Ignore {
  static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_array_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_key_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_string_size = std::numeric_limits<std::size_t>::max();

  static bool on_document_begin(Error&) { return true; }
  static bool on_document_end(Error&) { return true; }
  static bool on_object_begin(Error&) { return true; }
  static bool on_object_end(std::size_t, Error&) { return true; }
  static bool on_array_begin(Error&) { return true; }
  static bool on_array_end(std::size_t, Error&) { return true; }
  static bool on_key_part(Text, std::size_t, Error&) { return true; }
  static bool on_key(Text, std::size_t, Error&) { return true; }
  static bool on_string_part(Text, std::size_t, Error&) { return true; }
  static bool on_string(Text, std::size_t, Error&) { return true; }
  static bool on_number_part(Text, Error&) { return true; }
  static bool on_int64(std::int64_t, Text, Error&) { return true; }
  static bool on_uint64(std::uint64_t, Text, Error&) { return true; }
  static bool on_double(double, Text, Error&) { return true; }
  static bool on_bool(bool, Error&) { return true; }
  static bool on_null(Error&) { return true; }
  static bool on_comment_part(Text, Error&) { return true; }
  static bool on_comment(Text, Error&) { return true; }
};

}  // namespace

struct JsonCheck::Impl {
  base::Result<void> write(bool more, std::string_view piece) {
    Error error;
    const std::size_t used = parser.write_some(more, piece.data(), piece.size(), error);
    if (!error && used < piece.size()) error = json::error::extra_data;
    bytes += used;
    if (error) return json_error(error, bytes);
    return {};
  }

  json::basic_parser<Ignore> parser{json_options()};
  std::size_t bytes = 0;
};

JsonCheck::JsonCheck() : impl_(std::make_unique<Impl>()) {}
JsonCheck::~JsonCheck() = default;

base::Result<void> JsonCheck::feed(std::string_view piece) { return impl_->write(true, piece); }
base::Result<void> JsonCheck::finish() { return impl_->write(false, {}); }

}  // namespace rq::doors::api
