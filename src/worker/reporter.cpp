#include "worker/reporter.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/json.hpp>
#include <memory>
#include <utility>

#include "base/json_writer.h"
#include "base/limits.h"
#include "client/limits.h"
#include "worker/messages.h"
#include "worker/verdict.h"

namespace rq::worker {
namespace {

namespace json = boost::json;
using base::Code;
using base::Error;
using base::Result;
using boost::system::error_code;

constexpr std::chrono::milliseconds kProgressEvery{50};
constexpr std::chrono::milliseconds kBeatRetry{500};
constexpr std::chrono::milliseconds kDuplicateRetry{200};
constexpr base::Millis kPartTimeout{2'000};
// A server that does not answer for so long may be hung: what it was told goes into the file.
constexpr std::chrono::seconds kSilence{1};
// Of an end whose lease has a length that is not known any more.
constexpr base::Millis kSomeLease{6'000};

std::string to_json(const Finish& finish) {
  std::string text;
  base::JsonObject out(text);
  out.text("token", finish.token);
  out.text("outcome", finish.outcome);
  if (finish.reason) out.text("reason", *finish.reason);
  if (finish.delay_ms > 0) out.seconds("delay_s", base::Millis{finish.delay_ms});
  if (!finish.post_mortem.empty()) out.raw("post_mortem", finish.post_mortem);
  out.close();
  return text;
}

// The answers to a request of many, one for each token; or the error of the whole. What makes no
// sense is bad_request: the same request would be answered so for ever.
Result<json::array> answers(const Result<client::Reply>& reply, std::size_t count) {
  if (!reply) return reply.error();
  if (reply->status != 200) return client::error_of(*reply);
  RQ_TRY_ASSIGN(value, parse_json(reply->body));
  json::value* items = value.is_object() ? value.get_object().if_contains("items") : nullptr;
  if (items == nullptr || !items->is_array() || items->get_array().size() != count) {
    return base::fail(Code::bad_request, "the answer has not one item for each asked");
  }
  return std::move(items->get_array());
}

// The error in one of the answers to a request of many.
std::optional<Error> error_of_item(const json::value& item) {
  if (!item.is_object() || !item.get_object().contains("error")) return std::nullopt;
  return client::error_in(item.get_object());
}

bool is_about_a_field(Code code) {
  return code == Code::bad_value || code == Code::unknown_field || code == Code::too_large;
}

// Of a lease that has ended, by its end or without it.
bool is_over(Code code) { return code == Code::lease_lost || code == Code::not_found; }

// False: there is none.
bool drop_post_mortem(std::string& finish) {
  Result<json::value> value = parse_json(finish);
  json::object* const fields = value ? value->if_object() : nullptr;
  if (fields == nullptr || fields->erase("post_mortem") == 0) return false;
  finish = json::serialize(*value);
  return true;
}

// Will the same request go better later?
bool passes(const Error& error) {
  switch (error.code) {
    case Code::unreachable:
    case Code::busy:
    case Code::draining:
    case Code::timed_out:
    case Code::disk_full:
    case Code::unknown_outcome:
    case Code::internal:
      return true;
    default:
      return false;
  }
}

void leave(RunningRecord& record, int& slot) { record.remove(std::exchange(slot, -1)); }

}  // namespace

Reporter::Reporter(boost::asio::io_context& io, client::HttpClient& client, UntoldEnds untold,
                   RunningRecord& record, Listener listener)
    : io_(io),
      client_(client),
      untold_(std::move(untold)),
      record_(record),
      listener_(std::move(listener)),
      beat_timer_(io),
      retry_timer_(io),
      silence_timer_(io),
      progress_timer_(io),
      soon_timer_(io) {}

void Reporter::track(const std::string& token, base::Millis length) {
  Lease lease;
  lease.length = length;
  lease.beat_at = Steady::now() + length / 3;
  const Steady::time_point at = lease.beat_at;
  leases_.insert_or_assign(token, std::move(lease));
  beat_by(at);
}

void Reporter::forget(const std::string& token) { leases_.erase(token); }

// --- Heartbeats ---

// A timer that fires too early costs less than one that is set anew for each short script.
void Reporter::beat_by(Steady::time_point at) {
  if (at >= beat_armed_) return;
  beat_armed_ = at;
  beat_timer_.expires_at(at);
  beat_timer_.async_wait([this](const error_code& error) {
    if (!error) beat_due();
  });
}

void Reporter::beat_due() {
  beat_armed_ = Steady::time_point::max();
  const Steady::time_point now = Steady::now();
  const bool any_due = std::any_of(leases_.begin(), leases_.end(), [now](const auto& entry) {
    return entry.second.beat_at <= now;
  });
  if (any_due) beat_all([] {});  // one request for all, whosever turn it is
  Steady::time_point next = Steady::time_point::max();
  for (const auto& [token, lease] : leases_) next = std::min(next, lease.beat_at);
  beat_by(next);
}

void Reporter::beat_all(std::function<void()> then) {
  std::vector<std::string> tokens;
  for (const auto& [token, lease] : leases_) tokens.push_back(token);
  if (tokens.empty()) {
    then();
    return;
  }
  beat(std::move(tokens), Lost::late, std::move(then));
}

void Reporter::check(std::vector<std::string> tokens) {
  std::erase_if(tokens, [this](const std::string& token) { return leases_.count(token) == 0; });
  if (!tokens.empty()) beat(std::move(tokens), Lost::taken, [] {});
}

// `then` is called with the last answer. REQUIRES: `tokens` are leases.
void Reporter::beat(std::vector<std::string> tokens, Lost how, std::function<void()> then) {
  const Steady::time_point now = Steady::now();
  while (!tokens.empty()) {
    const auto count =
        static_cast<std::ptrdiff_t>(std::min(tokens.size(), base::kLeasesPerCallMax));
    std::vector<std::string> part(std::make_move_iterator(tokens.end() - count),
                                  std::make_move_iterator(tokens.end()));
    tokens.resize(tokens.size() - static_cast<std::size_t>(count));
    json::array items;
    for (const std::string& token : part) {
      items.push_back(json::object{{"token", token}});
      Lease& lease = leases_.at(token);
      lease.beat_at = now + lease.length / 3;
    }
    const bool last = tokens.empty();
    const json::object body{{"items", std::move(items)}};
    client_.send(client::post_json(
        "/v1/heartbeat", json::serialize(body),
        [this, part = std::move(part), how,
         then = last ? std::exchange(then, nullptr) : nullptr](const Result<client::Reply>& reply) {
          beaten(part, how, reply);
          if (then) then();
        }));
  }
}

void Reporter::beaten(const std::vector<std::string>& tokens, Lost how,
                      const Result<client::Reply>& reply) {
  const Result<json::array> items = answers(reply, tokens.size());
  if (!items) {
    // Sooner than usual: some of the time of the leases is gone.
    for (const std::string& token : tokens) {
      const auto lease = leases_.find(token);
      if (lease != leases_.end()) lease->second.beat_at = Steady::now() + kBeatRetry;
    }
    beat_by(Steady::now() + kBeatRetry);
    return;
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string& token = tokens[i];
    // An ended one is not lost: its finish is under way, and its answer decides.
    if (leases_.count(token) == 0 || finishes_.count(token) != 0) continue;
    const json::value& item = items->at(i);
    if (const std::optional<Error> error = error_of_item(item)) {
      if (passes(*error)) continue;
      spdlog::warn("lease {} is lost: {}", token, error->message);
      forget(token);
      listener_.on_lost(token, how);
      continue;
    }
    const json::value* stop = item.is_object() ? item.get_object().if_contains("stop") : nullptr;
    if (stop != nullptr && stop->is_string() && stop->get_string() != "none") {
      listener_.on_stop(token);
    }
  }
}

// --- Ends ---

void Reporter::finish(Finish finish, int slot) {
  const auto lease = leases_.find(finish.token);
  if (lease != leases_.end()) lease->second.progress.reset();
  Pending pending{.json = to_json(finish), .slot = slot};
  if (!record_.keep_end(slot, pending.json)) leave(record_, pending.slot);
  finishes_.insert_or_assign(std::move(finish.token), std::move(pending));
  watch_silence();
  at_turn_end();
}

void Reporter::at_turn_end() {
  if (turn_end_posted_) return;
  turn_end_posted_ = true;
  boost::asio::post(io_, [this] {
    turn_end_posted_ = false;
    listener_.on_turn_end();
    if (auto ends = waiting_ends()) client_.send(*std::move(ends));
  });
}

client::HttpClient::RequestId Reporter::reserve(std::string json, base::Millis timeout,
                                                client::Done done) {
  client::Request request = client::post_json("/v1/reserve", std::move(json), std::move(done));
  request.timeout = timeout;
  // Messages given to a request that nobody hears would wait for the end of their leases.
  request.retry = client::Retry::never;
  auto ends = waiting_ends();
  return ends ? client_.send_both(*std::move(ends), std::move(request))
              : client_.send(std::move(request));
}

// The next request with ends that wait, if there are any.
std::optional<client::Request> Reporter::waiting_ends() {
  std::vector<std::string> tokens;
  for (const auto& [token, pending] : finishes_) {
    if (pending.sending == Sending::in_flight) continue;
    if (tokens.size() == base::kReserveMessagesMax) {
      at_turn_end();  // the rest in the next turn
      break;
    }
    tokens.push_back(token);
  }
  if (tokens.empty()) return std::nullopt;
  return ends_of(std::move(tokens));
}

client::Request Reporter::ends_of(std::vector<std::string> tokens) {
  std::string text = "{\"items\":[";
  for (const std::string& token : tokens) {
    Pending& pending = finishes_.at(token);
    pending.sending = Sending::in_flight;
    if (text.back() != '[') text.push_back(',');
    text.append(pending.json);
  }
  text.append("]}");
  return client::post_json("/v1/finish", std::move(text),
                           [this, tokens = std::move(tokens)](const Result<client::Reply>& reply) {
                             sent(tokens, reply);
                           });
}

void Reporter::sent(const std::vector<std::string>& tokens, const Result<client::Reply>& reply) {
  const Result<json::array> items = answers(reply, tokens.size());
  is_heard_ = is_heard_ || items;
  if (!items && !passes(items.error()) && tokens.size() > 1) {
    // One of them spoils the request: each alone, then.
    for (const std::string& token : tokens) client_.send(ends_of({token}));
    return;
  }
  bool again = false;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string& token = tokens[i];
    const auto found = finishes_.find(token);
    if (found == finishes_.end()) continue;  // it was told twice
    Pending& pending = found->second;
    const std::optional<Error> error = items ? error_of_item(items->at(i)) : items.error();
    if (error && passes(*error)) {
      pending.sending = Sending::waits;
      pending.told_before = true;
      again = true;
      continue;
    }
    if (error && pending.told_before && is_over(error->code)) {
      spdlog::info("the end of lease {} was told again: {}", token, error->message);
    } else if (error) {
      spdlog::warn("the end of lease {} was refused: {} ({})", token, error->message,
                   base::name_of(error->code));
      // The end counts for more than what was measured of it.
      if (is_about_a_field(error->code) && drop_post_mortem(pending.json)) {
        pending.sending = Sending::waits;
        at_turn_end();
        continue;
      }
    }
    leave(record_, pending.slot);
    finishes_.erase(found);
    forget(token);
  }
  bool kept = false;
  if (again) {
    const bool any_new = std::any_of(finishes_.begin(), finishes_.end(),
                                     [](const auto& entry) { return !entry.second.in_file; });
    kept = keep_untold() && any_new;
    retry_later();
  } else {
    retry_delay_ = std::chrono::milliseconds{0};
  }
  if (kept) listener_.on_kept();
  if (!finishes_.empty()) return;
  untold_.clear();
  listener_.on_idle();
}

bool Reporter::keep_untold() {
  std::vector<std::string_view> ends;
  for (const auto& [token, pending] : finishes_) {
    if (!pending.in_file) ends.push_back(pending.json);
  }
  if (!untold_.add(ends)) return false;
  for (auto& [token, pending] : finishes_) {
    pending.in_file = true;
    leave(record_, pending.slot);
  }
  // Else the next worker takes them for scripts that ran.
  record_.flush();
  return true;
}

bool Reporter::is_kept() const {
  return std::all_of(finishes_.begin(), finishes_.end(), [](const auto& entry) {
    return entry.second.slot >= 0 || entry.second.in_file;
  });
}

// A server that hangs is as one that is away.
void Reporter::watch_silence() {
  if (std::exchange(silence_watched_, true)) return;
  silence_timer_.expires_after(kSilence);
  silence_timer_.async_wait([this](const error_code& error) {
    if (error) return;
    silence_watched_ = false;
    const bool heard = std::exchange(is_heard_, false);
    if (finishes_.empty()) return;
    bool in_danger = false;
    for (auto& [token, pending] : finishes_) {
      in_danger = in_danger || (pending.waited && !pending.in_file);
      pending.waited = true;
    }
    if (in_danger && !heard && keep_untold()) listener_.on_kept();
    watch_silence();
  });
}

void Reporter::take_over(std::vector<RunningRecord::Leftovers::Untold> ends) {
  if (ends.empty()) return;
  spdlog::info("{} ends of scripts are told that no server has confirmed", ends.size());
  for (RunningRecord::Leftovers::Untold& end : ends) {
    track(end.token, end.lease.count() > 0 ? end.lease : kSomeLease);
    finishes_.insert_or_assign(
        std::move(end.token),
        Pending{.json = std::move(end.end), .slot = end.slot, .told_before = true});
  }
  watch_silence();
  at_turn_end();
}

void Reporter::tell_untold() {
  const std::vector<UntoldEnds::End> ends = untold_.read();
  if (ends.empty()) return untold_.clear();
  spdlog::info("{} ends of scripts are told that a worker before this one could not tell",
               ends.size());
  for (const UntoldEnds::End& end : ends) {
    Pending& pending = finishes_[end.token];
    leave(record_, pending.slot);
    pending = Pending{.json = end.json, .in_file = true, .told_before = true};
    if (leases_.count(end.token) == 0) track(end.token, kSomeLease);
  }
  at_turn_end();
}

void Reporter::leave_untold() {
  if (finishes_.empty()) return;
  if (keep_untold()) {
    spdlog::warn("the server has not heard the ends of {} scripts: the next worker tells them",
                 finishes_.size());
  } else {
    spdlog::error("the ends of {} scripts are lost: their messages run again", finishes_.size());
    for (auto& [token, pending] : finishes_) leave(record_, pending.slot);
    record_.flush();
  }
}

void Reporter::retry_later() {
  if (retry_armed_) return;
  retry_armed_ = true;
  retry_delay_ =
      std::clamp(retry_delay_ * 2, client::kReconnectDelayMin, client::kReconnectDelayMax);
  retry_timer_.expires_after(retry_delay_);
  retry_timer_.async_wait([this](const error_code&) {
    // Cancelled by retry_now, or the time has come: the same to do.
    retry_armed_ = false;
    at_turn_end();
  });
}

void Reporter::retry_now() {
  retry_delay_ = std::chrono::milliseconds{0};
  if (retry_armed_) retry_timer_.cancel();
}

// --- Progress and duplicates ---

void Reporter::progress(const std::string& token, std::string text, When when) {
  const auto lease = leases_.find(token);
  if (lease == leases_.end() || finishes_.count(token) != 0) return;
  if (!lease->second.progress) progressed_.push_back(token);
  lease->second.progress = std::move(text);
  if (when == When::now) return progress_now();
  if (progress_in_flight_ || progress_armed_ || std::exchange(progress_soon_armed_, true)) return;
  soon_timer_.expires_after(kProgressEvery);
  soon_timer_.async_wait([this](const error_code& error) {
    if (error) return;
    progress_soon_armed_ = false;
    progress_now();
  });
}

void Reporter::progress_now() {
  if (progress_in_flight_ || progress_armed_ || progressed_.empty()) return;
  progress_armed_ = true;
  // In the next turn: a script that ends in this one needs no progress.
  boost::asio::post(io_, [this] {
    progress_armed_ = false;
    send_progress();
  });
}

void Reporter::send_progress() {
  json::array items;
  for (const std::string& token : progressed_) {
    const auto lease = leases_.find(token);
    if (lease == leases_.end() || !lease->second.progress) continue;
    items.push_back(json::object{{"token", token}, {"progress", *lease->second.progress}});
    lease->second.progress.reset();
  }
  progressed_.clear();
  if (items.empty()) return;
  progress_in_flight_ = true;
  const json::object body{{"items", std::move(items)}};
  // A text that does not get through is not told again: the next one will, or the end.
  client_.send(client::post_json("/v1/progress", json::serialize(body),
                                 [this](const Result<client::Reply>&) {
                                   progress_timer_.expires_after(kProgressEvery);
                                   progress_timer_.async_wait([this](const error_code& error) {
                                     if (error) return;
                                     progress_in_flight_ = false;
                                     progress_now();
                                   });
                                 }));
}

void Reporter::duplicate(const std::string& token, std::string_view queue, std::int64_t delay_s,
                         std::int64_t number, client::Done done) {
  const json::object body{{"token", token},
                          {"queue", queue},
                          {"delay_s", delay_s},
                          {"key", fmt::format("dup-{}-{}", token, number)}};
  ask_duplicate(token, json::serialize(body), std::move(done));
}

void Reporter::ask_duplicate(const std::string& token, std::string body, client::Done done) {
  client::Request request = client::post_json(
      "/v1/duplicate", body,
      [this, token, body, done = std::move(done)](const Result<client::Reply>& reply) {
        const bool refused = reply && !reply->is_success();
        const Error error = !reply ? reply.error() : refused ? client::error_of(*reply) : Error{};
        // A disk may be full for long, and the script wants to hear of it.
        const bool passes_soon = passes(error) && error.code != Code::disk_full;
        if ((reply && !refused) || !passes_soon || leases_.count(token) == 0) {
          done(reply);
          return;
        }
        const auto pause = std::make_shared<boost::asio::steady_timer>(io_);
        pause->expires_after(kDuplicateRetry);
        pause->async_wait([this, pause, token, body, done](const error_code& failed) {
          if (!failed) ask_duplicate(token, body, done);
        });
      });
  client_.send(std::move(request));
}

void Reporter::hold_back(const std::string& queue, const std::string& text,
                         std::chrono::steady_clock::duration length) {
  if (text.empty()) return;
  const json::object body{{"text", clean_text(text, base::kTextBytesMax, Keep::start)},
                          {"for_s", std::chrono::duration<double>(length).count()}};
  // Should it not get through, the next failure tells it.
  client_.send(client::post_json(client::queue_path(queue, "/held-back"), json::serialize(body),
                                 [](const Result<client::Reply>&) {}));
}

void Reporter::say_alive(const std::string& worker, bool draining, std::function<void()> then) {
  tell_of({{"worker", worker}, {"version", RQ_VERSION}, {"draining", draining}}, std::move(then));
}

void Reporter::part(const std::string& worker, std::function<void()> then) {
  tell_of({{"worker", worker}, {"gone", true}}, std::move(then));
}

void Reporter::tell_of(json::object body, std::function<void()> then) {
  client::Request request =
      client::post_json("/v1/leases", json::serialize(body),
                        [then = std::move(then)](const Result<client::Reply>&) { then(); });
  request.timeout = kPartTimeout;
  client_.send(std::move(request));
}

void Reporter::keep(const std::string& worker, std::function<void()> then) {
  json::array tokens;
  for (const auto& [token, lease] : leases_) tokens.emplace_back(token);
  for (const auto& [token, pending] : finishes_) {
    if (leases_.count(token) == 0) tokens.emplace_back(token);
  }
  // More than one request may name: then the ends of the leases are what brings them back.
  if (tokens.size() > base::kLeasesPerCallMax) {
    then();
    return;
  }
  json::object body{{"worker", worker}, {"version", RQ_VERSION}, {"tokens", std::move(tokens)}};
  // What we have not is not on its way to us: it came to a process before this one.
  if (started_) body["started"] = true;
  client_.send(client::post_json(
      "/v1/leases", json::serialize(body),
      [this, worker, then = std::move(then)](const Result<client::Reply>& reply) {
        const Result<json::value> value = reply ? client::json_of(*reply) : reply.error();
        const json::object* fields = value ? value->if_object() : nullptr;
        const json::value* returned = fields != nullptr ? fields->if_contains("returned") : nullptr;
        const json::value* more = fields != nullptr ? fields->if_contains("more") : nullptr;
        if (returned != nullptr && returned->is_int64() && returned->get_int64() > 0) {
          spdlog::warn("{} messages that this worker does not have go back", returned->get_int64());
        }
        if (more != nullptr && more->is_bool() && more->get_bool()) return keep(worker, then);
        if (fields != nullptr) started_ = false;
        then();
      }));
}

}  // namespace rq::worker
