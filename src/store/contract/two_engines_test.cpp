// Two engines on one disk in memory, with faults of every kind: the second opens it at any moment,
// the first goes on until it is told; the power goes, the clock is stepped. Many commands are in a
// batch, so there is no one order to compare with: this holds what must be true of every order.
//
// RQ_SEEDS=n plays n seeds, RQ_SEED=n that one alone.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "store/contract/commands_rig.h"
#include "store/contract/model_rig.h"
#include "store/memory/memory_store.h"

namespace rq::store::contract {
namespace {

using memory::Content;
using memory::Disk;
using memory::Fault;
using TokenKey = std::tuple<Seq, std::int64_t, Boot>;

constexpr int kSteps = 120;
constexpr std::size_t kServers = 2;

TokenKey key_of(const Token& token) { return {token.seq, token.attempt, token.boot}; }

// What clients have been told, and what must therefore be true.
class Promises {
 public:
  // Before it is known what becomes of it: what it may remove.
  std::vector<Seq> submitted(const Envelope& envelope, const Content& content) {
    std::vector<Seq> out = removes(envelope, content);
    for (const Seq seq : out) ++removers_[seq];
    if (std::holds_alternative<DeleteQueue>(envelope.command)) ++deletes_;
    return out;
  }
  // It has had no effect.
  void refused(const std::vector<Seq>& removes) {
    for (const Seq seq : removes) --removers_[seq];
  }
  void deleted() { --deletes_; }
  void put(Seq seq) {
    EXPECT_TRUE(numbers_.insert(seq).second) << "number " << seq << " is given twice";
    puts_.insert(seq);
    if (deletes_ > 0) ++removers_[seq];  // it may go with its queue
  }
  void leased(const Message& message, const Content& content) {
    ASSERT_NE(message.lease, nullptr);
    const TokenKey token{message.seq, message.lease->attempt, message.lease->boot};
    EXPECT_TRUE(tokens_.insert(token).second) << "a token is given twice: " << message.seq;
    looked_at(message, content);
  }
  static void looked_at(const Message& message, const Content& content) {
    EXPECT_NE(message.payload, memory::kNotAskedFor) << message.seq;
    const auto stored = content.messages.find(message.seq);
    if (stored == content.messages.end()) return;
    EXPECT_EQ(message.payload, stored->second->payload);
  }
  void ended(const Token& token) {
    EXPECT_TRUE(tokens_.contains(key_of(token))) << "nobody was given this token";
    EXPECT_TRUE(ended_.insert(key_of(token)).second) << "a lease has ended twice: " << token.seq;
  }
  [[nodiscard]] bool told(const Token& token) const { return tokens_.contains(key_of(token)); }
  void synced() { durable_ = puts_; }
  void power_lost(const Content& content) {
    std::erase_if(
        puts_, [&](Seq seq) { return !durable_.contains(seq) && !content.messages.contains(seq); });
    ended_.clear();  // of relaxed queues, which may be as they were
  }
  // What was put is there until somebody has asked to remove it.
  void check(const Content& content) const {
    for (const Seq seq : puts_) {
      const auto removers = removers_.find(seq);
      if (removers != removers_.end() && removers->second > 0) continue;
      EXPECT_TRUE(content.messages.contains(seq)) << "message " << seq << " is lost";
    }
  }

 private:
  // What it may remove. In queues made on demand nothing stays that has finished.
  static std::vector<Seq> removes(const Envelope& envelope, const Content& content) {
    std::vector<Seq> out;
    if (const auto* finish = std::get_if<Finish>(&envelope.command)) {
      for (const Finish::Item& item : finish->items) out.push_back(item.token.seq);
    } else if (const auto* act = std::get_if<Act>(&envelope.command)) {
      const bool ends = act->action == Action::remove || act->action == Action::cancel ||
                        act->action == Action::kill || act->action == Action::move;
      if (ends) out = act->messages;
    } else if (const auto* gone = std::get_if<DeleteQueue>(&envelope.command)) {
      // All that may be in it when its turn comes.
      for (const auto& [seq, message] : content.messages) {
        const auto queue = content.queues.find(message->queue);
        if (queue != content.queues.end() && queue->second.name == gone->queue) out.push_back(seq);
      }
    }
    return out;
  }

