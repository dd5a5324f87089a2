#include "doors/api/stream.h"

namespace rq::doors::api {

void begin_event(std::string& out, std::string_view name) {
  out += "event: ";
  out += name;
  out += "\ndata: ";
}

void end_events(Exchange& x, const base::Error& error) {
  std::string text;
  begin_event(text, "error");
  text += error_json(error);
  text += "\n\n";
  x.write(text);
  x.end();
}

}  // namespace rq::doors::api
