#pragma once
// A value that lives on the heap and is used like any other value: copied with its holder, equal
// when the values are. For the large and rare member of a type of which there are many.
#include <memory>
#include <type_traits>
#include <utility>

namespace rq::base {

template <typename T>
class Boxed {
 public:
  Boxed() : value_(std::make_unique<T>()) {}
  // NOLINTNEXTLINE(google-explicit-constructor): a value goes into its box without ceremony
  Boxed(T value) : value_(std::make_unique<T>(std::move(value))) {}
  Boxed(const Boxed& other) requires std::is_copy_constructible_v<T>
      : value_(std::make_unique<T>(*other.value_)) {}
  Boxed& operator=(const Boxed& other) requires std::is_copy_constructible_v<T> {
    if (this != &other) value_ = std::make_unique<T>(*other.value_);
    return *this;
  }
  // What was moved from may only be assigned to or destroyed.
  Boxed(Boxed&&) noexcept = default;
  Boxed& operator=(Boxed&&) noexcept = default;
  ~Boxed() = default;

  [[nodiscard]] T& operator*() { return *value_; }
  [[nodiscard]] const T& operator*() const { return *value_; }
  [[nodiscard]] T* operator->() { return value_.get(); }
  [[nodiscard]] const T* operator->() const { return value_.get(); }

  friend bool operator==(const Boxed& a, const Boxed& b) { return *a == *b; }

 private:
  std::unique_ptr<T> value_;
};

}  // namespace rq::base
