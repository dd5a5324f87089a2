#include "doors/api/strict_parser.h"

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value_stack.hpp>

#include "base/utf8.h"
#include "doors/api/json_reader.h"

namespace rq::doors::api {
namespace {

namespace json = boost::json;
using base::Code;
using base::fail;
using Text = json::string_view;
using Error = boost::system::error_code;

// Fields whose values are taken as they stand.
bool is_carried(std::string_view name) { return name == "payload_json" || name == "result"; }

std::string_view view(Text text) { return {text.data(), text.size()}; }

// Whose fields the parser is among: says of each whether it counts.
class Places {
 public:
  void enter() { ++depth_; }
  void leave() {
    if (carried_ == depth_) carried_ = 0;
    --depth_;
  }
  bool counts(std::string_view name) {
    if (carried_ != 0 && depth_ > carried_) return false;
    carried_ = is_carried(name) ? depth_ : 0;
    return true;
  }

 private:
  std::size_t depth_ = 0;
  std::size_t carried_ = 0;  // depth of the field whose value is carried; 0: none
};

// The name of a field, however many pieces it comes in.
class Name {
 public:
  void part(Text piece) { before_ += view(piece); }
  template <typename Use>
  void end(Text piece, const Use& use) {
    if (before_.empty()) return use(view(piece));
    before_ += view(piece);
    use(std::string_view(before_));
    before_.clear();
  }

 private:
  std::string before_;
};

// Makes the tree, and counts the names of fields that were said.
struct Tree {
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();

  explicit Tree(StrictParser::Memory memory) : stack({}, memory.data, memory.bytes) {}

  json::value_stack stack;
  Places places;
  Name name;
  std::size_t names = 0;

  bool on_document_begin(Error&) { return true; }
  bool on_document_end(Error&) { return true; }
  bool on_object_begin(Error&) {
    places.enter();
    return true;
  }
  bool on_object_end(std::size_t n, Error&) {
    places.leave();
    stack.push_object(n);
    return true;
  }
  bool on_array_begin(Error&) {
    places.enter();
    return true;
  }
  bool on_array_end(std::size_t n, Error&) {
    places.leave();
    stack.push_array(n);
    return true;
  }
  bool on_key_part(Text piece, std::size_t, Error&) {
    name.part(piece);
    stack.push_chars(piece);
    return true;
  }
  bool on_key(Text piece, std::size_t, Error&) {
    name.end(piece, [this](std::string_view whole) { names += places.counts(whole) ? 1U : 0U; });
    stack.push_key(piece);
    return true;
  }
  bool on_string_part(Text piece, std::size_t, Error&) {
    stack.push_chars(piece);
    return true;
  }
  bool on_string(Text piece, std::size_t, Error&) {
    stack.push_string(piece);
    return true;
  }
  bool on_number_part(Text, Error&) { return true; }
  bool on_int64(std::int64_t number, Text, Error&) {
    stack.push_int64(number);
    return true;
  }
  bool on_uint64(std::uint64_t number, Text, Error&) {
    stack.push_uint64(number);
    return true;
  }
  bool on_double(double number, Text, Error&) {
    stack.push_double(number);
    return true;
  }
  bool on_bool(bool flag, Error&) {
    stack.push_bool(flag);
    return true;
  }
  bool on_null(Error&) {
    stack.push_null();
    return true;
  }
  bool on_comment_part(Text, Error&) { return true; }
  bool on_comment(Text, Error&) { return true; }
};

// Finds the name that is there twice.
struct Finder {
  static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_array_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_key_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_string_size = std::numeric_limits<std::size_t>::max();

  std::vector<std::set<std::string, std::less<>>> open;  // names of the objects around
  Places places;
  Name name;
  std::string twice;

  bool enter() {
    places.enter();
    open.emplace_back();
    return true;
  }
  bool leave() {
    places.leave();
    open.pop_back();
    return true;
  }
  bool on_document_begin(Error&) { return true; }
  bool on_document_end(Error&) { return true; }
  bool on_object_begin(Error&) { return enter(); }
  bool on_object_end(std::size_t, Error&) { return leave(); }
  bool on_array_begin(Error&) { return enter(); }
  bool on_array_end(std::size_t, Error&) { return leave(); }
  bool on_key_part(Text piece, std::size_t, Error&) {
    name.part(piece);
    return true;
  }
  bool on_key(Text piece, std::size_t, Error&) {
    name.end(piece, [this](std::string_view whole) {
      const bool is_new = !places.counts(whole) || open.back().emplace(whole).second;
      if (!is_new && twice.empty()) twice = whole;
    });
    return true;
  }
  bool on_string_part(Text, std::size_t, Error&) { return true; }
  bool on_string(Text, std::size_t, Error&) { return true; }
  bool on_number_part(Text, Error&) { return true; }
  bool on_int64(std::int64_t, Text, Error&) { return true; }
  bool on_uint64(std::uint64_t, Text, Error&) { return true; }
  bool on_double(double, Text, Error&) { return true; }
  bool on_bool(bool, Error&) { return true; }
  bool on_null(Error&) { return true; }
  bool on_comment_part(Text, Error&) { return true; }
  bool on_comment(Text, Error&) { return true; }
};

// The names of fields that the tree has. As deep as the parser lets it be.
std::size_t names_in(const json::value& value) {
  std::size_t names = 0;
  if (const json::array* list = value.if_array()) {
    for (const json::value& item : *list) names += names_in(item);
  } else if (const json::object* object = value.if_object()) {
    names = object->size();
    for (const auto& [name, inner] : *object) {
      if (!inner.is_structured() || is_carried(view(name))) continue;
      names += names_in(inner);
    }
  }
  return names;
}

base::Error given_twice(std::string_view text) {
  json::basic_parser<Finder> parser{json_options()};
  Error error;
  parser.write_some(false, text.data(), text.size(), error);
  return fail(Code::bad_value,
              fmt::format("the field '{}' is there twice", base::shown(parser.handler().twice)),
              "give it once");
}

}  // namespace

struct StrictParser::Impl {
  explicit Impl(Memory memory) : parser(json_options(), memory) {}
  json::basic_parser<Tree> parser;
};

StrictParser::StrictParser(Memory memory) : impl_(std::make_unique<Impl>(memory)) {}
StrictParser::~StrictParser() = default;

void StrictParser::reset(json::storage_ptr storage) {
  impl_->parser.reset();
  Tree& tree = impl_->parser.handler();
  tree.stack.reset(std::move(storage));
  tree.places = {};
  tree.name = {};
  tree.names = 0;
}

std::size_t StrictParser::write(bool more, std::string_view piece, Error& error) {
  const std::size_t used = impl_->parser.write_some(more, piece.data(), piece.size(), error);
  if (!error && used < piece.size()) error = json::error::extra_data;
  return used;
}

base::Result<json::value> StrictParser::release(std::string_view text) {
  Tree& tree = impl_->parser.handler();
  json::value value = tree.stack.release();
  if (names_in(value) != tree.names) return given_twice(text);
  return value;
}

}  // namespace rq::doors::api
