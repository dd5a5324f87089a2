#include "worker/reporter.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/json.hpp>
#include <utility>

#include "base/limits.h"
#include "client/limits.h"
#include "worker/messages.h"

namespace rq::worker {
namespace {

namespace json = boost::json;
using base::Code;
using base::Error;
using base::Result;
using boost::system::error_code;

constexpr std::chrono::milliseconds kProgressEvery{50};
constexpr std::chrono::milliseconds kBeatRetry{500};

std::string to_json(const Finish& finish) {
  json::object out;
  out["token"] = finish.token;
  out["outcome"] = finish.outcome;
  if (!finish.reason.empty()) out["reason"] = finish.reason;
  if (finish.delay_ms > 0) out["delay_s"] = static_cast<double>(finish.delay_ms) / 1000.0;
  std::string text = json::serialize(out);
  if (!finish.post_mortem.empty()) {
    text.pop_back();
    text.append(",\"post_mortem\":").append(finish.post_mortem).append("}");
  }
  return text;
}

// The answers to a request of many, one for each token; or the error of the whole.
Result<json::array> answers(const Result<client::Reply>& reply, std::size_t count) {
  if (!reply) return reply.error();
  if (reply->status != 200) return client::error_of(*reply);
  RQ_TRY_ASSIGN(value, parse_json(reply->body));
  json::value* items = value.is_object() ? value.get_object().if_contains("items") : nullptr;
  if (items == nullptr || !items->is_array() || items->get_array().size() != count) {
    return base::fail(Code::internal, "the answer has not one item for each asked");
  }
  return std::move(items->get_array());
}

const json::value* error_in(const json::value& item) {
  return item.is_object() ? item.get_object().if_contains("error") : nullptr;
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

}  // namespace

Reporter::Reporter(boost::asio::io_context& io, client::HttpClient& client, Listener listener)
    : io_(io),
      client_(client),
      listener_(std::move(listener)),
      beat_timer_(io),
      retry_timer_(io),
      progress_timer_(io) {}

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
  beat(std::move(tokens), std::move(then));
}

void Reporter::beat(std::vector<std::string> tokens, std::function<void()> then) {
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
    client_.send(client::post_json("/v1/heartbeat", json::serialize(body),
                                   [this, part = std::move(part),
                                    then = last ? std::exchange(then, nullptr)
                                                : decltype(then){}](Result<client::Reply> reply) {
                                     beaten(part, reply);
                                     if (then) then();
                                   }));
  }
}

void Reporter::beaten(const std::vector<std::string>& tokens, const Result<client::Reply>& reply) {
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
    if (error_in(item) != nullptr) {
      const Error what = client::error_in(item.get_object());
      if (!passes(what)) {
        spdlog::warn("lease {} is lost: {}", token, what.message);
        forget(token);
        listener_.on_lost(token);
      }
      continue;
    }
    const json::value* stop = item.is_object() ? item.get_object().if_contains("stop") : nullptr;
    if (stop != nullptr && stop->is_string() && stop->get_string() != "none") {
      listener_.on_stop(token);
    }
  }
}

// --- Ends ---

void Reporter::finish(Finish finish) {
  const auto lease = leases_.find(finish.token);
  if (lease != leases_.end()) lease->second.progress.reset();
  std::string text = to_json(finish);
  finishes_.insert_or_assign(std::move(finish.token), Pending{.json = std::move(text)});
  listener_.on_ending();
}

std::optional<Reporter::Endings> Reporter::take_endings() {
  std::vector<std::string> tokens;
  for (const auto& [token, pending] : finishes_) {
    if (pending.sending == Sending::in_flight) continue;
    if (tokens.size() == base::kReserveMessagesMax) {
      listener_.on_ending();  // the rest in the next turn
      break;
    }
    tokens.push_back(token);
  }
  if (tokens.empty()) return std::nullopt;
  return endings(std::move(tokens));
}

Reporter::Endings Reporter::endings(std::vector<std::string> tokens) {
  Endings out;
  out.json = "{\"items\":[";
  for (const std::string& token : tokens) {
    Pending& pending = finishes_.at(token);
    pending.sending = Sending::in_flight;
    if (out.json.back() != '[') out.json.push_back(',');
    out.json.append(pending.json);
  }
  out.json.append("]}");
  out.done = [this, tokens = std::move(tokens)](const Result<client::Reply>& reply) {
    sent(tokens, reply);
  };
  return out;
}

void Reporter::sent(const std::vector<std::string>& tokens, const Result<client::Reply>& reply) {
  const Result<json::array> items = answers(reply, tokens.size());
  if (!items && !passes(items.error()) && tokens.size() > 1) {
    // One of them spoils the request: each alone, then.
    for (const std::string& token : tokens) {
      Endings one = endings({token});
      client_.send(
          client::post_json(std::string(kFinishPath), std::move(one.json), std::move(one.done)));
    }
    return;
  }
  bool again = false;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string& token = tokens[i];
    std::optional<Error> error;
    if (!items) {
      error = items.error();
    } else if (error_in(items->at(i)) != nullptr) {
      error = client::error_in(items->at(i).get_object());
    }
    if (error && passes(*error)) {
      finishes_.at(token).sending = Sending::waits;
      again = true;
      continue;
    }
    if (error) {
      spdlog::warn("the end of lease {} was refused: {} ({})", token, error->message,
                   base::name_of(error->code));
    }
    drop(token);
  }
  if (again) {
    retry_later();
  } else {
    retry_delay_ = std::chrono::milliseconds{0};
  }
  if (finishes_.empty()) listener_.on_idle();
}

void Reporter::drop(const std::string& token) {
  finishes_.erase(token);
  forget(token);
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
    listener_.on_ending();
  });
}

void Reporter::retry_now() {
  retry_delay_ = std::chrono::milliseconds{0};
  if (retry_armed_) retry_timer_.cancel();
}

// --- Progress and duplicates ---

void Reporter::progress(const std::string& token, std::string text) {
  const auto lease = leases_.find(token);
  if (lease == leases_.end() || finishes_.count(token) != 0) return;
  if (!lease->second.progress) progressed_.push_back(token);
  lease->second.progress = std::move(text);
  progress_soon();
}

void Reporter::progress_soon() {
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
                                     progress_soon();
                                   });
                                 }));
}

void Reporter::duplicate(const std::string& token, std::string_view queue, std::int64_t delay_s,
                         client::Done done) {
  const json::object body{{"token", token}, {"queue", queue}, {"delay_s", delay_s}};
  client::Request request =
      client::post_json("/v1/duplicate", json::serialize(body), std::move(done));
  request.retry = client::Retry::never;  // a second one would be a second duplicate
  client_.send(std::move(request));
}

}  // namespace rq::worker
