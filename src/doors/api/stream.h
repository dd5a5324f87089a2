#pragma once
// What the streams of Server-Sent Events have in common. A stream is the Extra of its exchange and
// ends with it.
#include <string>
#include <string_view>

#include "doors/api/http_door.h"

namespace rq::doors::api {

// "event: NAME\ndata: "; the data and an empty line follow.
inline void begin_event(std::string& out, std::string_view name) {
  out += "event: ";
  out += name;
  out += "\ndata: ";
}

class Stream : public Extra {
 public:
  // Counts it; false when there are too many, and then the request has been refused.
  [[nodiscard]] static bool room_for_one(Exchange& x) {
    if (x.door().begin_stream()) return true;
    x.refuse(base::fail(base::Code::busy, "too many event streams are open",
                        "close some, or follow several things with one stream"));
    return false;
  }

  // REQUIRES: room_for_one() was true.
  Stream(HttpDoor& door, const ExchangeId& id) : door_(door), id_(id) {}
  ~Stream() override { door_.end_stream(); }

 protected:
  [[nodiscard]] HttpDoor& door() { return door_; }
  [[nodiscard]] const ExchangeId& id() const { return id_; }
  void write(std::string_view text) {
    door_.with(id_, [text](Exchange& x) { x.write(text); });
  }
  // `this` is gone after it.
  void end() {
    door_.with(id_, [](Exchange& x) { x.end(); });
  }

 private:
  HttpDoor& door_;
  const ExchangeId id_;
};

}  // namespace rq::doors::api