  std::set<Seq> numbers_, puts_, durable_;
  std::map<Seq, std::int64_t> removers_;
  std::int64_t deletes_ = 0;  // of queues, that are not answered
  std::set<TokenKey> tokens_, ended_;
};

// What happened as the notices tell it: each move is legal, and together they give what is stored.
class Lives {
 public:
  // What is known of a batch that was not told is what it left.
  void read(const Content& content) {
    states_.clear();
    for (const auto& [seq, message] : content.messages) states_[seq] = message->state;
  }
  void fold(const std::vector<Notice>& notices, const Content& content) {
    for (const Notice& notice : notices) fold(notice);
    for (const auto& [seq, message] : content.messages) {
      const auto known = states_.find(seq);
      ASSERT_NE(known, states_.end()) << "nobody told that message " << seq << " was put";
      EXPECT_EQ(known->second, message->state) << seq;
    }
    EXPECT_EQ(states_.size(), content.messages.size()) << "one is gone, and nobody told so";
  }

 private:
  void fold(const Notice& notice) {
    using What = Notice::What;
    if (notice.seq == 0) return;
    if (notice.what == What::put) {
      EXPECT_TRUE(states_.emplace(notice.seq, notice.to).second) << notice.seq;
      return;
    }
    const auto known = states_.find(notice.seq);
    ASSERT_NE(known, states_.end()) << notice.seq;
    EXPECT_EQ(known->second, notice.from) << notice.seq;
    if (notice.what == What::message) {
      ASSERT_TRUE(notice.event) << notice.seq;
      EXPECT_EQ(next(notice.from, *notice.event), notice.to) << notice.seq;
      known->second = notice.to;
    } else if (notice.what == What::removed) {
      states_.erase(known);
    }
  }

  std::map<Seq, State> states_;
};

// The lines as they were before a batch. What stood in one before it and stands there after it, and
// was not touched, was ready all the time: it is no better than what a reserve was given meanwhile.
class Lines {
 public:
  explicit Lines(const Content& content) {
    for (const auto& [seq, message] : content.messages) {
      if (message->state == State::que) ready_[seq] = {message->queue, line_key(*message)};
    }
  }
  // After the batch: what nobody touched.
  void keep(const std::vector<Notice>& notices, const Content& content) {
    std::set<std::string> changed;
    for (const Notice& notice : notices) {
      ready_.erase(notice.seq);
      if (notice.what == Notice::What::queue || notice.what == Notice::What::queue_removed) {
        changed.insert(notice.queue);
      }
    }
    std::erase_if(ready_, [&](const auto& one) {
      const auto message = content.messages.find(one.first);
      if (message == content.messages.end()) return true;
      const auto queue = content.queues.find(one.second.queue);
      return queue == content.queues.end() || changed.contains(queue->second.name) ||
             line_key(*message->second) != one.second.key;
    });
  }
  void check(const Reserve& reserve, const Reserved& got, const Content& content) const {
    if (got.messages.empty() || reserve.only) return;
    const LineKey worst = line_key(got.messages.back());
    for (const auto& [seq, one] : ready_) {
      const Queue& queue = content.queues.at(one.queue);
      // A queue that is named twice counts as the first of them says.
      const auto asked = std::find_if(reserve.queues->begin(), reserve.queues->end(),
                                      [&](const ReserveQueue& q) { return q.queue == queue.name; });
      if (asked == reserve.queues->end() || asked->limit > 0 || !is_open(queue)) continue;
      EXPECT_GE(one.key, worst) << "message " << seq << " is better than what a reserve got";
    }
  }
  static bool is_open(const Queue& queue) {
    return (queue.admin == Admin::up || queue.admin == Admin::drain) &&
           queue.script_error.empty() && !queue.being_deleted;
  }

 private:
  struct One {
    QueueId queue = 0;
    LineKey key;
  };
  std::map<Seq, One> ready_;
};

struct Server {
  std::uint64_t id = 0;
  bool dead = false;     // deposed, or the power was lost
  bool running = false;  // it is in the middle of a batch
  int calls = 0;         // of the port, in this batch
  std::unique_ptr<memory::MemoryStore> store;
  std::unique_ptr<engine::Engine> engine;
  struct Asked {
    Envelope envelope;
    std::int64_t left = 1;  // answers that are still to come
    std::vector<Seq> removes;
  };
  std::map<std::uint64_t, Asked> asked;  // by request
};

class World {
 public:
  explicit World(std::uint64_t seed)
      : draw_(seed), options_(memory::drawn_from(draw_.next())), commands_(draw_, false) {
    servers_.push_back(start());
    for (const std::string name : {"a", "b", "c"}) run(servers_[0], define(name));
  }

