// The half of the worker's loop that follows the server: which queues there are, what they run, and
// how many messages to ask for.
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/json.hpp>
#include <cerrno>
#include <fstream>
#include <utility>

#include "base/limits.h"
#include "client/limits.h"
#include "worker/loop.h"

namespace rq::worker {
namespace {

namespace json = boost::json;
using base::Code;
using base::fail;
using base::Millis;
using base::Result;
using boost::system::error_code;
using client::Reply;

constexpr std::int64_t kAheadMax = 64;  // messages of one queue, leased ahead of their slots

constexpr int kReserveWaitSeconds = 60;
constexpr Millis kReserveTimeout{(kReserveWaitSeconds + 15) * 1000};
constexpr Millis kReloadDelay{500};
constexpr Millis kScriptCheckEvery{500};  // while a script is not to be run
constexpr std::size_t kUserBufferBytes = 64 * base::kKiB;

// Result of a GET that should have a JSON body.
Result<json::value> body_of(const Result<Reply>& reply) {
  if (!reply) return reply.error();
  if (reply->status != 200) return client::error_of(*reply);
  return parse_json(reply->body);
}

std::string text_in(const json::value& value, std::string_view name) {
  const json::value* found = value.is_object() ? value.get_object().if_contains(name) : nullptr;
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : std::string();
}

}  // namespace

void Loop::on_event(std::string_view event, std::string_view data) {
  if (event == "hello") {
    greet();
    return;
  }
  const Result<json::value> value = parse_json(data);
  if (!value) return;
  if (event == "stop") {
    const json::value* seq = value->is_object() ? value->get_object().if_contains("seq") : nullptr;
    if (seq == nullptr || !seq->is_number()) return;
    const auto number = seq->to_number<std::int64_t>();
    // The one that runs, or the one that waits for its folder.
    for (const auto* map : {&by_seq_, &waiting_}) {
      const auto found = map->find(number);
      if (found == map->end() || found->second->lost) continue;
      stop_attempt(found->second->message.token);
      return;
    }
    return;
  }
  const std::string queue = text_in(*value, "queue");
  if (event == "queue") load_queue(queue);
  if (event == "queue_removed") remove_station(queue);
}

void Loop::on_down() {
  if (connected_) spdlog::warn("the server is gone; scripts go on, their ends are kept for it");
  connected_ = false;
  for (const auto& [name, station] : stations_) give_back_ahead(*station);
  end_if_done();
}

// A server is there, for the first time or again. First it hears which leases live, so that none is
// given out twice; then what has ended meanwhile; then new ones are taken.
void Loop::greet() {
  end_timer_.cancel();
  reporter_.retry_now();
  reporter_.beat_all([this] {
    if (!connected_) spdlog::info("worker '{}' has its server", facts_.name);
    connected_ = true;
    if (!facts_.base_url_fixed) {
      // The server writes where it listens; on another machine's directory there is no such file.
      std::ifstream file(facts_.dir + "/run/http.addr");
      std::string address;
      if (std::getline(file, address) && !address.empty()) {
        facts_.worker.base_url = fmt::format("http://{}/", address);
      }
    }
    load_queues();
  });
}

void Loop::get(std::string target, client::Done done) {
  client_.send(
      {.target = std::move(target), .done = std::move(done), .retry = client::Retry::once});
}

void Loop::post(std::string target, std::string body, client::Done done) {
  client_.send(client::post_json(std::move(target), std::move(body), std::move(done)));
}

void Loop::load_queues() {
  get("/v1/queues", [this](const Result<Reply>& reply) {
    const Result<json::value> value = body_of(reply);
    const json::value* list =
        value && value->is_object() ? value->get_object().if_contains("queues") : nullptr;
    if (list == nullptr || !list->is_array()) {
      if (!connected_) return;  // the next greeting loads them
      load_timer_.expires_after(kReloadDelay);
      load_timer_.async_wait([this](const error_code& error) {
        if (!error) load_queues();
      });
      return;
    }
    std::unordered_set<std::string> there;
    for (const json::value& item : list->get_array()) {
      Result<QueueView> view = parse_queue(item);
      if (!view) {
        spdlog::error("a queue cannot be read: {}", view.error().message);
        continue;
      }
      there.insert(view->name);
      apply(std::move(*view));
    }
    std::vector<std::string> gone;
    for (const auto& [name, station] : stations_) {
      if (there.count(name) == 0) gone.push_back(name);
    }
    for (const std::string& name : gone) remove_station(name);
    fill_all();
  });
}

void Loop::load_queue(const std::string& name) {
  get(client::queue_path(name), [this, name](const Result<Reply>& reply) {
    const Result<json::value> value = body_of(reply);
    if (!value) {
      if (value.error().code == Code::not_found) remove_station(name);
      return;
    }
    Result<QueueView> view = parse_queue(*value);
    if (!view) {
      spdlog::error("queue '{}' cannot be read: {}", name, view.error().message);
      return;
    }
    apply(std::move(*view));
  });
}

void Loop::apply(QueueView view) {
  const auto found = stations_.find(view.name);
  if (view.settings.script.empty()) {
    if (found != stations_.end()) remove_station(view.name);
    return;
  }
  StationPtr station;
  if (found != stations_.end()) {
    station = found->second;
    give_back_ahead(*station);  // it may be paused now, or have fewer slots
    station->view.script_error = std::move(view.script_error);
    if (view.settings == station->view.settings) {
      tell_error(station);
      fill(station);
      return;
    }
    station->view.settings = std::move(view.settings);
  } else {
    station = std::make_shared<Station>(io_);
    station->view = std::move(view);
    stations_.emplace(station->view.name, station);
  }
  set_up(*station);
  examine(station);
}

void Loop::set_up(Station& station) {
  const core::QueueSettings& settings = station.view.settings;
  station.script = ScriptFile(facts_.dir, settings.script, settings.exec_prefix);
  station.quick_failures = 0;
}

Result<void> Loop::set_user(Station& station) {
  const core::QueueSettings& settings = station.view.settings;
  station.credentials.reset();
  station.user = ScriptUser();
  if (!settings.user.empty()) {
    passwd entry{};
    passwd* found = nullptr;
    std::vector<char> buffer(kUserBufferBytes);
    ::getpwnam_r(settings.user.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (found == nullptr) {
      return fail(Code::bad_value,
                  fmt::format("user '{}' does not exist on this machine; make it, or change 'user' "
                              "of the queue",
                              settings.user));
    }
    if (entry.pw_uid != ::geteuid()) {
      if (::geteuid() != 0) {
        return fail(Code::bad_value,
                    fmt::format("user '{}': the worker is not root, so it cannot run scripts as "
                                "somebody else; run it as root, or change 'user' of the queue",
                                settings.user));
      }
      Credentials who{.uid = entry.pw_uid, .gid = entry.pw_gid, .groups = {}};
      int count = 64;
      who.groups.resize(static_cast<std::size_t>(count));
      while (::getgrouplist(entry.pw_name, entry.pw_gid, who.groups.data(), &count) < 0) {
        who.groups.resize(static_cast<std::size_t>(count));
      }
      who.groups.resize(static_cast<std::size_t>(count));
      station.credentials = std::move(who);
    }
    station.user = {.name = entry.pw_name, .home = entry.pw_dir, .shell = entry.pw_shell};
  }
  station.environment = queue_environment(settings, ::environ, station.user);
  return {};
}

// Can its script be run? Says so to the server when that has changed.
void Loop::examine(const StationPtr& station) {
  std::string error;
  if (const Result<void> user = set_user(*station); !user) {
    error = user.error().message;
  } else if (const auto script = station->script.look(); !script) {
    error = script.error().message;
  }
  set_error(station, std::move(error));
}

void Loop::set_error(const StationPtr& station, std::string error) {
  if (error != station->error) {
    if (error.empty()) {
      spdlog::info("queue '{}': its script can be run again", station->view.name);
    } else {
      spdlog::error("queue '{}': {}", station->view.name, error);
    }
  }
  station->error = std::move(error);
  tell_error(station);
  if (!station->error.empty()) {
    give_back_ahead(*station);
    for (const auto request : station->reserves) client_.hang_up(request);
    watch_errors();
  }
  fill(station);
}

void Loop::tell_error(const StationPtr& station) {
  if (station->telling || station->removed || station->view.script_error == station->error) return;
  station->telling = true;
  json::object body;
  if (station->error.empty()) {
    body["error"] = nullptr;
  } else {
    body["error"] = clean_text(station->error, base::kTextBytesMax, Keep::start);
  }
  post(client::queue_path(station->view.name, "/script-error"), json::serialize(body),
       [this, station, told = station->error](const Result<Reply>& reply) {
         station->telling = false;
         // Else the greeting of the next server, or the next change, tells it.
         if (!reply || reply->status != 200) return;
         station->view.script_error = told;
         tell_error(station);
         fill(station);
       });
}

void Loop::watch_errors() {
  if (error_timer_armed_) return;
  error_timer_armed_ = true;
  error_timer_.expires_after(kScriptCheckEvery);
  error_timer_.async_wait([this](const error_code& failed) {
    error_timer_armed_ = false;
    if (failed) return;
    bool any = false;
    for (const auto& [name, station] : stations_) {
      if (station->error.empty()) continue;
      examine(station);
      any = any || !station->error.empty();
    }
    if (any) watch_errors();
  });
}

void Loop::remove_station(const std::string& name) {
  const auto found = stations_.find(name);
  if (found == stations_.end()) return;
  const StationPtr station = found->second;
  station->removed = true;
  give_back_ahead(*station);
  for (const auto request : station->reserves) client_.hang_up(request);
  stations_.erase(found);
}

// --- Asking for messages ---

void Loop::fill_all() {
  std::vector<StationPtr> all;
  for (const auto& [name, station] : stations_) all.push_back(station);
  for (const StationPtr& station : all) fill(station);
}

// At the end of this turn of the loop, asks for as many messages as there are slots that nobody has
// asked for yet.
void Loop::fill(const StationPtr& station) {
  if (station->to_fill) return;
  station->to_fill = true;
  to_fill_.push_back(station);
  send_soon();
}

void Loop::send_soon() {
  if (send_posted_) return;
  send_posted_ = true;
  boost::asio::post(io_, [this] {
    send_posted_ = false;
    send();
  });
}

// What has ended in this turn, and what is wanted next. The first two go in one piece: the server
// takes them up in one batch, and a slot that has become free is filled with one wake-up each way.
void Loop::send() {
  std::optional<Reporter::Endings> endings = reporter_.take_endings();
  const std::vector<StationPtr> stations = std::move(to_fill_);
  to_fill_.clear();
  for (const StationPtr& station : stations) {
    station->to_fill = false;
    const std::int64_t count = wanted(station);
    if (count <= 0) continue;
    reserve(station, count, std::exchange(endings, std::nullopt));
  }
  if (endings)
    post(std::string(Reporter::kFinishPath), std::move(endings->json), std::move(endings->done));
}

// How many messages to lease ahead of the slots. Between two short scripts a slot would wait for
// the server longer than it runs (measured: a quarter of the machine idle).
std::int64_t Loop::lead(const Station& station) {
  if (station.usual >= kAheadScriptMax || station.quick_failures > 0) return 0;
  return std::min(2 * station.view.settings.num_workers, kAheadMax);
}

std::int64_t Loop::wanted(const StationPtr& station) {
  if (!connected_ || stop_signals_ > 0 || station->removed || !station->error.empty()) return 0;
  // Until the server has heard that the script is fine, it would give nothing.
  if (!station->view.script_error.empty()) return 0;
  const std::int64_t ahead = lead(*station);
  const std::int64_t free = station->view.settings.num_workers + ahead - station->busy -
                            station->asked - std::ssize(station->ahead);
  // Some at once are cheaper than one at a time.
  if (free < ahead / 2) return 0;
  if (free > 0 && station->held_until > Steady::now()) {
    fill_later(station);
    return 0;
  }
  return std::min<std::int64_t>(free, base::kReserveMessagesMax);
}

void Loop::fill_later(const StationPtr& station) {
  if (station->timer_armed) return;
  station->timer_armed = true;
  station->timer.expires_at(station->held_until);
  station->timer.async_wait([this, station](const error_code& error) {
    station->timer_armed = false;
    if (!error) fill(station);
  });
}

void Loop::reserve(const StationPtr& station, std::int64_t count,
                   std::optional<Reporter::Endings> endings) {
  const json::object body{{"queues", json::array{json::value(station->view.name)}},
                          {"limit", count},
                          {"wait_s", kReserveWaitSeconds},
                          {"worker", facts_.name},
                          {"folder", true}};
  const std::string text = json::serialize(body);
  station->asked += count;
  // The callback never runs inside post(), so the id is known before it is needed.
  auto id = std::make_shared<client::HttpClient::RequestId>(0);
  client::Request request = client::post_json(
      "/v1/reserve", text, [this, station, count, id](const Result<Reply>& reply) {
        station->reserves.erase(*id);
        station->asked -= count;
        reserved(station, count, reply);
      });
  request.timeout = kReserveTimeout;
  if (endings) {
    *id = client_.send_both(client::post_json(std::string(Reporter::kFinishPath),
                                              std::move(endings->json), std::move(endings->done)),
                            std::move(request));
  } else {
    *id = client_.send(std::move(request));
  }
  station->reserves.insert(*id);
}

void Loop::reserved(const StationPtr& station, std::int64_t count, const Result<Reply>& reply) {
  Result<std::vector<LeasedMessage>> messages = fail(Code::internal, "");
  if (!reply) {
    messages = reply.error();
  } else if (reply->status != 200) {
    messages = client::error_of(*reply);
  } else {
    messages = parse_reserved(reply->body);
  }
  if (messages) {
    station->delay = Millis{0};
    for (LeasedMessage& message : *messages) take(station, std::move(message));
    fill(station);
    end_if_done();
    return;
  }
  if (stop_signals_ > 0 || station->removed || !station->error.empty()) {
    end_if_done();  // hung up
    return;
  }
  if (connected_ && messages.error().code != Code::unreachable) {
    spdlog::warn("queue '{}': asking for {} messages: {}", station->view.name, count,
                 messages.error().message);
  }
  station->delay =
      std::clamp(station->delay * 2, client::kReconnectDelayMin, client::kReconnectDelayMax);
  station->held_until = std::max(station->held_until, Steady::now() + station->delay);
  fill_later(station);
}

}  // namespace rq::worker
