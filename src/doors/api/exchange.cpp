#include "doors/api/exchange.h"

#include "base/json_writer.h"
#include "doors/api/api_door.h"
#include "doors/api/json_sink.h"
#include "doors/api/stream.h"

namespace rq::doors::api {

using base::append_json_string;

void append_error_object(std::string& out, const base::Error& error) {
  out += R"({"code":)";
  append_json_string(out, base::name_of(error.code));
  out += R"(,"message":)";
  append_json_string(out, error.message);
  out += R"(,"remedy":)";
  append_json_string(out, error.remedy);
  out += '}';
}

std::string error_json(const base::Error& error) {
  std::string out = R"({"error":)";
  append_error_object(out, error);
  out += '}';
  return out;
}

// The client has gone: its search ends, and the engine forgets its reserve.
Asked::~Asked() {
  if (search) search->give_up();
  if (!waits) return;
  door.desk().submit({.door = door.door_number(), .connection = connection, .request = 0},
                     core::Disconnect{});
}

Asked& Exchange::asked() const {
  if (http::Exchange::extra() == nullptr) {
    http::Exchange mine = *this;
    mine.keep(std::make_unique<Asked>(door_, id().connection));
  }
  return static_cast<Asked&>(*http::Exchange::extra());
}

base::Result<const boost::json::object*> Exchange::json(const Request& request) const {
  if (request.sink != nullptr) return static_cast<JsonSink*>(request.sink)->object();
  return door_.json().parse_object(request.body);
}

std::string_view Exchange::json_text(const Request& request) {
  if (request.sink != nullptr) return static_cast<const JsonSink*>(request.sink)->text();
  return request.body;
}

void Exchange::ask(core::Command&& command, Renderer render) {
  Asked& asking = asked();
  asking.raw = false;
  asking.render = render;
  submit(std::move(command));
}

void Exchange::ask_raw(core::Command&& command, Renderer render) {
  Asked& asking = asked();
  asking.raw = true;
  asking.render = render;
  submit(std::move(command));
}

void Exchange::ask_waiting(core::Command&& command, Renderer render) {
  watch_peer();
  asked().waits = true;
  ask(std::move(command), render);
}

void Exchange::submit(core::Command&& command) {
  const ExchangeId who = id();
  core::Ticket ticket{
      .door = door_.door_number(), .connection = who.connection, .request = who.request};
  if (caller().uid) ticket.caller_uid = *caller().uid;
  door_.desk().submit(ticket, std::move(command));
}

bool Exchange::post_lookup(pipeline::Readers::Lookup lookup, pipeline::Readers::Kind kind) {
  std::shared_ptr<pipeline::Wanted> wanted;
  if (kind == pipeline::Readers::Kind::search) {
    watch_peer();
    wanted = std::make_shared<pipeline::Wanted>();
    asked().search = wanted;
  }
  if (door_.readers().post(std::move(lookup), kind, std::move(wanted))) return true;
  const base::Error error = base::fail(base::Code::busy, "too many look-ups are waiting",
                                       "repeat the request in a moment");
  // A stream that cannot go on ends as a stream: its head is long gone.
  if (begun()) {
    end_events(*this, error);
  } else {
    refuse(error);
  }
  return false;
}

}  // namespace rq::doors::api
