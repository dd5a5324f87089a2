#pragma once
// Neighbouring requests of one kind go to the engine as one command.
// Thread: the loop's.
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/time.h"
#include "core/command.h"
#include "doors/beanstalk/host.h"
#include "doors/beanstalk/reply_slots.h"
#include "doors/beanstalk/tube_set.h"

namespace rq::doors::beanstalk {

class Neighbours {
 public:
  Neighbours(Host& host, ReplySlots& slots, TubeSet& tubes, std::uint64_t connection)
      : host_(host), slots_(slots), tubes_(tubes), connection_(connection) {}

  // The next request joins its neighbours, or is the first of its kind. Its slot comes next.
  core::Put& add_put();
  core::Finish::Item& add_finish();
  core::Heartbeat::Item& add_touch();
  void add_reserve(std::optional<base::Instant> until);
  // As many reserves as one command may have.
  [[nodiscard]] bool full() const;

  // Sends what there is.
  void flush();

 private:
  enum class Kind : std::uint8_t { none, put, reserve, finish, touch };

  void open(Kind kind);
  [[nodiscard]] core::Reserve take_reserves();

  Host& host_;
  ReplySlots& slots_;
  TubeSet& tubes_;
  const std::uint64_t connection_;
  Kind kind_ = Kind::none;
  std::uint64_t first_ = 0;  // the request of the first
  core::PutMany puts_;
  core::Finish finishes_;
  core::Heartbeat touches_;
  std::uint32_t reserves_ = 0;
  std::optional<base::Instant> reserve_until_;
};

}  // namespace rq::doors::beanstalk
