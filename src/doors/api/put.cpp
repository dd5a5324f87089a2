// Putting messages: one, many in a list or line by line, or raw bytes.
#include <fmt/format.h>

#include "base/limits.h"
#include "core/name.h"
#include "doors/api/http_door.h"
#include "doors/api/items.h"
#include "doors/api/json_in.h"
#include "doors/api/json_out.h"
#include "doors/api/rooms.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Result;
constexpr std::string_view kNdjson = "application/x-ndjson";
constexpr std::string_view kJson = "application/json";

Result<core::Put> parse_put(JsonReader& json, std::string_view text, std::string_view queue) {
  RQ_TRY_ASSIGN(value, json.parse(text));
  if (!value->is_object()) {
    return fail(Code::bad_value, "the message is not a JSON object", "send {\"payload\":\"…\"}");
  }
  return put_from_json(value->get_object(), queue);
}

// What a put of many keeps: the items in their order, those refused at the door with their error.
struct Gathered : Extra {
  std::vector<std::optional<base::Error>> refusals;  // by item; none: it went to the engine
};

class PutSink final : public BodySink {
 public:
  explicit PutSink(std::optional<ItemSplitter::Form> form) : splitter_(form) {}

  void take(std::string_view piece) override {
    splitter_.feed(piece, [this](std::string_view item) { return add(item); });
  }

  // All items, for `queue`. The error is that of the request as a whole.
  Result<void> finish() {
    auto ended = splitter_.finish([this](std::string_view item) { return add(item); });
    if (splitter_.error()) return *splitter_.error();
    if (error_) return *error_;
    return ended;
  }
  [[nodiscard]] bool is_many() const { return splitter_.is_many(); }

  std::vector<core::Put> puts;
  std::vector<std::optional<base::Error>> refusals;

 private:
  bool add(std::string_view item) {
    if (refusals.size() >= base::kBulkMessagesMax) {
      error_ = fail(Code::too_many, "too many messages in one request",
                    fmt::format("send at most {} at once", base::kBulkMessagesMax));
      return false;
    }
    auto put = parse_put(json_, item, {});
    if (!put && splitter_.is_list() && put.error().code == Code::bad_request) {
      // In a list, what cannot be parsed may have swallowed its neighbours.
      error_ = fail(Code::bad_request,
                    fmt::format("item {}: {}", refusals.size() + 1, put.error().message),
                    put.error().remedy);
      return false;
    }
    if (put) {
      puts.push_back(*std::move(put));
      refusals.emplace_back();
    } else {
      refusals.emplace_back(std::move(put).error());
    }
    return true;
  }

  ItemSplitter splitter_;
  JsonReader json_;  // its own: it is used while other requests are read
  std::optional<base::Error> error_;
};

void render_one(Exchange& x, core::Reply& reply) {
  const auto& put = std::get<core::PutDone>(reply);
  std::string& body = x.door().scratch();
  body.clear();
  append_put_done(body, put);
  x.reply_json(put.repeated ? 200 : 201, body);
}

void render_many(Exchange& x, core::Reply& reply) {
  const auto& gathered = static_cast<const Gathered&>(*x.extra());
  const auto& puts = std::get<core::PutManyDone>(reply).puts;
  std::string body = R"({"items":[)";
  std::size_t next = 0;
  for (const auto& refusal : gathered.refusals) {
    if (body.back() != '[') body += ',';
    if (refusal) {
      body += error_json(*refusal);
    } else if (const auto& put = puts.at(next++); put) {
      append_put_done(body, *put);
    } else {
      body += error_json(put.error());
    }
  }
  body += "]}";
  x.reply_json(200, body);
}

void put_gathered(Exchange& x, PutSink& sink, const std::string& queue) {
  if (auto good = sink.finish(); !good) return x.refuse(good.error());
  for (core::Put& put : sink.puts) put.queue = queue;
  if (!sink.is_many()) {
    if (sink.refusals.empty()) {
      return x.refuse(fail(Code::bad_request, "the body is empty", "send a message as JSON"));
    }
    if (sink.refusals.front()) return x.refuse(*sink.refusals.front());
    return x.ask(std::move(sink.puts.front()), render_one);
  }
  auto gathered = std::make_unique<Gathered>();
  gathered->refusals = std::move(sink.refusals);
  x.keep(std::move(gathered));
  x.ask(core::PutMany{.puts = std::move(sink.puts)}, render_many);
}

void put_raw(Exchange& x, const Request& request) {
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  auto put = put_from_query(*query, request.parameters[0], request.head.content_type, request.body);
  if (!put) return x.refuse(put.error());
  x.ask(*std::move(put), render_one);
}

}  // namespace

std::unique_ptr<BodySink> make_put_sink(std::string_view media_type) {
  if (media_type == kNdjson) return std::make_unique<PutSink>(ItemSplitter::Form::lines);
  if (media_type == kJson) return std::make_unique<PutSink>(std::nullopt);
  return nullptr;
}

void put_messages(Exchange& x, const Request& request) {
  const std::string& queue = request.parameters[0];
  if (auto good = core::check_queue_name(queue); !good) return x.refuse(good.error());
  const std::string& type = request.head.content_type;
  if (type != kJson && type != kNdjson) return put_raw(x, request);
  if (!request.query.empty()) {
    return x.refuse(fail(Code::unknown_field, "a put of JSON takes no query parameters",
                         "put the fields into the JSON"));
  }
  if (request.sink) return put_gathered(x, static_cast<PutSink&>(*request.sink), queue);
  const std::size_t start = request.body.find_first_not_of(" \t\r\n");
  if (start != std::string_view::npos && request.body[start] == '[') {
    PutSink sink(ItemSplitter::Form::list);
    sink.take(request.body);
    return put_gathered(x, sink, queue);
  }
  auto put = parse_put(x.door().json(), request.body, queue);
  if (!put) return x.refuse(put.error());
  x.ask(*std::move(put), render_one);
}

}  // namespace rq::doors::api
