#include "engine/put.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "core/message_check.h"
#include "engine/finish.h"

namespace rq::engine {

using base::Code;
using base::fail;
using base::Result;

namespace {

// What differs between the content of a message and that of a repeat of its put; empty: nothing.
std::string_view difference(const Message& first, const Message& repeat) {
  if (first.payload != repeat.payload) return "payload";
  const Details& a = first.detail_or_default();
  const Details& b = repeat.detail_or_default();
  if (std::tie(a.param1, a.param2, a.param3, a.param4) !=
      std::tie(b.param1, b.param2, b.param3, b.param4)) {
    return "params";
  }
  if (a.content_type != b.content_type) return "content_type";
  if (a.headers != b.headers) return "headers";
  return {};
}

Result<void> repeat_of(Desk& desk, const Message& first, const Put& put, PutDone& done) {
  const Entry& home = desk.ledger.of(first);
  const bool elsewhere = home.queue.name != put.queue;
  if (elsewhere || !difference(first, put.message).empty()) {
    return fail(Code::exists,
                elsewhere ? fmt::format("key '{}' is that of message {} in queue '{}'",
                                        first.details->key, format_id(first), home.queue.name)
                          : fmt::format("key '{}' is that of message {}, which differs in its {}",
                                        first.details->key, format_id(first),
                                        difference(first, put.message)),
                "a key names one message until it is gone: give another key, or remove that one");
  }
  done = {.seq = first.seq, .created = first.created, .state = first.state, .repeated = true};
  return {};
}

base::Error no_room() {
  return fail(Code::disk_full,
              fmt::format("the disk of the server is full; nothing new is taken until {} MiB are "
                          "free on it",
                          core::kRoomAgainMiB),
              "make room on it, remove messages or shorten the retention of a queue, then repeat");
}

// Refuses what the queue may not take. Otherwise the message that has the key already, or null.
Result<Record*> check_new(Desk& desk, const Put& put, const Queue& queue) {
  if (desk.batch.no_room) return no_room();
  RQ_TRY(check_put(put, queue, desk.batch.now));
  const auto& details = put.message.details;
  if (details && !details->key.empty()) {
    RQ_TRY_ASSIGN(first, desk.store.find_key(details->key));
    if (first != nullptr) return first;
  }
  if (queue.settings.messages_max > 0 &&
      queue.counters.unfinished() >= queue.settings.messages_max) {
    return fail(Code::queue_full,
                fmt::format("queue '{}' holds {} unfinished messages, all it may", queue.name,
                            queue.counters.unfinished()),
                "come back later, or raise messages_max of the queue");
  }
  return nullptr;
}

// What it tells is written where it is wanted, and not copied there: copied at once as a whole, it
// would keep the processor waiting for its parts.
void accept(Desk& desk, Put& put, const Queue& queue, PutDone& done) {
  const Instant now = desk.batch.now;
  Message& message = put.message;
  message.seq = desk.store.next_number();
  message.queue = queue.id;
  message.created = now;
  message.priority = put.priority.value_or(queue.settings.priority);
  message.max_count = put.max_count.value_or(static_cast<std::int32_t>(queue.settings.max_count));
  message.due = put.due ? *put.due : put.delay ? desk.batch.from + *put.delay : now;
  message.state = put.prep ? State::prep : message.due > now ? State::scheduled : State::que;
  desk.ledger.line_up(message);
  desk.last_seq = message.seq;
  done.seq = message.seq;
  done.created = now;
  done.state = message.state;
  done.repeated = false;
  desk.ledger.arrive(desk.store.insert(std::move(message)));
}

// Into a queue that is not there. It is made when nothing speaks against the message.
Result<void> put_with_queue(Desk& desk, Put& put, PutDone& done) {
  if (!put.make_queue) return desk.ledger.need(put.queue).error();
  RQ_TRY_ASSIGN(queue, desk.ledger.on_demand(put.queue));
  RQ_TRY_ASSIGN(first, check_new(desk, put, queue));
  if (first != nullptr) return repeat_of(desk, first->message, put, done);
  RQ_TRY_ASSIGN(made, desk.ledger.make(std::move(queue)));
  accept(desk, put, made->queue, done);
  return {};
}

}  // namespace

Result<void> check_works(const Entry& entry) {
  const Queue& queue = entry.queue;
  if (queue.being_deleted) {
    return fail(Code::queue_down, fmt::format("queue '{}' is being deleted", queue.name),
                "put elsewhere, or repeat the request when it is gone");
  }
  if (queue.admin != Admin::down) return {};
  return fail(Code::queue_down,
              fmt::format("queue '{}' starts nothing: its admin state is down", queue.name),
              fmt::format("first: rq queue resume {}", queue.name));
}

Result<void> check_takes(const Entry& entry) {
  const Queue& queue = entry.queue;
  if (queue.being_deleted) return check_works(entry);
  if (queue.admin != Admin::drain && queue.admin != Admin::down) return {};
  return fail(Code::queue_down,
              fmt::format("queue '{}' takes no messages: its admin state is {}", queue.name,
                          name_of(queue.admin)),
              fmt::format("put elsewhere, or: rq queue resume {}", queue.name));
}

Result<void> check_caller(const Desk& desk, const Entry& entry) {
  const Queue& queue = entry.queue;
  if (queue.settings.put_over_tcp || desk.batch.caller_uid >= 0) return {};
  return fail(
      Code::forbidden,
      fmt::format("queue '{}' takes messages over the unix socket only: they say what runs",
                  queue.name),
      fmt::format("put over the unix socket of the server's directory; rq queue set {} --set "
                  "put_over_tcp=true there lets whoever reaches the server over TCP say "
                  "what runs",
                  queue.name));
}

Result<void> put_one(Desk& desk, Put& put, PutDone& done) {
  Entry* entry = desk.ledger.find(put.queue);
  if (entry == nullptr) return put_with_queue(desk, put, done);
  RQ_TRY(check_takes(*entry));
  RQ_TRY(check_caller(desk, *entry));
  RQ_TRY_ASSIGN(first, check_new(desk, put, entry->queue));
  if (first != nullptr) return repeat_of(desk, first->message, put, done);
  accept(desk, put, entry->queue, done);
  return {};
}

// --- Commands ---

void needs(Desk& /*desk*/, const Put& put, Needs& out) {
  const auto& details = put.message.details;
  if (details && !details->key.empty()) out.keys.push_back(details->key);
}

Result<Step> decide(Desk& desk, Put& put) {
  PutDone done;
  RQ_TRY(put_one(desk, put, done));
  desk.answer(done);
  return Step::done;
}

void needs(Desk& desk, const PutMany& many, Needs& out) {
  for (const Put& put : many.puts) needs(desk, put, out);
}

Result<Step> decide(Desk& desk, PutMany& many) {
  PutManyDone done;
  done.puts.reserve(many.puts.size());
  for (Put& put : many.puts) {
    Result<PutDone>& one = done.puts.emplace_back(PutDone{});
    auto result = put_one(desk, put, *one);
    if (result) continue;
    if (base::is_fault(result.error())) return std::move(result).error();
    one = std::move(result).error();
  }
  desk.answer(std::move(done));
  return Step::done;
}

void needs(Desk& /*desk*/, const Duplicate& duplicate, Needs& out) {
  out.numbers.push_back({duplicate.token.seq, true});
  if (!duplicate.key.empty()) out.keys.push_back(duplicate.key);
}

// RQ's dup.
Result<Step> decide(Desk& desk, Duplicate& duplicate) {
  if (desk.full()) return Step::goes_on;
  RQ_TRY_ASSIGN(record, need_leased(desk, duplicate.token));
  Put put;
  put.queue = std::move(duplicate.queue);
  put.delay = duplicate.delay;
  const Message& message = record->message;
  put.message.payload = message.payload;
  put.priority = message.priority;
  put.max_count = message.max_count;
  const Details& from = message.detail_or_default();
  Details& to = put.message.detail();
  to.key = std::move(duplicate.key);
  to.orig_id = from.orig_id.empty()
                   ? full_id(duplicate.host, desk.ledger.of(message).queue.name, message)
                   : from.orig_id;
  to.dest = put.queue;
  to.src = from.src;
  to.param1 = from.param1;
  to.param2 = from.param2;
  to.param3 = from.param3;
  to.param4 = from.param4;
  to.content_type = from.content_type;
  to.tags = from.tags;
  to.headers = from.headers;
  to.webhooks = from.webhooks;
  PutDone done;
  RQ_TRY(put_one(desk, put, done));
  desk.answer(done);
  return Step::done;
}

}  // namespace rq::engine
