#include "doors/beanstalk/door.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "net/client_rig.h"
#include "pipeline/pipeline_rig.h"

namespace rq::doors::beanstalk {
namespace {

using net::RigClient;
using pipeline::test::kPatience;

// The door on sockets, with a real engine behind it.
class BeanstalkDoorTest : public testing::Test {
 protected:
  BeanstalkDoorTest() { rig.start(); }
  ~BeanstalkDoorTest() override { rig.pipeline().stop(); }

  RigClient connect() {
    auto [socket, client] = net::connected_pair();
    EXPECT_TRUE(door.adopt(net::plain_channel(socket, false)));
    return std::move(client);
  }
  // Until there is nothing more to do at once.
  void turn() {
    while (loop.io().poll() > 0) {
    }
  }
  // What comes, up to this text at its end.
  std::string hear(RigClient& client, std::string_view end) {
    std::string heard;
    for (;;) {
      turn();
      heard += client.receive();
      if (heard.ends_with(end)) return heard;
      if (client.closed() || loop.io().run_one_for(kPatience) == 0) {
        ADD_FAILURE() << "'" << end << "' did not come, but: " << heard;
        return heard;
      }
    }
  }
  std::string ask(RigClient& client, std::string_view request, std::string_view end) {
    EXPECT_EQ(client.send(request), request.size());
    return hear(client, end);
  }
  // What follows this word in a reply.
  static std::string number_in(const std::string& reply, const std::string& word) {
    const std::size_t at = reply.find(word + " ");
    if (at == std::string::npos) return "0";
    const std::size_t from = at + word.size() + 1;
    return reply.substr(from, reply.find_first_of(" \r", from) - from);
  }

  pipeline::test::Rig rig;
  net::Loop loop;
  pipeline::Desk desk{loop, rig.pipeline()};
  BeanstalkDoor door{desk, {}};
};

TEST_F(BeanstalkDoorTest, RequestsCutAnywhereGetTheSameReplies) {
  const std::string text =
      "use t\r\nput 0 0 60 5\r\nhello\r\nwatch t\r\nreserve-with-timeout 0\r\n";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    RigClient client = connect();
    EXPECT_EQ(client.send(text.substr(0, cut)), cut);
    turn();  // what is there is read
    const std::string heard = ask(client, text.substr(cut), "\r\nhello\r\n");
    const std::string id = number_in(heard, "INSERTED");
    ASSERT_EQ(heard, fmt::format("USING t\r\nINSERTED {0}\r\nWATCHING 2\r\n"
                                 "RESERVED {0} 5\r\nhello\r\n",
                                 id))
        << cut;
    ASSERT_EQ(ask(client, "delete " + id + "\r\n", "\n"), "DELETED\r\n");
  }
}

TEST_F(BeanstalkDoorTest, ABodyThatComesInManyPiecesIsWhole) {
  RigClient client = connect();
  std::string body(DoorOptions{}.body_bytes_max, 'b');
  for (std::size_t i = 0; i < body.size(); i += 100) body[i] = static_cast<char>('a' + i % 26);
  client.send(fmt::format("put 0 0 60 {}\r\n", body.size()));
  for (std::size_t at = 0; at < body.size(); at += 1000) {
    client.send(std::string_view(body).substr(at, 1000));
    turn();
  }
  const std::string id = number_in(ask(client, "\r\n", "\n"), "INSERTED");
  EXPECT_EQ(ask(client, "reserve\r\n", body + "\r\n"),
            fmt::format("RESERVED {} {}\r\n{}\r\n", id, body.size(), body));
  EXPECT_EQ(ask(client, fmt::format("put 0 0 60 {}\r\n{}x\r\n", body.size() + 1, body), "\n"),
            "JOB_TOO_BIG\r\n");
}

TEST_F(BeanstalkDoorTest, AClientThatHangsUpGivesItsJobsBack) {
  RigClient first = connect();
  const std::string id = number_in(ask(first, "put 0 0 60 1\r\nx\r\n", "\n"), "INSERTED");
  ask(first, "reserve\r\n", "\r\nx\r\n");
  RigClient second = connect();
  second.send("reserve\r\n");
  turn();
  EXPECT_EQ(second.receive(), "");
  first.hang_up();
  EXPECT_EQ(hear(second, "\r\nx\r\n"), "RESERVED " + id + " 1\r\nx\r\n");
  EXPECT_EQ(door.connections(), 1);
}

TEST_F(BeanstalkDoorTest, WhoSendsNoMoreStillGetsItsReplies) {
  RigClient client = connect();
  client.send("put 0 0 60 1\r\nx\r\nuse other\r\n");
  client.send_no_more();
  EXPECT_TRUE(hear(client, "USING other\r\n").starts_with("INSERTED "));
  turn();
  client.receive();
  EXPECT_TRUE(client.closed());
}

TEST_F(BeanstalkDoorTest, PutsAreRefusedWhileItIsDraining) {
  RigClient client = connect();
  door.set_draining(true);
  EXPECT_EQ(ask(client, "put 0 0 60 1\r\nx\r\n", "\n"), "DRAINING\r\n");
  door.set_draining(false);
  EXPECT_TRUE(ask(client, "put 0 0 60 1\r\nx\r\n", "\n").starts_with("INSERTED "));
}

}  // namespace
}  // namespace rq::doors::beanstalk
