#pragma once
// What a caller may do. Each right holds for the queues that a pattern names; what concerns no
// queue in particular needs a right for all of them. Every route and every verb of a foreign
// protocol names the right it needs, in the table where it is declared.
//
// What a message's id leads to is only known where the message is: so the rights of a caller go
// with the command, and the engine asks them.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace rq::core {

enum class Right : std::uint8_t {
  enqueue,  // put messages
  work,     // reserve them and end them
  read,     // see queues, messages, logs, what happens
  manage,   // act on messages; pause queues
  define,   // make, change and delete queues: who may, decides what programs run
  admin,    // the server itself: tokens, what callers did
};
inline constexpr std::size_t kRights = 6;
[[nodiscard]] std::string_view name_of(Right right);
[[nodiscard]] std::optional<Right> right_of(std::string_view name);
// "enqueue, work, ...": for errors and help.
[[nodiscard]] std::string names_of_rights();

// One queue by its name, all whose names begin alike ("mail-*"), or all ("*"). Bytes are compared.
class QueuePattern {
 public:
  // bad_value: a * elsewhere than at the end, or a name that no queue can have.
  [[nodiscard]] static base::Result<QueuePattern> parse(std::string_view text);
  [[nodiscard]] static QueuePattern all() { return QueuePattern("", true); }

  [[nodiscard]] bool covers(std::string_view queue) const {
    return open_ ? queue.starts_with(start_) : queue == start_;
  }
  // Every queue of the other one is one of this.
  [[nodiscard]] bool covers(const QueuePattern& other) const {
    return open_ ? other.start_.starts_with(start_) : !other.open_ && other.start_ == start_;
  }
  [[nodiscard]] bool is_all() const { return open_ && start_.empty(); }
  [[nodiscard]] std::string text() const { return open_ ? start_ + "*" : start_; }
  friend bool operator==(const QueuePattern&, const QueuePattern&) = default;

 private:
  QueuePattern(std::string_view start, bool open) : start_(start), open_(open) {}
  std::string start_;
  bool open_;  // whatever comes after it
};

struct Grant {
  Right right = Right::read;
  QueuePattern queues = QueuePattern::all();

  // "read", "enqueue:mail-*"
  [[nodiscard]] static base::Result<Grant> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  friend bool operator==(const Grant&, const Grant&) = default;
};

class Rights {
 public:
  Rights() = default;  // none
  [[nodiscard]] static Rights all();

  void add(Grant grant);
  // For this queue.
  [[nodiscard]] bool has(Right right, std::string_view queue) const {
    return has_everywhere(right) || has_by_pattern(right, queue);
  }
  [[nodiscard]] bool has_everywhere(Right right) const { return (everywhere_ & bit(right)) != 0; }
  // For one queue at least, perhaps one that is not there.
  [[nodiscard]] bool has_somewhere(Right right) const { return (somewhere_ & bit(right)) != 0; }
  [[nodiscard]] bool is_none() const { return somewhere_ == 0; }
  // The first grant of the other that goes beyond these.
  [[nodiscard]] const Grant* beyond(const Rights& other) const;
  [[nodiscard]] const std::vector<Grant>& grants() const { return grants_; }
  // "enqueue:mail-*, read", and back.
  [[nodiscard]] static base::Result<Rights> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  friend bool operator==(const Rights&, const Rights&) = default;

 private:
  static constexpr std::uint8_t bit(Right right) {
    return static_cast<std::uint8_t>(1U << static_cast<unsigned>(right));
  }
  [[nodiscard]] bool has_by_pattern(Right right, std::string_view queue) const;

  std::vector<Grant> grants_;  // what another one covers is left out
  std::uint8_t everywhere_ = 0;
  std::uint8_t somewhere_ = 0;
};

}  // namespace rq::core
