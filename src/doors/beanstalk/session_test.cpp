#include "doors/beanstalk/session.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/limits.h"
#include "doors/beanstalk/limits.h"

namespace rq::doors::beanstalk {
namespace {

using base::Instant;
using base::Millis;
using std::chrono::seconds;
using namespace std::string_literals;

// The engine's place: keeps what is asked, and answers what the test says.
class Desk : public Host {
 public:
  void submit(const core::Ticket& ticket, core::Command&& command) override {
    if (const auto* forget = std::get_if<core::DeleteQueue>(&command)) {
      EXPECT_TRUE(forget->if_unused);
      forgotten.push_back(forget->queue);
      asides.push_back(ticket);
      return;
    }
    asked.push_back({ticket, std::move(command)});
  }
  [[nodiscard]] Instant now() const override { return time; }
  [[nodiscard]] Instant ahead() const override { return time; }
  [[nodiscard]] bool draining() const override { return drains; }
  [[nodiscard]] std::string stats(const core::EngineStatsDone& /*engine*/) const override {
    return "---\n";
  }

  template <typename Command>
  const Command& command(std::size_t i) {
    return std::get<Command>(asked.at(i).command);
  }

  std::vector<core::Envelope> asked;
  std::vector<std::string> forgotten;  // queues that shall go if they are unused
  std::vector<core::Ticket> asides;    // of these commands
  Instant time{seconds{1'000'000}};
  bool drains = false;
};

class Sessions : public ::testing::Test {
 protected:
  // As much as it takes in any number of turns; gives how much.
  static std::size_t feed(Session& to, std::string_view bytes) {
    std::size_t taken = to.feed(bytes);
    while (to.yielded()) taken += to.feed(bytes.substr(taken));
    return taken;
  }
  std::size_t feed(std::string_view bytes) { return feed(session, bytes); }
  // All bytes are taken.
  void send(std::string_view bytes) { EXPECT_EQ(session.feed(bytes), bytes.size()) << bytes; }
  std::string heard() {
    std::string said(session.unsent());
    session.out_sent(said.size());
    return said;
  }
  template <typename Reply>
  void answer(std::size_t i, Reply&& reply) {
    core::Delivery delivery{desk.asked.at(i).ticket, std::forward<Reply>(reply)};
    session.deliver(delivery);
  }
  core::Message leased(core::Seq seq, std::string payload, Millis ttr = seconds{60}) {
    core::Message message;
    message.seq = seq;
    message.state = core::State::run;
    message.payload = std::move(payload);
    message.lease = std::make_unique<core::Lease>();
    message.lease->attempt = 1;
    message.lease->boot = 7;
    message.lease->until = desk.time + ttr;
    return message;
  }
  core::Reserved reserved(std::initializer_list<core::Seq> seqs, Millis ttr = seconds{60}) {
    core::Reserved reply;
    for (const core::Seq seq : seqs) reply.messages.push_back(leased(seq, "x", ttr));
    return reply;
  }
  void reserve_one(core::Seq seq, Millis ttr = seconds{60}) {
    send("reserve\r\n");
    answer(desk.asked.size() - 1, reserved({seq}, ttr));
    heard();
    desk.asked.clear();
  }

