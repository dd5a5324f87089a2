#include "worker/roster.h"

#include <spdlog/spdlog.h>

#include <boost/json.hpp>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "worker/verdict.h"

namespace rq::worker {
namespace {

namespace json = boost::json;
using base::Code;
using base::Millis;
using base::Result;
using boost::system::error_code;
using client::Reply;

constexpr Millis kReloadDelay{500};
constexpr Millis kScriptCheckEvery{500};  // while a script is not to be run

Result<json::value> body_of(const Result<Reply>& reply) {
  return reply ? client::json_of(*reply) : reply.error();
}

}  // namespace

Roster::Roster(boost::asio::io_context& io, client::HttpClient& client, std::string dir,
               Station::Probe probe, Listener listener)
    : io_(io),
      client_(client),
      dir_(std::move(dir)),
      probe_(std::move(probe)),
      listener_(std::move(listener)),
      load_timer_(io),
      error_timer_(io) {}

void Roster::get(std::string target, client::Done done) {
  client_.send(
      {.target = std::move(target), .done = std::move(done), .retry = client::Retry::once});
}

void Roster::pause() {
  loading_ = false;
  load_timer_.cancel();
}

void Roster::load_all() {
  loading_ = true;
  get("/v1/queues", [this](const Result<Reply>& reply) { loaded(reply); });
}

void Roster::loaded(const Result<Reply>& reply) {
  const Result<json::value> value = body_of(reply);
  const json::value* list =
      value && value->is_object() ? value->get_object().if_contains("queues") : nullptr;
  if (list == nullptr || !list->is_array()) {
    if (!loading_) return;
    load_timer_.expires_after(kReloadDelay);
    load_timer_.async_wait([this](const error_code& error) {
      if (!error) load_all();
    });
    return;
  }
  loading_ = false;
  std::unordered_set<std::string> there;
  for (const json::value& item : list->get_array()) {
    Result<QueueView> view = parse_queue(item);
    if (!view) {
      spdlog::error("a queue cannot be read: {}", view.error().message);
      continue;
    }
    there.insert(view->name);
    apply(*std::move(view));
  }
  std::vector<std::string> gone;
  for (const auto& [name, station] : stations_) {
    if (there.count(name) == 0) gone.push_back(name);
  }
  for (const std::string& name : gone) remove(name);
  listener_.on_loaded();
}

StationPtr Roster::make(const std::string& queue) {
  StationPtr& station = stations_[queue];
  if (!station) station = std::make_shared<Station>(io_, dir_, QueueView{.name = queue});
  return station;
}

void Roster::load(const std::string& queue) {
  get(client::queue_path(queue), [this, queue](const Result<Reply>& reply) {
    const Result<json::value> value = body_of(reply);
    if (!value) {
      if (value.error().code == Code::not_found) remove(queue);
      return;
    }
    Result<QueueView> view = parse_queue(*value);
    if (!view) {
      spdlog::error("queue '{}' cannot be read: {}", queue, view.error().message);
      return;
    }
    apply(*std::move(view));
  });
}

void Roster::apply(QueueView view) {
  const auto found = stations_.find(view.name);
  if (view.settings.script.empty()) {
    if (found != stations_.end()) remove(view.name);
    return;
  }
  if (found == stations_.end()) {
    const auto station = std::make_shared<Station>(io_, dir_, std::move(view));
    stations_.emplace(station->name(), station);
    set_error(station, station->examine(probe_));
    return;
  }
  const StationPtr station = found->second;
  if (station->update(std::move(view))) {
    set_error(station, station->examine(probe_));
  } else {
    tell_error(station);
    listener_.on_changed(station);
  }
}

void Roster::remove(const std::string& queue) {
  const auto found = stations_.find(queue);
  if (found == stations_.end()) return;
  const StationPtr station = found->second;
  station->removed = true;
  stations_.erase(found);
  listener_.on_closed(station);
}

void Roster::set_error(const StationPtr& station, std::string error) {
  if (error != station->error) {
    if (error.empty()) {
      spdlog::info("queue '{}': its script can be run again", station->name());
    } else {
      spdlog::error("queue '{}': {}", station->name(), error);
    }
  }
  station->error = std::move(error);
  tell_error(station);
  if (station->error.empty()) {
    listener_.on_changed(station);
  } else {
    listener_.on_closed(station);
    watch_errors();
  }
}

void Roster::tell_error(const StationPtr& station) {
  if (station->telling || station->removed || station->server_knows_error()) return;
  station->telling = true;
  json::object body;
  if (station->error.empty()) {
    body["error"] = nullptr;
  } else {
    body["error"] = clean_text(station->error, base::kTextBytesMax, Keep::start);
  }
  client_.send(
      client::post_json(client::queue_path(station->name(), "/script-error"), json::serialize(body),
                        [this, station, told = station->error](const Result<Reply>& reply) {
                          station->telling = false;
                          // Else the greeting of the next server, or the next change,
                          // tells it.
                          if (!reply || !reply->is_success()) return;
                          station->server_knows(told);
                          tell_error(station);
                          if (station->error.empty()) listener_.on_changed(station);
                        }));
}

void Roster::watch_errors() {
  if (error_timer_armed_) return;
  error_timer_armed_ = true;
  error_timer_.expires_after(kScriptCheckEvery);
  error_timer_.async_wait([this](const error_code& failed) {
    error_timer_armed_ = false;
    if (failed) return;
    std::vector<StationPtr> closed;
    for (const auto& [name, station] : stations_) {
      if (!station->error.empty()) closed.push_back(station);
    }
    for (const StationPtr& station : closed) set_error(station, station->examine(probe_));
  });
}

}  // namespace rq::worker
