#pragma once
// What the streams of Server-Sent Events have in common. A stream is what its exchange keeps, and
// ends with it.
#include <string>
#include <string_view>

#include "doors/api/api_door.h"

namespace rq::doors::api {

// "event: NAME\ndata: "; the data and an empty line follow.
void begin_event(std::string& out, std::string_view name);
// Ends a stream that cannot go on: its last event is the error.
void end_events(Exchange& x, const base::Error& error);

class Stream : public Extra {
 public:
  // Counts it; false when there are too many, and then the request has been refused.
  [[nodiscard]] static bool room_for_one(Exchange& x) {
    if (x.server().begin_stream()) return true;
    x.refuse(base::fail(base::Code::busy, "too many event streams are open",
                        "close some, or follow several things with one stream"));
    return false;
  }

  // REQUIRES: room_for_one() was true.
  Stream(ApiDoor& door, const ExchangeId& id) : door_(door), id_(id) {}
  ~Stream() override { door_.server().end_stream(); }

 protected:
  [[nodiscard]] ApiDoor& door() { return door_; }
  [[nodiscard]] const ExchangeId& id() const { return id_; }
  void write(std::string_view text) {
    door_.with(id_, [text](Exchange& x) { x.write(text); });
  }
  // `this` is gone after it.
  void end() {
    door_.with(id_, [](Exchange& x) { x.end(); });
  }

 private:
  ApiDoor& door_;
  const ExchangeId id_;
};

}  // namespace rq::doors::api