  void play() {
    for (int i = 0; i < kSteps && !failed(); ++i) step();
    faults_ = false;
    drain();
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] std::string dump() const { return disk_->content().dump(); }

 private:
  static bool failed() { return testing::Test::HasFailure(); }
  [[nodiscard]] const Content& content() const { return disk_->content(); }

  std::vector<Envelope> define(const std::string& name) {
    QueueSettings settings;
    settings.lease = seconds{20};
    settings.retries = 1;
    settings.losses = 5;
    settings.backoff = {.kind = BackoffKind::fixed, .base = seconds{5}};
    settings.sync = name == "b" ? SyncClass::relaxed : SyncClass::always;
    settings.keep_done.age = settings.keep_err.age = settings.keep_cancelled.age =
        std::chrono::hours{24 * 3650};
    std::vector<Envelope> out;
    out.push_back({.ticket = {.connection = 99, .request = ++own_requests_},
                   .command = DefineQueue{
                       .queue = name, .mode = DefineQueue::Mode::replace, .settings = settings}});
    return out;
  }

  std::unique_ptr<Server> start() {
    auto server = std::make_unique<Server>();
    Server* self = server.get();
    server->id = ++ids_;
    memory::Options options = options_;
    options.seed = draw_.next();
    options.turn = [this, self] { turn(*self); };
    options.load_fails = [this] { return faults_ && draw_.one_in(40); };
    options.commit_fails = [this] {
      if (!faults_ || !draw_.one_in(12)) return Fault::none;
      return draw_.pick<Fault>({Fault::no, Fault::unknown_and_done, Fault::unknown_and_not});
    };
    server->store = std::make_unique<memory::MemoryStore>(disk_, options);
    server->engine = std::make_unique<engine::Engine>(*server->store);
    EXPECT_TRUE(server->engine->open());
    trace_.push_back(
        fmt::format("server {} opens with boot {}", server->id, server->store->boot()));
    return server;
  }

  // A call of the port: anybody else may go first.
  void turn(Server& caller) {
    ++caller.calls;
    if (!faults_ || nested_ || !draw_.one_in(15)) return;
    nested_ = true;
    if (draw_.one_in(4)) {
      lose_power();
    } else if (servers_.size() < kServers) {
      servers_.push_back(start());
      run(servers_.back(), some_commands());
    } else {
      for (auto& server : servers_) {
        if (server.get() != &caller && !server->running) run(server, some_commands());
      }
    }
    nested_ = false;
  }

  void lose_power() {
    const std::size_t lost = draw_.below(disk_->unsynced() + 1);
    trace_.push_back(fmt::format("the power is lost, with {} commits", lost));
    disk_->lose_power(lost);
    promises_.power_lost(content());
    lives_.read(content());
    for (auto& server : servers_) server->dead = true;
    check();
  }

  // Of its lease, if somebody was told. When the answer got lost, nobody was.
  [[nodiscard]] std::optional<Token> told_token(const Message& message) const {
    if (!message.lease) return {};
    const Token token{message.seq, message.lease->attempt, message.lease->boot};
    return promises_.told(token) ? std::optional{token} : std::nullopt;
  }

  View view() const {
    View out;
    for (const auto& [seq, m] : content().messages) {
      out.messages.push_back(seq);
      if (const auto token = told_token(*m)) out.live.push_back(*token);
    }
    return out;
  }

  std::vector<Envelope> some_commands() {
    std::vector<Envelope> out;
    const auto n = draw_.below(7);
    for (std::uint64_t i = 0; i < n; ++i) {
      Envelope envelope = commands_.next(now_, view());
      if (auto* changed = std::get_if<DefineQueue>(&envelope.command)) {
        // Retention would remove what nobody asked to remove.
        changed->settings = {};
        changed->settings->sync = changed->queue == "b" ? SyncClass::relaxed : SyncClass::always;
        changed->settings->keep_done.age = changed->settings->keep_cancelled.age =
            std::chrono::hours{24 * 3650};
        changed->settings->lease = seconds{static_cast<int>(10 + draw_.below(10))};
      }
      out.push_back(std::move(envelope));
    }
    return out;
  }

