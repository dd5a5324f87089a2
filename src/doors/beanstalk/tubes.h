#pragma once
// The tubes that connections use or watch now, and `default`. A tube is there while a client refers
// to it or it holds a job; its queue is made by the first put or reserve. A queue that was left
// empty is deleted before the tube is made again, and with it its pause and its figures.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "base/time.h"

namespace rq::doors::beanstalk {

inline constexpr std::string_view kDefaultTube = "default";

struct Tube {
  std::string name;
  std::string queue;         // under which its messages are kept
  std::uint64_t number = 0;  // in the order in which they were made
  base::Instant made{};
  std::int64_t users = 0;     // connections that use it
  std::int64_t watchers = 0;  // connections that watch it
  std::int64_t pauses = 0;    // pause-tube commands while it was referred to
  std::int64_t paused_s = 0;  // by the last of them
};

class Tubes {
 public:
  Tubes();

  // The tube, made if need be; the caller counts itself in and out. bad_name when it is no name.
  [[nodiscard]] base::Result<Tube*> get(std::string_view name, base::Instant now);
  [[nodiscard]] Tube* find(std::string_view name) const;
  // After a count went down: the tube goes when nobody refers to it.
  void release(Tube& tube);
  template <typename Visit>
  void each(Visit visit) const {
    for (const auto& [name, tube] : tubes_) visit(*tube);
  }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  std::unordered_map<std::string, std::unique_ptr<Tube>, Hash, std::equal_to<>> tubes_;
  std::uint64_t made_ = 0;
};

}  // namespace rq::doors::beanstalk
