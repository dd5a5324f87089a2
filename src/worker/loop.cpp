#include "worker/loop.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstring>
#include <memory>
#include <utility>

#include "base/check.h"
#include "worker/home.h"

namespace rq::worker {
namespace {

namespace json = boost::json;
using base::Code;
using base::Millis;
using base::Result;
using boost::system::error_code;
using client::Reply;
using Clock = std::chrono::steady_clock;

constexpr std::string_view kEventsPath = "/v1/events?kinds=queue,queue_removed,stop";
constexpr int kReserveWaitSeconds = 60;
constexpr int kAnswerSeconds = 15;  // on top, for the way
constexpr Millis kReserveTimeout{(kReserveWaitSeconds + kAnswerSeconds) * 1000};
// For the word that this worker is to end, when its script has heard it already.
constexpr Millis kSoon{1'000};
// Scripts that end so soon after the worker was told to may have been told as well.
constexpr Millis kToldTogether{10'000};
constexpr Millis kSuspectWait{1'000};
constexpr const char* kWorkerEnds = "the worker takes nothing more";
constexpr Millis kAliveEvery{10'000};
constexpr std::chrono::seconds kLastWordsWait{10};  // for a server that is gone, at the very end

// Is a request for messages of any queue under way?
bool asks_any(const Roster& roster) {
  return std::any_of(roster.stations().begin(), roster.stations().end(),
                     [](const auto& entry) { return !entry.second->reserves.empty(); });
}

}  // namespace

Loop::Loop(boost::asio::io_context& io, LoopFacts facts, client::Server server,
           RunningRecord& record)
    : io_(io),
      name_(std::move(facts.name)),
      base_url_fixed_(facts.base_url_fixed),
      kept_(facts.kept),
      stops_(facts.stops, facts.holder),
      go_(std::move(facts.make_way)),
      client_(io_, std::move(server)),
      supervisor_(*this),
      reporter_(io_, client_, UntoldEnds(std::move(facts.untold_file), facts.worker.server), record,
                {.on_stop =
                     [this](const std::string& token) {
                       if (const AttemptPtr attempt = attempt_of(token)) attempt->stop();
                     },
                 .on_lost =
                     [this](const std::string& token, Reporter::Lost how) {
                       const AttemptPtr attempt = attempt_of(token);
                       if (!attempt) return;
                       attempt->lose(how == Reporter::Lost::taken ? Attempt::Ending::told
                                                                  : Attempt::Ending::killed);
                     },
                 .on_idle = [this] { end_if_done(); },
                 .on_kept = [this] { end_if_done(); },
                 .on_turn_end = [this] { ask_for_all(); }}),
      shop_(facts.dir, std::move(facts.worker), record, supervisor_, reporter_, *this),
      roster_(io_, client_, facts.dir,
              [this](SpawnRequest request) { return supervisor_.probe(std::move(request)); },
              {.on_changed =
                   [this](const StationPtr& station) {
                     give_back_ahead(*station);  // it may be paused now, or have fewer slots
                     if (station->take_ended_storm()) {
                       reporter_.hold_back(station->name(), "its settings have changed", {});
                     }
                     fill(station);
                   },
               .on_closed = [this](const StationPtr& station) { close(station); },
               .on_loaded =
                   [this] {
                     for (const auto& [name, station] : roster_.stations()) fill(station);
                   }}),
      children_ready_(io_, supervisor_.fd()),
      signals_ready_(io_),
      end_timer_(io_),
      alive_timer_(io_) {
  sigset_t heard;
  ::sigemptyset(&heard);
  ::sigaddset(&heard, SIGTERM);
  ::sigaddset(&heard, SIGINT);
  ::sigaddset(&heard, SIGHUP);
  ::sigaddset(&heard, SIGURG);
  RQ_CHECK(::sigprocmask(SIG_BLOCK, &heard, nullptr) == 0);
  signal_fd_.reset(::signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK));
  RQ_CHECK(signal_fd_.is_open());
  signals_ready_.assign(signal_fd_.get());
}

Loop::~Loop() {
  // The descriptors have other owners.
  children_ready_.release();
  signals_ready_.release();
}

void Loop::hand_back(const RunningRecord::Leftovers& leftovers) {
  reporter_.take_over(leftovers.untold);
  for (const std::string& token : leftovers.not_begun) {
    reporter_.finish({.token = token,
                      .outcome = "release",
                      .reason = "its worker left or died before it began",
                      .post_mortem = {}});
  }
  for (const RunningRecord::Leftovers::Begun& begun : leftovers.begun) {
    const bool poison = begun.deaths >= kPoisonDeaths;
    std::string reason =
        poison ? held_text(name_, "died", begun.deaths) : std::string("its worker died");
    if (poison) spdlog::error("message {}: {}", begun.token, reason);
    reporter_.finish({.token = begun.token,
                      .outcome = poison ? "hold" : "lost",
                      .reason = std::move(reason),
                      .post_mortem = {}});
  }
}

void Loop::go_on_with(const std::vector<RunningRecord::Leftovers::Staying>& staying) {
  for (const RunningRecord::Leftovers::Staying& script : staying) {
    const StationPtr station =
        roster_.make(std::string(shop_.record.kept(script.slot)->queue.view()));
    const auto attempt = std::make_shared<Attempt>(shop_, station, script);
    by_token_.emplace(attempt->token(), attempt);
    on_started(attempt);
    attempt->go_on();
  }
}

void Loop::start() {
  reporter_.tell_untold();
  wait_children();
  wait_signals();
  events_.emplace(io_, client_, std::string(kEventsPath),
                  client::Subscription::Listener{
                      .on_event = [this](std::string_view event,
                                         std::string_view data) { on_event(event, data); },
                      .on_down = [this] { on_down(); }});
  follow("a word to the process before this one");
}

// --- The server ---

void Loop::on_event(std::string_view event, std::string_view data) {
  if (event == "hello") {
    learn(data);
    greet();
    return;
  }
  const Result<json::value> value = parse_json(data);
  const json::object* fields = value ? value->if_object() : nullptr;
  if (fields == nullptr) return;
  if (event == "stop") {
    const json::value* seq = fields->if_contains("seq");
    if (seq != nullptr && seq->is_int64()) check_message(seq->get_int64());
    return;
  }
  const json::value* queue = fields->if_contains("queue");
  if (queue == nullptr || !queue->is_string()) return;
  const std::string name(queue->get_string());
  if (event == "queue") roster_.load(name);
  if (event == "queue_removed") roster_.remove(name);
}

// The notice names a message. Which attempt is meant only the server knows, and it answers token by
// token: the one that the notice is for may be over, and the next one here already.
void Loop::check_message(std::int64_t seq) {
  std::vector<std::string> tokens;
  for (const auto& [token, attempt] : by_token_) {
    if (attempt->seq() == seq && !attempt->lost()) tokens.push_back(token);
  }
  reporter_.check(std::move(tokens));
}

AttemptPtr Loop::attempt_of(const std::string& token) const {
  const auto found = by_token_.find(token);
  return found == by_token_.end() ? nullptr : found->second;
}

void Loop::on_down() {
  if (connected_ && !is_idle()) {
    // So it is in each restart of a server: nothing is wrong with that.
    spdlog::info(
        "the server is gone: scripts that run go on, and how they end is kept for the next server");
  } else if (connected_ && !kept_) {
    spdlog::info("the server is gone");
  }
  connected_ = greeting_ = false;
  ++breaks_;
  roster_.pause();
  for (const auto& [name, station] : roster_.stations()) give_back_ahead(*station);
  end_if_done();
}

// A server is there, for the first time or again. First it hears which leases are here, so that
// what was on its way to us goes back, and none is given out twice; then what has ended meanwhile;
// then new ones are taken.
void Loop::greet() {
  end_timer_.cancel();
  greeting_ = true;
  // What still comes in answer to an old request must be here, or not come at all.
  for (const auto& [name, station] : roster_.stations()) {
    for (const auto request : station->reserves) client_.hang_up(request);
  }
  go_on_greeting();
}

void Loop::go_on_greeting() {
  if (!greeting_ || asks_any(roster_)) return;
  greeting_ = false;
  // A server that goes meanwhile has not been greeted.
  reporter_.keep(name_, [this, breaks = breaks_] {
    if (breaks != breaks_) return;
    reporter_.retry_now();
    reporter_.beat_all([this, breaks] {
      if (breaks != breaks_) return;
      if (!connected_) {
        spdlog::info("worker '{}' has its server{}", name_,
                     supervisor_.running() == 0 ? "" : "; its scripts have run on");
      }
      connected_ = true;
      say_alive();
      if (stops_.followed() > 0) reporter_.say_alive(name_, true, [] {});
      roster_.load_all();
      end_if_done();
    });
  });
}

// So that a worker that is stopped, or cut off, is missed.
void Loop::say_alive() {
  alive_timer_.expires_after(kAliveEvery);
  alive_timer_.async_wait([this](const error_code& error) {
    if (error || !connected_ || parting_) return;
    reporter_.say_alive(name_, stops_.followed() > 0, [this] { say_alive(); });
  });
}

void Loop::learn(std::string_view hello) {
  const Result<json::value> value = parse_json(hello);
  const json::object* fields = value ? value->if_object() : nullptr;
  if (fields == nullptr) return;
  const json::value* url = fields->if_contains("base_url");
  if (!base_url_fixed_ && url != nullptr && url->is_string()) {
    shop_.worker.base_url = url->get_string();
  }
  const json::value* boot = fields->if_contains("boot");
  if (boot == nullptr || !boot->is_int64()) return;
  if (server_boot_ == 0) server_boot_ = boot->get_int64();
  outdated_ = kept_ && server_boot_ != boot->get_int64();
}

// --- Asking for messages ---

// At the end of this turn of the loop, asks for as many messages as there are slots that nobody has
// asked for yet.
void Loop::fill(const StationPtr& station) {
  if (station->to_fill) return;
  station->to_fill = true;
  to_fill_.push_back(station);
  reporter_.at_turn_end();
}

void Loop::ask_for_all() {
  const Station::Time now = Clock::now();
  for (const StationPtr& station : std::exchange(to_fill_, {})) {
    station->to_fill = false;
    if (!connected_ || takes_nothing()) continue;
    if (const std::int64_t count = station->wanted(now); count > 0) {
      ask(station, count);
    } else if (const auto until = station->held_back(now)) {
      fill_at(station, *until);
    }
  }
}

void Loop::fill_at(const StationPtr& station, Station::Time when) {
  Station::Timer& own = station->fill_timer;
  // What holds it back may end sooner than what held it back before.
  if (own.armed && own.timer.expiry() <= when) return;
  own.armed = true;
  own.timer.expires_at(when);
  own.timer.async_wait([this, station](const error_code& error) {
    if (error) return;  // another time was set
    station->fill_timer.armed = false;
    fill(station);
  });
}

void Loop::ask(const StationPtr& station, std::int64_t count) {
  const json::object body{{"queues", json::array{json::value(station->name())}},
                          {"limit", count},
                          {"wait_s", kReserveWaitSeconds},
                          {"worker", name_},
                          {"folder", true}};
  station->asked(count);
  // The callback never runs inside reserve(), so the id is known before it is needed.
  const auto id = std::make_shared<client::HttpClient::RequestId>(0);
  *id = reporter_.reserve(json::serialize(body), kReserveTimeout,
                          [this, station, count, id](const Result<Reply>& reply) {
                            station->reserves.erase(*id);
                            station->answered(count);
                            answered(station, count, reply);
                            go_on_greeting();
                          });
  station->reserves.insert(*id);
}

void Loop::answered(const StationPtr& station, std::int64_t count, const Result<Reply>& reply) {
  Result<std::vector<LeasedMessage>> messages = base::fail(Code::internal, "");
  if (!reply) {
    messages = reply.error();
  } else if (!reply->is_success()) {
    messages = client::error_of(*reply);
  } else {
    messages = parse_reserved(reply->body);
  }
  if (messages) {
    station->ask_succeeded();
    for (LeasedMessage& message : *messages) take(station, std::move(message));
    fill(station);
    end_if_done();
    return;
  }
  if (takes_nothing() || station->removed || !station->error.empty()) {
    end_if_done();  // hung up
    return;
  }
  if (connected_ && messages.error().code != Code::unreachable) {
    spdlog::warn("queue '{}': asking for {} messages: {}", station->name(), count,
                 messages.error().message);
  }
  station->ask_failed(Clock::now());
  fill(station);
}

// --- Bringing messages to their scripts ---

void Loop::take(const StationPtr& station, LeasedMessage message) {
  const auto attempt = std::make_shared<Attempt>(shop_, station, std::move(message));
  by_token_.emplace(attempt->token(), attempt);
  // One of the same message that has not begun yet has lost its lease to this one.
  const auto same =
      std::find_if(station->ahead.begin(), station->ahead.end(),
                   [&attempt](const AttemptPtr& other) { return other->seq() == attempt->seq(); });
  if (same != station->ahead.end()) {
    const AttemptPtr old = *same;
    old->lose(Attempt::Ending::killed);
  }
  if (takes_nothing() || !station->may_begin(Clock::now())) {
    attempt->give_back(takes_nothing() ? kWorkerEnds : "the queue starts nothing now", Millis{0});
  } else if (station->has_free_slot()) {
    begin(attempt);
  } else if (station->has_room_ahead()) {
    attempt->wait_for_slot();
    station->ahead.push_back(attempt);
    bound_ahead(station);
  } else {
    attempt->give_back("no slot is free", Millis{0});
  }
}

// There is a slot for it.
void Loop::begin(const AttemptPtr& attempt) {
  const std::int64_t seq = attempt->seq();
  // Of those that may have killed their worker one runs at a time, so that the others are cleared.
  if (shop_.record.is_suspect(seq)) {
    const bool other = std::any_of(by_seq_.begin(), by_seq_.end(), [this, seq](const auto& entry) {
      return entry.first != seq && shop_.record.is_suspect(entry.first);
    });
    if (other) {
      attempt->give_back("waits for another message that may have killed its worker", kSuspectWait);
      return;
    }
  }
  attempt->take_slot();
  // An attempt of the same message before this one has lost its lease, whether it knows or not. The
  // folder is one: the old script goes first.
  if (const auto waits = waiting_.find(seq); waits != waiting_.end()) {
    const AttemptPtr old = waits->second;
    old->lose(Attempt::Ending::killed);
  }
  if (const auto works = by_seq_.find(seq); works != by_seq_.end()) {
    const AttemptPtr old = works->second;
    if (!old->settled()) old->lose(Attempt::Ending::killed);
  }
  if (by_seq_.count(seq) != 0) {
    waiting_[seq] = attempt;
  } else {
    attempt->launch();
  }
}

// A slot is free: the next begins without a word with the server.
void Loop::begin_ahead(const StationPtr& station) {
  if (takes_nothing() || !station->may_begin(Clock::now())) give_back_ahead(*station);
  while (!station->ahead.empty() && station->has_free_slot()) {
    const AttemptPtr next = station->ahead.front();
    station->ahead.pop_front();
    begin(next);
  }
}

void Loop::give_back_ahead(Station& station) {
  while (!station.ahead.empty()) {
    const AttemptPtr last = station.ahead.back();
    station.ahead.pop_back();
    last->give_back("leased ahead, not begun", Millis{0});
  }
}

// Another worker may have a slot for what waits here: when the scripts are not as short as they
// were, it goes back.
void Loop::bound_ahead(const StationPtr& station) {
  if (std::exchange(station->ahead_timer.armed, true)) return;
  station->ahead_timer.timer.expires_after(kAheadHold);
  station->ahead_timer.timer.async_wait(
      [this, station, first = station->ahead.front()](const error_code& error) {
        station->ahead_timer.armed = false;
        if (error || station->ahead.empty()) return;
        if (station->ahead.front() == first) {
          station->ahead_is_slow();
          give_back_ahead(*station);
        } else {
          bound_ahead(station);
        }
      });
}

// Nothing of it is begun any more.
void Loop::close(const StationPtr& station) {
  give_back_ahead(*station);
  for (const auto request : station->reserves) client_.hang_up(request);
}

// --- From attempts ---

void Loop::on_started(const AttemptPtr& attempt) {
  by_child_.emplace(attempt->child(), attempt);
  by_seq_[attempt->seq()] = attempt;
}

void Loop::on_settled(const AttemptPtr& attempt) {
  const StationPtr& station = attempt->station();
  by_token_.erase(attempt->token());
  if (attempt->clears_message()) shop_.record.clear(attempt->seq());
  std::erase(station->ahead, attempt);
  const auto waits = waiting_.find(attempt->seq());
  if (waits != waiting_.end() && waits->second == attempt) waiting_.erase(waits);
  if (attempt->has_slot()) begin_ahead(station);
  fill(station);
  end_if_done();
}

void Loop::on_script_error(const StationPtr& station, std::string error) {
  roster_.set_error(station, std::move(error));
}

// --- From scripts ---

void Loop::on_line(ChildId child, const wire::PipeLine& line) {
  const auto found = by_child_.find(child);
  if (found == by_child_.end()) return;
  const AttemptPtr attempt = found->second;
  attempt->on_line(line);
}

void Loop::on_ended(ChildId child, Ended&& ended) {
  const auto found = by_child_.find(child);
  if (found == by_child_.end()) return;
  const AttemptPtr attempt = found->second;
  attempt->on_ended(std::move(ended));
}

void Loop::on_gone(ChildId child) {
  const auto found = by_child_.find(child);
  if (found == by_child_.end()) return;
  const AttemptPtr attempt = found->second;
  by_child_.erase(found);
  const std::int64_t seq = attempt->seq();
  if (const auto in_use = by_seq_.find(seq); in_use != by_seq_.end() && in_use->second == attempt) {
    by_seq_.erase(in_use);
  }
  attempt->on_gone();
  if (const auto next = waiting_.find(seq); next != waiting_.end()) {
    const AttemptPtr waiting = next->second;
    waiting_.erase(next);
    waiting->launch();
  }
  end_if_done();
}

// --- The process ---

void Loop::wait_children() {
  children_ready_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                             [this](const error_code& error) {
                               if (error) return;
                               supervisor_.handle();
                               wait_children();
                             });
}

void Loop::wait_signals() {
  signals_ready_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                            [this](const error_code& error) {
                              if (error) return;
                              take_signals();
                              wait_signals();
                            });
}

void Loop::take_signals() {
  signalfd_siginfo info{};
  while (::read(signal_fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGURG) {
      const bool meant = static_cast<int>(info.ssi_pid) == stops_.holder() || !stops_.has_holder();
      if (meant) make_way();
    } else if (signal == SIGHUP) {
      // The local server ends. Scripts that run go on, and wait for the next one; without any there
      // is nothing to stay for.
      if (is_idle()) stops_.tell_once();
    } else {
      stops_.hear();
    }
    follow(fmt::format("SIG{}", ::sigabbrev_np(signal)));
  }
}

bool Loop::is_ending() {
  take_signals();
  return stops_.any();
}

bool Loop::was_just_told() {
  if (!is_ending()) return false;
  const bool is_new = stops_.followed() == 0;
  return is_new || std::chrono::steady_clock::now() - told_at_ < kToldTogether;
}

void Loop::soon(std::function<void()> then) {
  const auto timer = std::make_shared<boost::asio::steady_timer>(io_);
  timer->expires_after(kSoon);
  timer->async_wait([timer, then = std::move(then)](const error_code& error) {
    if (!error) then();
  });
}

// Does what we were told, as often as we were.
void Loop::follow(std::string_view by) {
  while (!ended_ && stops_.next()) {
    told_at_ = std::chrono::steady_clock::now();
    if (stops_.followed() == 1) {
      spdlog::info("{}: taking no more messages; {} scripts may end", by, supervisor_.running());
      drain();
      // Whoever waits for this worker learns why it takes nothing.
      if (connected_ && supervisor_.running() > 0) reporter_.say_alive(name_, true, [] {});
    } else if (stops_.followed() == 2) {
      spdlog::info("{}: stopping {} scripts and handing their messages back", by,
                   supervisor_.running());
      hand_back_all();
    } else {
      // Their entries stay: to the next worker they are scripts whose worker has died.
      spdlog::warn("{}: leaving at once; {} scripts are killed, their messages lose their lease",
                   by, supervisor_.running());
      return end();
    }
    end_if_done();
  }
}

bool Loop::is_idle() const {
  return supervisor_.running() == 0 && by_token_.empty() && reporter_.idle();
}

// Another process is to go on, as soon as all that only this one knows is told.
void Loop::make_way() {
  if (stops_.holder() == 0) return;
  if (!stops_.has_holder()) supervisor_.lose_holder();
  if (takes_nothing()) return;
  spdlog::info("making way for another process, which goes on with {} scripts",
               supervisor_.running());
  making_way_ = true;
  drain();
  end_if_done();
}

void Loop::drain() {
  for (const auto& [name, station] : roster_.stations()) close(station);
  // What waits for a folder has not begun.
  const auto waiting = std::exchange(waiting_, {});
  for (const auto& [seq, attempt] : waiting) attempt->give_back(kWorkerEnds, Millis{0});
}

void Loop::hand_back_all() {
  std::vector<AttemptPtr> running;
  for (const auto& [child, attempt] : by_child_) running.push_back(attempt);
  for (const AttemptPtr& attempt : running) attempt->hand_back();
}

void Loop::end_if_done() {
  if (outdated_ && connected_ && stops_.followed() == 0 && is_idle()) {
    stops_.tell_once();
    return follow("idle, and the server that started this worker is gone");
  }
  if (making_way_ && stops_.followed() == 0 && !asks_any(roster_) &&
      std::all_of(by_token_.begin(), by_token_.end(),
                  [](const auto& entry) { return entry.second->is_kept(); }) &&
      // What no server has confirmed the next one tells. In the file it is safer, but that needs
      // a disk with room.
      (reporter_.idle() || reporter_.keep_untold() || reporter_.is_kept())) {
    go_();
  }
  if (stops_.followed() == 0 || asks_any(roster_)) return;
  if (!by_child_.empty() || !by_token_.empty()) return;
  if (reporter_.idle()) {
    if (!connected_) return end();
    if (!std::exchange(parting_, true)) reporter_.part(name_, [this] { end(); });
    return;
  }
  if (connected_) return;
  // The server is gone too. What it has not heard, it hears of the next worker, which a server of
  // this machine starts; unless that cannot be kept for it. Then the scripts would run again.
  if (!reporter_.keep_untold() && !is_home_removed()) {
    if (std::exchange(stays_since_, stops_.followed()) == stops_.followed()) return;
    spdlog::warn(
        "the ends of {} scripts can be told to nobody now, nor be kept: this worker stays until "
        "its server is back or they can be kept; the third SIGTERM ends it, and they are lost",
        reporter_.untold());
    return;
  }
  if (kept_) return end();
  end_timer_.expires_after(kLastWordsWait);
  end_timer_.async_wait([this](const error_code& error) {
    if (!error) end();
  });
}

void Loop::end() {
  if (std::exchange(ended_, true)) return;
  reporter_.leave_untold();
  io_.stop();
}

}  // namespace rq::worker