  void step() {
    if (draw_.below(3) == 0) {
      const Millis by = draw_.pick<Millis>({Millis{1}, seconds{1}, seconds{7}, seconds{30}});
      shift_ = draw_.one_in(10) ? draw_.pick<Millis>({seconds{-600}, seconds{600}}) : Millis{0};
      now_ += by + shift_;
    }
    if (faults_ && draw_.one_in(60)) lose_power();
    std::erase_if(servers_, [](const auto& server) { return server->dead; });
    if (servers_.empty() || (servers_.size() < kServers && draw_.one_in(15))) {
      servers_.push_back(start());
    }
    run(servers_[draw_.below(servers_.size())], some_commands());
    std::erase_if(servers_, [](const auto& server) { return server->dead; });
  }

  // Each request is asked once; an `each` wants as many answers as it is told to take.
  void run(std::unique_ptr<Server>& of, std::vector<Envelope> batch) {
    Server& server = *of;
    for (const Envelope& envelope : batch) {
      trace_.push_back(
          fmt::format("{} server {}: {}", base::to_ms(now_), server.id, text_of(envelope)));
      std::vector<Seq> removes = promises_.submitted(envelope, content());
      if (std::holds_alternative<StopWaiting>(envelope.command)) continue;
      if (std::holds_alternative<Disconnect>(envelope.command)) {
        forget(server, envelope.ticket);
        continue;
      }
      const auto* reserve = std::get_if<Reserve>(&envelope.command);
      const std::int64_t n = reserve != nullptr && reserve->each ? reserve->limit : 1;
      server.asked[envelope.ticket.request] = {copy_of(envelope), n, std::move(removes)};
    }
    Outbox outbox;
    Lines lines(content());
    server.running = true;
    server.calls = 0;
    const Committed done = server.engine->run(
        batch, {.now = now_, .shift = std::exchange(shift_, Millis{0}), .want_notices = true},
        outbox);
    server.running = false;
    EXPECT_LE(server.calls, server.store->rounds_max() + 1) << "calls of the port";
    lines.keep(outbox.notices, content());
    settle(server, done, outbox, lines);
    check();
  }

  void settle(Server& server, const Committed& done, const Outbox& outbox, const Lines& lines) {
    const bool yes = done.what == Committed::What::yes;
    if (yes) {
      EXPECT_TRUE(disk_->is_newest(server.store->boot())) << "a deposed engine has committed";
      if (disk_->unsynced() == 0) promises_.synced();
      lives_.fold(outbox.notices, content());
    } else {
      lives_.read(content());
      trace_.push_back(fmt::format("server {}: {}", server.id, done.why.message));
      EXPECT_TRUE(outbox.notices.empty());
    }
    for (const Delivery& delivery : outbox.deliveries) {
      bytes_ +=
          fmt::format("{} {} {}\n", server.id, delivery.ticket.request, text_of(delivery.reply));
      answered(server, delivery, yes, lines);
    }
    std::erase_if(server.asked, [](const auto& one) { return one.second.left == 0; });
    for (; deleted_ > 0; --deleted_) promises_.deleted();
    if (disk_->unsynced() == 0) promises_.synced();
    if (done.what == Committed::What::deposed) server.dead = true;
    if (yes || server.dead) return;
    EXPECT_TRUE(server.engine->open());
  }

  void forget(Server& server, const Ticket& ticket) {
    // What was in the mailbox before it is answered or not, as it comes.
    for (auto& [request, asked] : server.asked) {
      if (asked.envelope.ticket.connection == ticket.connection) asked.left = -1;
    }
  }

