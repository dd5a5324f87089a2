// Putting messages: one, many in a list or line by line, or raw bytes.
#include <fmt/format.h>

#include <utility>

#include "base/limits.h"
#include "core/name.h"
#include "doors/api/api_door.h"
#include "doors/api/handlers.h"
#include "doors/api/items.h"
#include "doors/api/items_reply.h"
#include "doors/api/json_in.h"
#include "doors/api/json_out.h"
#include "doors/api/limits.h"
#include "doors/api/memory.h"
#include "doors/api/put_reader.h"
#include "doors/api/query.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Result;
constexpr std::string_view kNdjson = "application/x-ndjson";
constexpr std::string_view kJson = "application/json";
constexpr std::string_view kForm = "application/x-www-form-urlencoded";

Result<core::Put> parse_put(JsonReader& json, std::string_view text, std::string_view queue) {
  RQ_TRY_ASSIGN(value, json.parse(text));
  if (!value->is_object()) {
    return fail(Code::bad_value, "the message is not a JSON object", "send {\"payload\":\"…\"}");
  }
  return put_from_json(value->get_object(), queue, text);
}

// What an item costs beside its text: the message that is made of it, or the error.
constexpr std::size_t kItemBytes = sizeof(core::Put) + 512;

// Takes the items of a put as they come. Small ones are parsed when they are whole, large ones
// piece by piece.
class PutSink final : public http::BodySink {
 public:
  PutSink(Exchange& x, std::optional<ItemSplitter::Form> form) : memory_(x), splitter_(form) {}

  Next take(std::string_view piece) override {
    bytes_ += piece.size();
    if (auto good = memory_.cover(bytes_ + refusals.size() * kItemBytes); !good) {
      if (!error_) error_ = std::move(good).error();
      forget();
    }
    if (error_) return Next::more;
    splitter_.feed(
        piece, [this](std::string_view text) { return part(text); }, [this] { return end(); });
    if (splitter_.error() && !error_) error_ = splitter_.error();
    if (error_) forget();
    return Next::more;
  }

  // All items, for `queue`. The error is that of the request as a whole.
  Result<void> finish() {
    if (!error_) {
      const auto ended = splitter_.finish([this] { return end(); });
      if (!ended) error_ = ended.error();
    }
    if (error_) return *error_;
    return {};
  }
  [[nodiscard]] bool is_many() const { return splitter_.is_many(); }

  std::vector<core::Put> puts;
  std::vector<std::optional<base::Error>> refusals;

 private:
  bool part(std::string_view text) {
    if (!large_ && item_.size() + text.size() <= kJsonAtOnceBytes) {
      item_ += text;
      return true;
    }
    if (!large_) {
      large_ = std::make_unique<PutReader>();
      large_->feed(std::exchange(item_, {}));
    }
    large_->feed(text);
    return true;
  }

  bool end() {
    if (refusals.size() >= base::kBulkMessagesMax) {
      error_ = fail(Code::too_many, "too many messages in one request",
                    fmt::format("send at most {} at once", base::kBulkMessagesMax));
      return false;
    }
    auto put = large_ ? large_->finish(json_, {}) : parse_put(json_, item_, {});
    large_.reset();
    item_.clear();
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

  // Refused as a whole: what came so far is of no use.
  void forget() {
    std::vector<core::Put>().swap(puts);
    std::vector<std::optional<base::Error>>().swap(refusals);
    std::string().swap(item_);
    large_.reset();
  }

  MemoryShare memory_;
  std::size_t bytes_ = 0;  // of the body
  ItemSplitter splitter_;
  std::string item_;                  // a small one, so far
  std::unique_ptr<PutReader> large_;  // a large one, so far
  JsonReader json_;                   // its own: it is used while other requests are read
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
  reply_items(x, std::get<core::PutManyDone>(reply).puts, append_put_done);
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
  x.serve_alone();  // many items have a large reply
  auto gathered = std::make_unique<Gathered>();
  gathered->many = true;
  gathered->refusals = std::move(sink.refusals);
  x.keep(std::move(gathered));
  x.ask(core::PutMany{.puts = std::move(sink.puts)}, render_many);
}

// What `curl -d '{…}'` sends when it is told nothing of the type: a form that is none. Taken as it
// is, the text of the JSON would be the payload, and nobody would see it before a script fails.
bool is_json_sent_as_form(JsonReader& json, const Request& request) {
  if (request.head.media_type != kForm) return false;
  const auto value = json.parse(request.body);
  return value && ((*value)->is_object() || (*value)->is_array());
}

void put_raw(Exchange& x, const Request& request) {
  if (is_json_sent_as_form(x.door().json(), request)) {
    return x.refuse(fail(
        Code::unsupported,
        fmt::format("the body is JSON, and its content type says that it is a form ({})", kForm),
        "curl says so by itself: add -H 'content-type: application/json'; to put the text as "
        "it is: -H 'content-type: text/plain'"));
  }
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  auto put = put_from_query(*query, request.parameters[0], request.head.media_type, request.body);
  if (!put) return x.refuse(put.error());
  x.ask(*std::move(put), render_one);
}

}  // namespace

// A small put of JSON is kept whole, which is quickest; so is a payload as it is, which may not be
// large.
Result<http::Intake> open_put(Exchange& x, const Request& request) {
  const std::string& type = request.head.media_type;
  http::Intake intake;
  if (type == kNdjson) {
    intake.sink = std::make_unique<PutSink>(x, ItemSplitter::Form::lines);
  } else if (type != kJson) {
    intake.bytes_max = base::kPayloadBytesMax;
  } else if (!request.length || *request.length > kJsonAtOnceBytes) {
    intake.sink = std::make_unique<PutSink>(x, std::nullopt);
  }
  return intake;
}

void put_messages(Exchange& x, const Request& request) {
  const std::string& queue = request.parameters[0];
  if (auto good = core::check_queue_name(queue); !good) return x.refuse(good.error());
  const std::string& type = request.head.media_type;
  if (type != kJson && type != kNdjson) return put_raw(x, request);
  if (!request.query.empty()) {
    return x.refuse(fail(Code::unknown_field, "a put of JSON takes no query parameters",
                         "put the fields into the JSON"));
  }
  if (request.sink != nullptr) {
    return put_gathered(x, static_cast<PutSink&>(*request.sink), queue);
  }
  std::string_view body = request.body;
  if (body.starts_with(base::kByteOrderMark)) body.remove_prefix(base::kByteOrderMark.size());
  const std::size_t start = body.find_first_not_of(" \t\r\n");
  if (start != std::string_view::npos && body[start] == '[') {
    PutSink sink(x, ItemSplitter::Form::list);
    static_cast<void>(sink.take(request.body));
    return put_gathered(x, sink, queue);
  }
  auto put = parse_put(x.door().json(), request.body, queue);
  if (!put) return x.refuse(put.error());
  x.ask(*std::move(put), render_one);
}

}  // namespace rq::doors::api
