#pragma once
// One request and its reply, as a handler sees it: replying is http's, asking the engine and the
// readers is added here. Made on the spot and never kept: who must come back later keeps its
// ExchangeId, and finds the exchange again if the client is still there (ApiDoor::with).
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <boost/json/object.hpp>

#include "base/result.h"
#include "core/command.h"
#include "http/exchange.h"
#include "pipeline/readers.h"

namespace rq::doors::api {

class ApiDoor;
class Exchange;
using http::ExchangeId;
using http::Extra;
using http::Request;

// Renders the engine's answer; gets an Error only after ask_raw().
using Renderer = void (*)(Exchange&, core::Reply&);

// What the door keeps of an exchange that has asked: who renders the answer, and what the handler
// keeps itself.
struct Asked final : Extra {
  explicit Asked(ApiDoor& to, std::uint64_t of) : door(to), connection(of) {}
  ~Asked() override;
  void on_drained() override {
    if (kept) kept->on_drained();
  }

  ApiDoor& door;
  const std::uint64_t connection;
  Renderer render = nullptr;
  bool raw = false;                          // errors go to `render` too
  bool waits = false;                        // a reserve that may wait in the engine
  std::shared_ptr<pipeline::Wanted> search;  // it ends when nobody waits for it
  std::unique_ptr<Extra> kept;
};

class Exchange : public http::Exchange {
 public:
  Exchange(ApiDoor& door, const http::Exchange& exchange) : http::Exchange(exchange), door_(door) {}

  [[nodiscard]] ApiDoor& door() const { return door_; }
  // What the handler keeps between the steps of the exchange.
  [[nodiscard]] Extra* extra() const { return asked().kept.get(); }
  void keep(std::unique_ptr<Extra> extra) { asked().kept = std::move(extra); }

  void reply_json(int status, std::string_view body) { reply(status, "application/json", body); }
  // The body as one JSON object; an empty body counts as {}. Valid during the handler.
  [[nodiscard]] base::Result<const boost::json::object*> json(const Request& request) const;
  // What that was parsed from.
  [[nodiscard]] static std::string_view json_text(const Request& request);

  // --- Asking ---
  // The engine; its answer goes to `render`, an error straight to the client.
  void ask(core::Command&& command, Renderer render);
  // As ask(), but an error goes to `render` as well. May be called several times: the answers come
  // in the order of the commands.
  void ask_raw(core::Command&& command, Renderer render);
  // As ask(), for a reserve that may wait: when the client goes, the engine is told.
  void ask_waiting(core::Command&& command, Renderer render);
  // A reader thread runs look(reader); then(exchange, result) is called on the loop, if the client
  // is still there. Both must be copyable, and own what they use. False: no reader has time, and
  // the exchange has been ended; what it kept is gone.
  template <typename Look, typename Then>
  bool look_up(Look look, Then then);
  // As look_up(), for a page of messages: those that look for one do not wait for it.
  template <typename Look, typename Then>
  bool look_up_many(Look look, Then then);
  // As look_up(), for what may read much of the store: the quick ones do not wait for it, and it
  // ends when the client goes.
  template <typename Look, typename Then>
  bool search(Look look, Then then);

 private:
  [[nodiscard]] Asked& asked() const;
  template <typename Look, typename Then>
  pipeline::Readers::Lookup lookup_of(Look look, Then then);
  bool post_lookup(pipeline::Readers::Lookup lookup,
                   pipeline::Readers::Kind kind = pipeline::Readers::Kind::quick);
  void submit(core::Command&& command);

  ApiDoor& door_;
};

[[nodiscard]] std::string error_json(const base::Error& error);
void append_error_object(std::string& out, const base::Error& error);  // {"code":...}

}  // namespace rq::doors::api