  Desk desk;
  Session session{desk, 5, 100};
};

TEST_F(Sessions, APutBecomesAMessageOfTheTubeInUse) {
  send("use a/b\r\nput 3 4 5 2\r\nhi\r\n");
  EXPECT_EQ(heard(), "USING a/b\r\n");
  ASSERT_EQ(desk.asked.size(), 1U);
  const auto& put = desk.command<core::Put>(0);
  EXPECT_EQ(put.queue, "a%2Fb");
  EXPECT_EQ(put.message.payload, "hi");
  EXPECT_EQ(put.priority, -3);
  EXPECT_EQ(put.delay, Millis{4000});
  EXPECT_EQ(put.message.lease_length, Millis{5000});
  EXPECT_TRUE(put.make_queue);
  answer(0, core::PutDone{.seq = 9});
  EXPECT_EQ(heard(), "INSERTED 9\r\n");
}

TEST_F(Sessions, NeighboursGoAsOneCommandAndAreAnsweredEach) {
  send("put 0 0 1 1\r\na\r\nput 0 0 1 1\r\nb\r\nput 0 0 1 1\r\nc\r\nreserve\r\nreserve\r\n");
  ASSERT_EQ(desk.asked.size(), 2U);
  EXPECT_EQ(desk.command<core::PutMany>(0).puts.size(), 3U);
  EXPECT_EQ(desk.command<core::Reserve>(1).limit, 2);
  core::PutManyDone done;
  done.puts.emplace_back(core::PutDone{.seq = 1});
  done.puts.emplace_back(base::fail(base::Code::queue_full, ""));
  done.puts.emplace_back(core::PutDone{.seq = 3});
  answer(0, std::move(done));
  EXPECT_EQ(heard(), "INSERTED 1\r\nOUT_OF_MEMORY\r\nINSERTED 3\r\n");
  answer(1, reserved({1, 3}));
  EXPECT_EQ(heard(), "RESERVED 1 1\r\nx\r\nRESERVED 3 1\r\nx\r\n");

  send("delete 1\r\nrelease 3 7 0\r\ntouch 3\r\ndelete 8\r\n");
  ASSERT_EQ(desk.asked.size(), 4U);
  const auto& finish = desk.command<core::Finish>(2);
  ASSERT_EQ(finish.items.size(), 2U);
  EXPECT_TRUE(finish.items[0].remove);
  EXPECT_EQ(finish.items[0].token, (core::Token{1, 1, 7}));
  EXPECT_EQ(finish.items[1].outcome, core::Outcome::release);
  EXPECT_EQ(finish.items[1].priority, -7);
  EXPECT_EQ(desk.command<core::Act>(3).messages, std::vector<core::Seq>{8});
  core::FinishDone finished;
  finished.items.emplace_back(core::State::done);
  finished.items.emplace_back(core::State::que);
  answer(2, std::move(finished));
  // Job 3 is not in hand any more, so it cannot be touched.
  EXPECT_EQ(heard(), "DELETED\r\nRELEASED\r\nNOT_FOUND\r\n");
  core::ActDone act;
  act.items.emplace_back(base::fail(base::Code::not_found, ""));
  answer(3, std::move(act));
  EXPECT_EQ(heard(), "NOT_FOUND\r\n");
}

TEST_F(Sessions, AComplaintBetweenNeighboursKeepsItsPlace) {
  send("put 0 0 1 1\r\na\r\nnonsense\r\nput 0 0 1 1\r\nb\r\nwatch t\r\n");
  ASSERT_EQ(desk.asked.size(), 2U);
  answer(1, core::PutDone{.seq = 2});
  EXPECT_EQ(heard(), "");
  answer(0, core::PutDone{.seq = 1});
  EXPECT_EQ(heard(), "INSERTED 1\r\nUNKNOWN_COMMAND\r\nINSERTED 2\r\nWATCHING 2\r\n");
}

TEST_F(Sessions, WhatFollowsAReserveThatMayWaitIsDoneInTurn) {
  send("reserve-with-timeout 3\r\nput 0 0 1 1\r\na\r\n");
  EXPECT_FALSE(session.blocked());
  ASSERT_EQ(desk.asked.size(), 2U);
  EXPECT_EQ(desk.command<core::Reserve>(0).wait_until, desk.time + seconds{3});
  EXPECT_TRUE(desk.asked[0].ticket.in_turn);
  EXPECT_TRUE(desk.asked[1].ticket.in_turn);
  answer(0, core::Reserved{});
  EXPECT_EQ(heard(), "TIMED_OUT\r\n");
  answer(1, core::PutDone{.seq = 1});
  EXPECT_EQ(heard(), "INSERTED 1\r\n");
}

TEST_F(Sessions, TubesStayAsTheyAreBehindAReserveThatMayWait) {
  const std::string_view first = "reserve\r\nlist-tube-used\r\n";
  EXPECT_EQ(session.feed(std::string(first) + "use other\r\n"), first.size());
  EXPECT_TRUE(session.blocked());
  answer(0, reserved({1}));
  EXPECT_EQ(heard(), "RESERVED 1 1\r\nx\r\nUSING default\r\n");
  send("use other\r\n");
  EXPECT_EQ(heard(), "USING other\r\n");
}

TEST_F(Sessions, ManyCommandsBehindAReserveThatMayWaitStayUnread) {
  std::string flood = "reserve\r\n";
  for (std::size_t i = 0; i < kInFlightMax; ++i) flood += "kick 1\r\n";
  EXPECT_LT(session.feed(flood), flood.size());
  EXPECT_TRUE(session.blocked());
  EXPECT_LT(desk.asked.size(), kInFlightMax / 4);
  EXPECT_GT(desk.asked.size(), 100U);
}

TEST_F(Sessions, ManyBytesBehindAReserveThatMayWaitStayUnread) {
  send("reserve\r\n");
  const std::string put = "put 0 0 1 100\r\n" + std::string(100, 'x') + "\r\n";
  std::string flood;
  while (flood.size() < base::kMiB / 3) flood += put;
  const std::size_t taken = session.feed(flood);
  EXPECT_LT(taken, flood.size());
  EXPECT_TRUE(session.blocked());
  EXPECT_FALSE(desk.asked.empty());
}

TEST_F(Sessions, AReserveThatDoesNotWaitHoldsNothingBack) {
  send("reserve-with-timeout 0\r\nput 0 0 1 1\r\na\r\n");
  EXPECT_EQ(desk.asked.size(), 2U);
  EXPECT_FALSE(desk.command<core::Reserve>(0).wait_until.has_value());
  answer(1, core::PutDone{.seq = 1});
  answer(0, core::Reserved{});
  EXPECT_EQ(heard(), "TIMED_OUT\r\nINSERTED 1\r\n");
}

TEST_F(Sessions, ADeleteBehindAReserveOfThatJobWaitsForIt) {
  const std::string_view first = "reserve-job 4\r\n";
  EXPECT_EQ(session.feed(std::string(first) + "delete 4\r\n"), first.size());
  EXPECT_TRUE(session.blocked());
  EXPECT_EQ(desk.command<core::Reserve>(0).only, 4);
  answer(0, reserved({4}));
  send("delete 4\r\n");
  EXPECT_EQ(desk.command<core::Finish>(1).items.front().token.seq, 4);
}

// faults.md E1, relative: the number is known, but of a lease that has ended.
TEST_F(Sessions, ABuryBehindAReserveOfAJobWhoseTimeRanOutWaitsForIt) {
  reserve_one(1, seconds{10});
  desk.time += seconds{10};
  const std::string two = "reserve-job 1\r\nbury 1 0\r\n";
  EXPECT_EQ(session.feed(two), two.find("bury"));
  core::Reserved again = reserved({1});
  again.messages[0].lease->attempt = 2;
  answer(0, std::move(again));
  EXPECT_EQ(heard(), "RESERVED 1 1\r\nx\r\n");
  send("bury 1 0\r\n");
  EXPECT_EQ(desk.command<core::Finish>(1).items[0].token.attempt, 2);
}

TEST_F(Sessions, ManyReservesThatGotSomeGoOnWaitingForTheOthers) {
  send("reserve\r\nreserve\r\nreserve\r\n");
  ASSERT_EQ(desk.asked.size(), 1U);
  EXPECT_EQ(desk.command<core::Reserve>(0).limit, 3);
  EXPECT_TRUE(desk.command<core::Reserve>(0).each);
  answer(0, reserved({1}));
  EXPECT_EQ(heard(), "RESERVED 1 1\r\nx\r\n");
  ++desk.asked[0].ticket.request;
  answer(0, reserved({2, 3}));
  EXPECT_EQ(heard(), "RESERVED 2 1\r\nx\r\nRESERVED 3 1\r\nx\r\n");
}

TEST_F(Sessions, AWaitEndsWhereTheLastSecondOfAJobInHandBegins) {
  reserve_one(1, seconds{10});
  send("reserve\r\n");
  EXPECT_EQ(desk.command<core::Reserve>(0).lease_guard, seconds{1});
  desk.time += seconds{9};
  answer(0, core::Reserved{});
  EXPECT_EQ(heard(), "DEADLINE_SOON\r\n");
  // A reserve in the safety margin takes what is there, and does not wait.
  send("reserve-with-timeout 0\r\n");
  answer(1, core::Reserved{});
  EXPECT_EQ(heard(), "DEADLINE_SOON\r\n");
  // Touched, it is far from its end again.
  send("touch 1\r\n");
  core::HeartbeatDone touched;
  touched.items.emplace_back(core::HeartbeatDone::Item{.until = desk.time + seconds{10}});
  answer(2, std::move(touched));
  send("reserve-with-timeout 0\r\n");
  answer(3, core::Reserved{});
  EXPECT_EQ(heard(), "TOUCHED\r\nTIMED_OUT\r\n");
}

TEST_F(Sessions, AJobWhoseTimeRanOutCanStillBeDeleted) {
  reserve_one(1);
  send("delete 1\r\n");
  core::FinishDone lost;
  lost.items.emplace_back(base::fail(base::Code::lease_lost, ""));
  answer(0, std::move(lost));
  EXPECT_EQ(heard(), "");
  EXPECT_EQ(desk.command<core::Act>(1).action, core::Action::remove);
  core::ActDone removed;
  removed.items.emplace_back(core::ActDone::Item{.seq = 1});
  answer(1, std::move(removed));
  EXPECT_EQ(heard(), "DELETED\r\n");
}

TEST_F(Sessions, WatchAndIgnoreKeepOneTubeAtLeast) {
  send("watch a\r\nwatch a\r\nignore default\r\nignore a\r\nignore b\r\nlist-tubes-watched\r\n");
  EXPECT_EQ(heard(),
            "WATCHING 2\r\nWATCHING 2\r\nWATCHING 1\r\nNOT_IGNORED\r\nWATCHING 1\r\n"
            "OK 8\r\n---\n- a\n\r\n");
  send("reserve\r\n");
  const auto& queues = *desk.command<core::Reserve>(0).queues;
  ASSERT_EQ(queues.size(), 1U);
  EXPECT_EQ(queues.front().queue, "a");
}

TEST_F(Sessions, ATubeIsThereWhileSomebodyRefersToIt) {
  {
    Session other(desk, 6, 100);
    ASSERT_GT(other.feed("use t\r\nwatch t\r\n"), 0U);
    ASSERT_NE(desk.tubes.find("t"), nullptr);
    EXPECT_EQ(desk.tubes.find("t")->users, 1);
    EXPECT_EQ(desk.tubes.find("t")->watchers, 1);
    send("stats-tube t\r\n");
    answer(0, base::fail(base::Code::not_found, ""));
    EXPECT_NE(heard().find("current-using: 1\n"), std::string::npos);
  }
  EXPECT_EQ(desk.tubes.find("t"), nullptr);
  EXPECT_NE(desk.tubes.find("default"), nullptr);
  send("stats-tube t\r\n");
  answer(1, base::fail(base::Code::not_found, ""));
  EXPECT_EQ(heard(), "NOT_FOUND\r\n");
  EXPECT_EQ(desk.totals.open, 1);
  EXPECT_EQ(desk.totals.connections, 2);
}

TEST_F(Sessions, PausingATubeThatHasNoQueueYetMakesIt) {
  send("use t\r\npause-tube t 5\r\n");
  answer(0, base::fail(base::Code::not_found, ""));
  ASSERT_EQ(desk.asked.size(), 3U);
  EXPECT_TRUE(desk.command<core::DefineQueue>(1).on_demand);
  EXPECT_EQ(desk.command<core::SetAdmin>(2).lasts, Millis{5000});
  answer(2, core::QueueShown{});
  EXPECT_EQ(heard(), "USING t\r\nPAUSED\r\n");
  send("pause-tube nobody 5\r\n");
  answer(3, base::fail(base::Code::not_found, ""));
  EXPECT_EQ(heard(), "NOT_FOUND\r\n");
}

// faults.md E6: as beanstalkd counts them.
TEST_F(Sessions, APutThatIsRefusedIsCountedWhenItsNumbersCouldBeRead) {
  send("put 0 0 1 1 x\r\nput 0 0 1 101\r\n" + std::string(101, 'x') + "\r\nput a 0 1 1\r\n");
  EXPECT_EQ(desk.totals.commands[static_cast<std::size_t>(wire::beanstalk::Verb::put)], 2);
  EXPECT_EQ(desk.totals.producers, 0);
  send("put 0 0 1 1\r\nabc");
  EXPECT_EQ(desk.totals.commands[static_cast<std::size_t>(wire::beanstalk::Verb::put)], 3);
  EXPECT_EQ(desk.totals.producers, 1);
}

// faults.md E6, relative. What it may hold is given back all the same.
TEST_F(Sessions, WhoGetsNoJobByItsNumberIsNoWorkerYet) {
  send("reserve-job 7\r\n");
  answer(0, core::Reserved{});
  EXPECT_EQ(desk.totals.workers, 0);
  send("reserve-job 8\r\n");
  answer(1, reserved({8}));
  EXPECT_EQ(desk.totals.workers, 1);
  Session other{desk, 6, 100};
  static_cast<void>(other.feed("reserve-job 9\r\n"));
  other.disconnect();
  EXPECT_TRUE(std::holds_alternative<core::Disconnect>(desk.asked.back().command));
}

// faults.md E3: what is refused is not counted.
TEST_F(Sessions, ARefusedPauseIsNotShown) {
  send("use t\r\npause-tube t 5\r\n");
  answer(0, base::fail(base::Code::busy, ""));
  EXPECT_EQ(heard(), "USING t\r\nOUT_OF_MEMORY\r\n");
  EXPECT_EQ(desk.tubes.find("t")->pauses, 0);
}

// faults.md E4: what is left of a tube that nobody refers to is not taken for the tube.
TEST_F(Sessions, ATubeThatIsMadeAgainBeginsAnew) {
  send("use t\r\nuse t\r\nuse default\r\nwatch t\r\nuse t\r\nstats-tube u\r\n");
  EXPECT_EQ(desk.forgotten, (std::vector<std::string>{"t", "t", "u"}));
}

// faults.md E1, relative: a look around tells what was when it was asked.
TEST_F(Sessions, NothingIsReadBehindALookAround) {
  for (const char* look :
       {"list-tubes\r\n", "stats\r\n", "stats-tube default\r\n", "pause-tube default 0\r\n"}) {
    const std::string both = look + "use later\r\n"s;
    EXPECT_EQ(session.feed(both), std::string_view(look).size()) << look;
    EXPECT_TRUE(session.blocked());
    EXPECT_EQ(desk.tubes.find("later"), nullptr) << look;
    answer(desk.asked.size() - 1, base::fail(base::Code::busy, ""));
  }
}

TEST_F(Sessions, DrainingTakesNoJobs) {
  desk.drains = true;
  send("put 0 0 1 1\r\na\r\n");
  EXPECT_EQ(heard(), "DRAINING\r\n");
  EXPECT_TRUE(desk.asked.empty());
}

TEST_F(Sessions, FinishedMessagesAreNoJobs) {
  send("peek 1\r\npeek 2\r\n");
  core::Peeked done;
  done.message->seq = 1;
  done.message->state = core::State::done;
  answer(0, std::move(done));
  core::Peeked buried;
  buried.message->seq = 2;
  buried.message->state = core::State::err;
  buried.message->mark = core::Mark::held;
  buried.message->payload = "b";
  answer(1, std::move(buried));
  EXPECT_EQ(heard(), "NOT_FOUND\r\nFOUND 2 1\r\nb\r\n");
}

TEST_F(Sessions, QuitIsTheLastWord) {
  EXPECT_EQ(session.feed("put 0 0 1 1\r\na\r\nquit\r\nstats\r\n"), 22U);
  EXPECT_FALSE(session.finished());
  answer(0, core::PutDone{.seq = 1});
  EXPECT_TRUE(session.finished());
}

TEST_F(Sessions, AClientThatSendsNoMoreDoesNotWait) {
  send("reserve\r\n");
  session.end_of_input();
  ASSERT_EQ(desk.asked.size(), 2U);
  EXPECT_TRUE(std::holds_alternative<core::StopWaiting>(desk.asked[1].command));
  EXPECT_FALSE(desk.asked[1].ticket.in_turn);
  EXPECT_EQ(heard(), "");
  answer(0, core::Reserved{});
  EXPECT_EQ(heard(), "TIMED_OUT\r\n");
  // What was not read yet does not wait either.
  send("reserve\r\n");
  EXPECT_FALSE(desk.command<core::Reserve>(2).wait_until.has_value());
}

TEST_F(Sessions, AFullMailboxIsSaidToEachOfAGroup) {
  send("put 0 0 1 1\r\na\r\nput 0 0 1 1\r\nb\r\n");
  answer(0, base::fail(base::Code::busy, ""));
  EXPECT_EQ(heard(), "OUT_OF_MEMORY\r\nOUT_OF_MEMORY\r\n");
}

// One large job that is asked for again and again must not fill the memory (faults.md E, relative).
TEST_F(Sessions, FewPeeksAreUnderWayAtOnce) {
  std::string many;
  for (int i = 0; i < 100; ++i) many += "peek 1\r\n";
  std::size_t taken = session.feed(many);
  ASSERT_EQ(desk.asked.size(), 4U);
  EXPECT_TRUE(session.blocked());
  const auto answer_one = [&](std::size_t i) {
    core::Message message = leased(1, std::string(base::kPayloadBytesMax, 'x'));
    answer(i, core::Peeked{.message = std::move(message), .queue = "default"});
  };
  answer_one(0);
  EXPECT_EQ(session.feed(std::string_view(many).substr(taken)), 0U) << "it does not read";
  EXPECT_EQ(desk.asked.size(), 4U);
  for (std::size_t i = 1; i < 4; ++i) answer_one(i);
  heard();
  taken += session.feed(std::string_view(many).substr(taken));
  EXPECT_EQ(desk.asked.size(), 8U);
}

TEST_F(Sessions, FewReservesAreUnderWayWhileTheirSizeIsNotKnown) {
  std::string many;
  for (int i = 0; i < 100; ++i) many += "reserve-with-timeout 0\r\n";
  const std::size_t taken = session.feed(many);
  ASSERT_EQ(desk.asked.size(), 1U);
  EXPECT_EQ(desk.command<core::Reserve>(0).limit, 4);
  answer(0, reserved({1, 2, 3, 4}));
  EXPECT_EQ(taken + session.feed(std::string_view(many).substr(taken)), many.size());
  EXPECT_EQ(desk.command<core::Reserve>(1).limit, 96) << "now it is known";
}

TEST_F(Sessions, AFloodIsHeldBackAtItsBound) {
  std::string flood;
  for (std::size_t i = 0; i < kInFlightMax + 10; ++i) flood += "kick 1\r\n";
  EXPECT_EQ(feed(flood), 8 * kInFlightMax);
  EXPECT_TRUE(session.blocked());
  EXPECT_EQ(desk.asked.size(), kInFlightMax);
  answer(0, core::RunEarlyDone{});
  EXPECT_EQ(feed(flood), 8U);
}

TEST_F(Sessions, AFloodOfManyIsHeldBackAtTheShareOfEach) {
  std::string flood;
  for (std::size_t i = 0; i < kInFlightMax; ++i) flood += "kick 1\r\n";
  std::size_t share = 0;
  {
    std::vector<std::unique_ptr<Session>> others;
    while (desk.in_flight.commands < kInFlightOfAllMax) {
      others.push_back(std::make_unique<Session>(desk, others.size() + 10, 1000));
      EXPECT_EQ(feed(*others.back(), flood), flood.size());
    }
    for (int i = 0; i < 100; ++i) others.push_back(std::make_unique<Session>(desk, 1000 + i, 100));
    share = kInFlightOfAllMax / desk.in_flight.connections;
    EXPECT_EQ(feed(flood), 8 * share);
    EXPECT_TRUE(session.blocked());
    answer(desk.asked.size() - share, core::RunEarlyDone{});
    EXPECT_EQ(feed(flood), 8U);
  }
  EXPECT_EQ(desk.in_flight.commands, share) << "those that left count no more";
  EXPECT_EQ(feed(flood), flood.size() - 8 * share);
}

TEST_F(Sessions, TubesThatAreForgottenCountLikeOtherCommands) {
  std::string flood;
  for (std::size_t i = 0; i < kInFlightMax + 10; ++i) flood += "use t" + std::to_string(i) + "\r\n";
  const std::string_view rest = std::string_view(flood).substr(feed(flood));
  EXPECT_EQ(desk.forgotten.size(), kInFlightMax);
  for (const core::Ticket& ticket : desk.asides) {
    core::Delivery delivery{ticket, base::fail(base::Code::not_found, "")};
    session.deliver(delivery);
  }
  EXPECT_EQ(desk.in_flight.commands, 0U);
  EXPECT_EQ(feed(rest), rest.size());
}

TEST_F(Sessions, RepliesThatWaitForOthersCountAsUnread) {
  for (int i = 0; i < 100; ++i) send("watch " + std::string(190, 'a') + std::to_string(i) + "\r\n");
  static_cast<void>(heard());
  std::string flood = "kick 1\r\n";
  while (flood.size() < kInFlightMax * 10) flood += "list-tubes-watched\r\n";
  EXPECT_LT(feed(flood), flood.size() / 4);
  EXPECT_TRUE(session.blocked());
  answer(desk.asked.size() - 1, core::RunEarlyDone{});
  EXPECT_GE(session.unsent().size(), kOutBytesMax);
  EXPECT_LT(session.unsent().size(), kOutBytesMax + 50'000);
  static_cast<void>(heard());
  EXPECT_GT(session.feed(flood), 0U) << "it has been read";
}

TEST_F(Sessions, OneThatAsksForMuchLeavesTheOthersTheirTurn) {
  std::string flood;
  for (std::size_t i = 0; i < 3 * kTurnCommands; ++i) flood += "x\r\n";
  EXPECT_EQ(session.feed(flood), 3 * kTurnCommands);
  EXPECT_TRUE(session.yielded());
  EXPECT_FALSE(session.blocked());
  EXPECT_EQ(session.feed("x\r\n"), 3U);
  EXPECT_FALSE(session.yielded());
}

TEST_F(Sessions, ReservesThatWaitCountForNothing) {
  send("put 0 0 60 1\r\nx\r\nreserve\r\n");
  answer(0, core::PutDone{.seq = 1});
  EXPECT_EQ(desk.in_flight.commands, 0U) << "the reserve waits";
  answer(1, reserved({1}));
  EXPECT_EQ(desk.in_flight.commands, 0U);
  send("reserve\r\nlist-tube-used\r\n");
  EXPECT_EQ(desk.in_flight.commands, 0U) << "and what needs no engine does not count";
  send("kick 1\r\n");
  EXPECT_EQ(desk.in_flight.commands, 1U);
}

TEST_F(Sessions, BytesOfManyPutsAreHeldBackAtTheShareOfEach) {
  desk.in_flight.put_bytes = kPutBytesOfAllMax;
  desk.in_flight.connections = kPutBytesOfAllMax / base::kMiB;
  Session large{desk, 6, base::kMiB};
  const std::string put =
      "put 0 0 60 " + std::to_string(base::kMiB) + "\r\n" + std::string(base::kMiB, 'x') + "\r\n";
  EXPECT_EQ(large.feed(put + put), put.size());
  EXPECT_TRUE(large.blocked());
  core::Delivery delivery{desk.asked.at(0).ticket, core::PutDone{.seq = 1}};
  large.deliver(delivery);
  EXPECT_EQ(large.feed(put), put.size());
}

TEST_F(Sessions, AClientThatDoesNotReadIsNotReadFrom) {
  std::string flood;
  while (flood.size() < 8 * kOutBytesMax) flood += "list-tube-used\r\n";
  EXPECT_LT(feed(flood), flood.size());
  EXPECT_TRUE(session.blocked());
  EXPECT_LE(session.unsent().size(), kOutBytesMax + 100);
}

TEST(ReservedJobs, HoldsAndFindsWhatIsInHand) {
  ReservedJobs jobs;
  const Instant start{seconds{100}};
  for (core::Seq seq = 1; seq <= 1000; ++seq) {
    jobs.insert({{seq, 1, 1}, start + seconds{seq}});
  }
  EXPECT_EQ(jobs.size(), 1000U);
  EXPECT_EQ(jobs.soonest(start), start + seconds{1});
  for (core::Seq seq = 1; seq <= 1000; seq += 2) jobs.erase({seq, 1, 1});
  jobs.erase({2, 9, 1});  // another attempt: not this one
  EXPECT_EQ(jobs.size(), 500U);
  for (core::Seq seq = 1; seq <= 1000; ++seq) {
    EXPECT_EQ(jobs.find(seq) != nullptr, seq % 2 == 0) << seq;
  }
  EXPECT_EQ(jobs.soonest(start), start + seconds{2});
  EXPECT_EQ(jobs.soonest(start + seconds{2}), start + seconds{4});
  EXPECT_EQ(jobs.soonest(start + std::chrono::hours{10}), std::nullopt);
  EXPECT_EQ(jobs.size(), 0U);
}

}  // namespace
}  // namespace rq::doors::beanstalk