  void answered(Server& server, const Delivery& delivery, bool yes, const Lines& lines) {
    auto at = server.asked.upper_bound(delivery.ticket.request);
    if (at == server.asked.begin()) {
      if (delivery.ticket.connection != 99) {
        ADD_FAILURE() << "nobody asked request " << delivery.ticket.request;
      }
      return;
    }
    --at;
    Server::Asked& asked = at->second;
    const auto* error = std::get_if<base::Error>(&delivery.reply);
    EXPECT_TRUE(yes || error != nullptr) << "an answer though nothing was committed";
    // A fault answers all that an `each` still wanted; its part and its rest may both have been
    // told.
    if (!yes && asked.left == 0 && delivery.ticket.request > at->first) return;
    if (asked.left == 0) ADD_FAILURE() << "request " << at->first << " was answered twice";
    const auto* reserved = std::get_if<Reserved>(&delivery.reply);
    const bool part = reserved != nullptr && !reserved->messages.empty() && asked.left > 0;
    if (asked.left >= 0) {
      asked.left = part && each(asked.envelope) ? asked.left - std::ssize(reserved->messages) : 0;
      EXPECT_GE(asked.left, 0);
    }
    const bool refused = error != nullptr && !base::is_fault(*error);
    if (refused) promises_.refused(asked.removes);
    if (std::holds_alternative<DeleteQueue>(asked.envelope.command)) ++deleted_;
    if (reserved != nullptr) {
      lines.check(std::get<Reserve>(asked.envelope.command), *reserved, content());
    }
    note(asked.envelope, delivery.reply);
  }

  static bool each(const Envelope& envelope) {
    const auto* reserve = std::get_if<Reserve>(&envelope.command);
    return reserve != nullptr && reserve->each;
  }

  void put(const PutDone& done) {
    if (done.repeated) return;
    promises_.put(done.seq);
    const auto stored = content().messages.find(done.seq);
    if (stored == content().messages.end()) return;
    const auto queue = content().queues.find(stored->second->queue);
    ASSERT_NE(queue, content().queues.end());
    if (queue->second.settings.sync == SyncClass::always && !nested_) {
      EXPECT_EQ(disk_->unsynced(), 0U) << "an OK that is not on disk: " << done.seq;
    }
  }

  void note(const Envelope& envelope, const Reply& reply) {
    if (const auto* one = std::get_if<PutDone>(&reply)) {
      put(*one);
    } else if (const auto* many = std::get_if<PutManyDone>(&reply)) {
      for (const auto& item : many->puts) {
        if (item) put(*item);
      }
    } else if (const auto* reserved = std::get_if<Reserved>(&reply)) {
      for (const Message& message : reserved->messages) {
        promises_.leased(message, content());
        commands_.remember({message.seq, message.lease->attempt, message.lease->boot});
      }
      EXPECT_TRUE(std::is_sorted(
          reserved->messages.begin(), reserved->messages.end(),
          [](const Message& a, const Message& b) { return line_key(a) < line_key(b); }));
    } else if (const auto* peeked = std::get_if<Peeked>(&reply)) {
      Promises::looked_at(*peeked->message, content());
    } else if (const auto* finished = std::get_if<FinishDone>(&reply)) {
      const auto& items = std::get<Finish>(envelope.command).items;
      for (std::size_t i = 0; i < items.size(); ++i) {
        if (finished->items[i]) promises_.ended(items[i].token);
      }
    }
  }

  // True of every content that is committed.
  void check() {
    for (const std::string& finding : content().findings()) ADD_FAILURE() << finding;
    promises_.check(content());
    for (const auto& [seq, message] : content().messages) {
      EXPECT_NE(message->payload, memory::kNotAskedFor);
    }
    if (failed() && !std::exchange(told_, true)) {
      for (const std::string& line : trace_) std::cerr << line << "\n";
    }
  }

  // --- The end: no faults any more ---

  void rest(std::unique_ptr<Server>& server) {
    for (int i = 0; i < 5000 && !failed(); ++i) {
      run(server, {});
      if (server->engine->next_wake() > now_) return check_rest(*server);
    }
    ADD_FAILURE() << "the engine never comes to rest";
  }

  // Whoever has no answer waits for a message, or stands behind such a reserve.
  void check_rest(const Server& server) {
    std::set<std::uint64_t> waits;
    for (const auto& [request, asked] : server.asked) {
      if (asked.left == -1) continue;
      const Ticket& ticket = asked.envelope.ticket;
      if (ticket.in_turn && waits.contains(ticket.connection)) continue;
      const auto* reserve = std::get_if<Reserve>(&asked.envelope.command);
      if (reserve == nullptr || !reserve->wait_until) {
        ADD_FAILURE() << "no answer: " << text_of(asked.envelope);
        continue;
      }
      waits.insert(ticket.connection);
      for (const ReserveQueue& wanted : *reserve->queues) {
        for (const auto& [id, queue] : content().queues) {
          if (queue.name != wanted.queue || !Lines::is_open(queue)) continue;
          EXPECT_TRUE(content().empty(id, Place::line))
              << "a message is ready, and this waits: " << text_of(asked.envelope);
        }
      }
    }
  }

