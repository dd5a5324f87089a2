#pragma once
// Result<T> is a value or an Error, with the member names of std::expected (which g++ 12 has only
// in C++23 mode and clang 14 not at all). Refusals and faults travel as values; bugs abort
// (check.h).
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"
#include "base/error.h"

namespace rq::base {

// Makes an Error in one line: return fail(Code::not_found, "no queue 'x'", "create it").
[[nodiscard]] inline Error fail(Code code, std::string message, std::string remedy = {}) {
  return Error{code, std::move(message), std::move(remedy)};
}

// An error that lies elsewhere: it is rare, and what comes instead of it is small and often moved.
class ErrorBox {
 public:
  explicit ErrorBox(Error error) : error_(std::make_unique<Error>(std::move(error))) {}
  ErrorBox(const ErrorBox& other) : error_(std::make_unique<Error>(*other.error_)) {}
  ErrorBox(ErrorBox&&) noexcept = default;
  ErrorBox& operator=(const ErrorBox& other) { return *this = ErrorBox(other); }
  ErrorBox& operator=(ErrorBox&&) noexcept = default;
  ~ErrorBox() = default;

  [[nodiscard]] Error& operator*() { return *error_; }
  [[nodiscard]] const Error& operator*() const { return *error_; }

 private:
  std::unique_ptr<Error> error_;  // null: moved from
};

template <typename T>
class [[nodiscard]] Result {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): return value; and return fail(...); read best
  Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor): return value; and return fail(...); read best
  Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool has_value() const { return held_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  // REQUIRES: has_value().
  [[nodiscard]] T& value() & {
    RQ_CHECK(has_value());
    return *std::get_if<0>(&held_);
  }
  [[nodiscard]] const T& value() const& {
    RQ_CHECK(has_value());
    return *std::get_if<0>(&held_);
  }
  [[nodiscard]] T&& value() && {
    RQ_CHECK(has_value());
    return std::move(*std::get_if<0>(&held_));
  }
  [[nodiscard]] T& operator*() & { return value(); }
  [[nodiscard]] const T& operator*() const& { return value(); }
  [[nodiscard]] T&& operator*() && { return std::move(*this).value(); }
  [[nodiscard]] T* operator->() { return &value(); }
  [[nodiscard]] const T* operator->() const { return &value(); }

  // REQUIRES: !has_value().
  [[nodiscard]] const Error& error() const& {
    RQ_CHECK(!has_value());
    return **std::get_if<1>(&held_);
  }
  [[nodiscard]] Error&& error() && {
    RQ_CHECK(!has_value());
    return std::move(**std::get_if<1>(&held_));
  }

 private:
  std::variant<T, ErrorBox> held_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): as above
  Result(Error error) : error_(std::in_place, std::move(error)) {}

  [[nodiscard]] bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  // REQUIRES: !has_value().
  [[nodiscard]] const Error& error() const& {
    RQ_CHECK(error_.has_value());
    return **error_;
  }
  [[nodiscard]] Error&& error() && {
    RQ_CHECK(error_.has_value());
    return std::move(**error_);
  }

 private:
  std::optional<ErrorBox> error_;
};

}  // namespace rq::base

// Returns the error of `expr` (a Result) from the calling function, if it has one.
#define RQ_TRY(expr)                                                                          \
  do {                                                                                        \
    if (auto rq_try_result = (expr); !rq_try_result) return std::move(rq_try_result).error(); \
  } while (false)

// Declares `var` with the value of `expr`, or returns its error.
#define RQ_TRY_ASSIGN(var, expr)                             \
  auto var##_result = (expr);                                \
  if (!var##_result) return std::move(var##_result).error(); \
  auto var = std::move(var##_result).value()
