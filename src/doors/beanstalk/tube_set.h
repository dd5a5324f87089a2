#pragma once
// The tubes that one connection uses and watches.
// Thread: the loop's.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "core/command.h"
#include "doors/beanstalk/tubes.h"

namespace rq::doors::beanstalk {

class TubeSet {
 public:
  // Uses and watches `default`.
  explicit TubeSet(Tubes& tubes);
  ~TubeSet();
  TubeSet(const TubeSet&) = delete;
  TubeSet& operator=(const TubeSet&) = delete;

  [[nodiscard]] const Tube& used() const { return *used_; }
  [[nodiscard]] const std::vector<Tube*>& watched() const { return watched_; }
  // What a reserve takes from.
  [[nodiscard]] std::shared_ptr<const std::vector<core::ReserveQueue>> queues();

  enum class Change : std::uint8_t {
    none,  // it is so already
    done,
    refused,  // no name of a tube; the last one may not be ignored
    full,     // watches as many as it may
  };
  Change use(std::string_view name, base::Instant now);
  Change watch(std::string_view name, base::Instant now);
  Change ignore(std::string_view name);

 private:
  Tubes& tubes_;
  Tube* used_;
  std::vector<Tube*> watched_;
  std::shared_ptr<const std::vector<core::ReserveQueue>> queues_;  // null: to be made
};

}  // namespace rq::doors::beanstalk