  std::vector<Envelope> one(Command command) {
    std::vector<Envelope> out;
    out.push_back(
        {.ticket = {.connection = 99, .request = ++own_requests_}, .command = std::move(command)});
    return out;
  }

  void drain() {
    if (failed()) return;
    std::erase_if(servers_, [](const auto& server) { return server->dead; });
    servers_.push_back(start());  // whoever was there is told so
    while (servers_.size() > 1 && !failed()) {
      run(servers_.front(), {});
      EXPECT_TRUE(servers_.front()->dead) << "it was replaced, and goes on";
      servers_.erase(servers_.begin());
    }
    auto& server = servers_.front();
    rest(server);
    for (std::uint64_t c = 1; c <= kConnections; ++c) {
      std::vector<Envelope> batch;
      batch.push_back({.ticket = {.connection = c}, .command = Disconnect{}});
      run(server, std::move(batch));
    }
    const auto queues = content().queues;
    for (const auto& [id, queue] : queues) {
      run(server, one(SetAdmin{.queue = queue.name, .admin = Admin::up}));
      run(server, one(SetScriptError{.queue = queue.name}));
    }
    rest(server);
    std::int64_t left = 1;
    for (int i = 0; i < 2000 && left > 0 && !failed(); ++i) {
      now_ += std::chrono::hours{1};
      rest(server);
      left = work(server);
    }
    EXPECT_EQ(left, 0) << "it does not drain";
  }

  // Takes what is ready, and finishes it; how many are left to be done.
  std::int64_t work(std::unique_ptr<Server>& server) {
    std::int64_t left = 0;
    const auto queues = content().queues;
    for (const auto& [id, queue] : queues) {
      Reserve reserve;
      reserve.queues = std::make_shared<const std::vector<ReserveQueue>>(
          std::vector<ReserveQueue>{{.queue = queue.name}});
      reserve.limit = 20;
      run(server, one(std::move(reserve)));
    }
    Finish finish;
    std::vector<Seq> prep;
    for (const auto& [seq, message] : content().messages) {
      if (const auto token = told_token(*message)) finish.items.push_back({.token = *token});
      if (message->state == State::prep) prep.push_back(seq);
      if (!is_finished(message->state)) ++left;
    }
    if (!finish.items.empty()) run(server, one(std::move(finish)));
    if (!prep.empty()) run(server, one(Act{.action = Action::commit, .messages = prep}));
    return left;
  }

  Draw draw_;
  memory::Options options_;
  Commands commands_;
  std::shared_ptr<Disk> disk_ = std::make_shared<Disk>();
  std::vector<std::unique_ptr<Server>> servers_;
  Promises promises_;
  Lives lives_;
  bool faults_ = true;
  bool nested_ = false;
  bool told_ = false;
  int deleted_ = 0;  // deletes of queues that were answered in this batch
  std::uint64_t ids_ = 0;
  std::uint64_t own_requests_ = std::uint64_t{1} << 40U;
  Instant now_ = base::from_ms(1'700'000'000'000);
  Millis shift_{};
  std::vector<std::string> trace_;
  std::string bytes_;
};

class TwoEnginesGames : public testing::TestWithParam<std::uint64_t> {};

TEST_P(TwoEnginesGames, KeepWhatWasPromisedWhateverFails) {
  for_each_seed(1000, [](std::uint64_t seed) { World(seed).play(); }, {GetParam(), kShares});
}
INSTANTIATE_TEST_SUITE_P(Shares, TwoEnginesGames, testing::Range(std::uint64_t{0}, kShares));

TEST(TwoEngines, TheSameSeedGivesTheSameBytes) {
  for_each_seed(20, [](std::uint64_t seed) {
    std::string before;
    for (int i = 0; i < 2; ++i) {
      World world(seed);
      world.play();
      const std::string now = world.bytes() + world.dump();
      EXPECT_TRUE(i == 0 || now == before);
      before = now;
    }
  });
}

}  // namespace
}  // namespace rq::store::contract
