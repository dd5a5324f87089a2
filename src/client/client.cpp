#include "client/client.h"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json.hpp>
#include <memory>
#include <utility>

#include "client/limits.h"
#include "client/sse_reader.h"

namespace rq::client {
namespace json = boost::json;
using base::Code;
using base::fail;
using base::Result;

namespace {

constexpr std::size_t kAnswerBytesMax = 64 * base::kMiB;
// A bulk action on a million messages takes its time.
constexpr base::Millis kAnswerTime{600'000};
// Answered at once, whatever else goes on.
constexpr const char* kSignOfLife = "/v1/version";
constexpr std::string_view kEvents = "text/event-stream";

Result<json::value> checked(const Reply& reply, Has has) {
  RQ_TRY_ASSIGN(answer, json_of(reply));
  if (answer.is_object() && answer.get_object().contains(has.field)) return answer;
  return foreign(fmt::format("the answer has no '{}'", has.field), reply.body);
}

// What HTTP says may be done twice.
Retry retry_of(std::string_view method) {
  return method == "POST" || method == "PATCH" ? Retry::never : Retry::once;
}

// Of a stream that is followed. A timer that has expired as it ended finds that it is over.
struct Ticks {
  Ticks(boost::asio::io_context& io, Client::Meanwhile what)
      : timer(io), meanwhile(std::move(what)) {}
  boost::asio::steady_timer timer;
  const Client::Meanwhile meanwhile;
  bool over = false;

  static void go_on(const std::shared_ptr<Ticks>& ticks) {
    ticks->timer.expires_after(ticks->meanwhile.every);
    ticks->timer.async_wait([ticks](const boost::system::error_code& error) {
      if (error || ticks->over) return;
      ticks->meanwhile.call();
      go_on(ticks);
    });
  }
};

}  // namespace

struct Client::Impl {
  Impl(Server server, Patience patient) : http(io, std::move(server)), patience(patient) {}

  boost::asio::io_context io{1};
  HttpClient http;
  const Patience patience;
  bool is_rq = false;  // it has said so

  // While a request is under way.
  struct Watch {
    explicit Watch(boost::asio::io_context& io) : timer(io) {}
    boost::asio::steady_timer timer;
    bool asked = false;  // for a sign of life
    bool over = false;
    std::function<void()> on_silence;
  };
  void look_after(const std::shared_ptr<Watch>& watch) {
    watch->timer.expires_after(watch->asked ? patience.answer : patience.before);
    watch->timer.async_wait([this, watch](const boost::system::error_code& error) {
      if (error || watch->over) return;
      if (watch->asked) return watch->on_silence();
      watch->asked = true;
      ask_for_life(watch);
      look_after(watch);
    });
  }
  // An error is no silence: the other connection may work, and says itself when it does not.
  void ask_for_life(const std::shared_ptr<Watch>& watch) {
    http.send({.target = kSignOfLife,
               .done =
                   [this, watch](const Result<Reply>&) {
                     if (watch->over) return;
                     watch->asked = false;
                     look_after(watch);
                   },
               .timeout = base::Millis{0}});
  }
};

Client::Client(Server server, Patience patience)
    : impl_(std::make_shared<Impl>(std::move(server), patience)) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Result<Reply> Client::perform(Request request) {
  std::optional<Result<Reply>> got;
  bool silent = false;
  auto watch = std::make_shared<Impl::Watch>(impl_->io);
  watch->on_silence = [this, &got, &silent] {
    silent = true;
    got = fail(
        Code::unreachable,
        fmt::format("the server at {} is there, but answers nothing", impl_->http.server().name()),
        "is it stopped (kill -CONT PID), does its disk hang, or has it no room for one more "
        "connection (see its log)? What was asked may still be done; rq doctor looks at the rest");
    impl_->io.stop();
  };
  impl_->look_after(watch);
  if (request.sink) {
    // A stream that has begun has its own bound on silence.
    request.sink = [begun = std::weak_ptr(watch),
                    sink = std::move(request.sink)](std::string_view piece) {
      if (const auto watched = begun.lock()) watched->over = true;
      return sink(piece);
    };
  }
  request.done = [this, &got](Result<Reply> reply) {
    got = std::move(reply);
    impl_->io.stop();  // what keeps the loop busy may go on for longer: the sweep for time-outs
  };
  impl_->http.send(std::move(request));
  impl_->io.restart();
  impl_->io.run();
  RQ_CHECK(got.has_value());
  watch->over = true;
  if (silent) {
    // What is still under way knows of this call, which is over. The timer goes before its loop.
    watch.reset();
    impl_ = std::make_shared<Impl>(impl_->http.server(), impl_->patience);
  }
  if (*got && !(*got)->is_success()) return error_of(**got);
  return *std::move(got);
}

Result<json::value> Client::get(const std::string& target, Has has) {
  RQ_TRY_ASSIGN(reply, perform({.target = target,
                                .timeout = kAnswerTime,
                                .reply_bytes_max = kAnswerBytesMax,
                                .retry = Retry::once}));
  return checked(reply, has);
}

Result<json::value> Client::send(std::string_view method, const std::string& target, Has has,
                                 const json::value& body) {
  return send_bytes(method, target, has, "application/json", json::serialize(body));
}

Result<json::value> Client::remove(const std::string& target, Has has) {
  return send_bytes("DELETE", target, has, {}, {});
}

Result<json::value> Client::send_bytes(std::string_view method, const std::string& target, Has has,
                                       const std::string& content_type, std::string body) {
  RQ_TRY_ASSIGN(reply, perform({.method = method,
                                .target = target,
                                .content_type = content_type,
                                .body = std::move(body),
                                .timeout = kAnswerTime,
                                .reply_bytes_max = kAnswerBytesMax,
                                .retry = retry_of(method)}));
  return checked(reply, has);
}

Result<std::string> Client::get_bytes(const std::string& target) {
  if (!impl_->is_rq) {
    RQ_TRY(get(kSignOfLife, {"version"}));
    impl_->is_rq = true;
  }
  RQ_TRY_ASSIGN(reply, perform({.target = target,
                                .timeout = kAnswerTime,
                                .reply_bytes_max = kAnswerBytesMax,
                                .retry = Retry::once}));
  return std::move(reply.body);
}

Result<void> Client::follow(const std::string& target, const EventSink& sink,
                            const Meanwhile& meanwhile, base::Millis longest) {
  const auto keep = impl_;  // perform() may replace it, and the timer must go before its loop
  const auto ticks = std::make_shared<Ticks>(keep->io, meanwhile);
  if (meanwhile.call) Ticks::go_on(ticks);
  SseReader reader;
  bool enough = false;
  Request request;
  request.target = target;
  request.accept = kEvents;
  request.timeout = longest;
  request.silence = kEventSilence;
  request.sink = [&](std::string_view piece) {
    const bool fits = reader.feed(piece, [&](std::string_view event, std::string_view data) {
      if (!enough) enough = !sink(event, data);
    });
    return fits && !enough;
  };
  const Result<Reply> reply = perform(std::move(request));
  ticks->over = true;
  if (enough) return {};
  if (!reply) return reply.error();
  if (!reply->content_type.starts_with(kEvents)) {
    return foreign("the answer is no stream of events, but of the type", reply->content_type);
  }
  return fail(Code::unreachable, "the server ended the stream", impl_->http.server().remedy);
}

}  // namespace rq::client
