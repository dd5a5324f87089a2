#include "doors/api/json_out.h"

#include <array>

#include <boost/json/parse.hpp>

#include "base/base64.h"
#include "base/limits.h"
#include "base/names.h"
#include "base/utf8.h"
#include "core/command.h"
#include "core/fingerprint.h"
#include "core/json_fields.h"
#include "core/settings_json.h"
#include "doors/api/limits.h"

namespace rq::doors::api {
namespace {

using core::Counters;
using core::Message;
using core::State;

// Of events. A put and a move to another queue are events of a message as its changes are, which
// says of itself what it is.
constexpr std::array<std::string_view, core::Notice::kWhatCount> kWhats{
    "message", "message", "message", "progress", "stop", "removed", "queue", "queue_removed"};
constexpr std::array<std::string_view, core::Notice::kWhatCount> kChanges{
    "put", "state", "move", "", "", "", "", ""};

// Fields of which the empty value means that there is none.
class Sparse {
 public:
  Sparse(JsonObject& object, Nulls nulls) : object_(object), nulls_(nulls) {}

  void text(std::string_view name, std::string_view value) {
    if (value.empty()) {
      none(name);
    } else {
      object_.text(name, value);
    }
  }
  void none(std::string_view name) {
    if (nulls_ == Nulls::shown) object_.null(name);
  }
  void seconds(std::string_view name, const std::optional<base::Millis>& value) {
    if (value) {
      object_.seconds(name, *value);
    } else {
      none(name);
    }
  }

 private:
  JsonObject& object_;
  const Nulls nulls_;
};

void append_texts(std::string& out, const std::vector<std::string>& texts) {
  out += '[';
  for (const std::string& text : texts) {
    if (out.back() != '[') out += ',';
    append_json_string(out, text);
  }
  out += ']';
}

void append_pairs(std::string& out, const core::TextPairs& pairs) {
  out += '{';
  for (const auto& [name, value] : pairs) {
    if (out.back() != '{') out += ',';
    append_json_string(out, name);
    out += ':';
    append_json_string(out, value);
  }
  out += '}';
}

void append_lease(std::string& out, const Message& message) {
  const core::Lease& lease = *message.lease;
  JsonObject object(out);
  object.text("token", to_string(core::Token{
                           .seq = message.seq, .attempt = lease.attempt, .boot = lease.boot}));
  object.number("attempt", lease.attempt);
  object.text("worker", lease.worker);
  object.instant("since", lease.since);
  if (lease.until == base::Instant::max()) {
    object.null("until");
  } else {
    object.instant("until", lease.until);
  }
  object.text("stop", core::name_of(lease.stop));
  object.close();
}

void append_payload(JsonObject& object, std::string_view payload, std::int64_t bytes_all,
                    Nulls nulls) {
  const bool cut = static_cast<std::int64_t>(payload.size()) < bytes_all;
  // A text is not cut within a character.
  if (cut) payload.remove_suffix(base::unfinished_utf8(payload));
  if (base::is_utf8(payload)) {
    object.text("payload", payload);
  } else {
    if (nulls == Nulls::shown) object.null("payload");
    std::string& out = object.key("payload_base64");
    out += '"';
    base::append_base64(out, payload);
    out += '"';
  }
  if (cut) object.boolean("payload_cut", true);
}

// The payload, or what there is of it.
struct Shown {
  bool payload = true;
  std::int64_t bytes_all = 0;  // of the whole payload
};

void append(std::string& out, const Message& m, std::string_view queue, Nulls nulls,
            const Shown& shown) {
  const core::Details& d = m.detail_or_default();
  JsonObject object(out);
  Sparse sparse(object, nulls);
  object.text("id", format_id(m));
  object.number("seq", m.seq);
  object.text("queue", queue);
  object.text("state", name_of(m.state));
  object.text("mark", name_of(m.mark));
  object.number("priority", m.priority);
  object.instant("created", m.created);
  object.instant("due", m.due);
  if (m.finished == base::Instant{}) {
    sparse.none("finished");
  } else {
    object.instant("finished", m.finished);
  }
  object.number("attempts", m.attempts);
  object.number("failures", m.failures);
  object.number("losses", m.losses);
  object.number("count", m.count);
  object.number("max_count", m.max_count);
  sparse.text("key", d.key);
  sparse.text("dest", d.dest);
  sparse.text("src", d.src);
  sparse.text("orig_id", d.orig_id);
  sparse.text("cloned_from", d.cloned_from);
  sparse.text("dup_of", d.dup_of);
  sparse.text("param1", d.param1);
  sparse.text("param2", d.param2);
  sparse.text("param3", d.param3);
  sparse.text("param4", d.param4);
  sparse.text("content_type", d.content_type);
  if (shown.payload) append_payload(object, m.payload, shown.bytes_all, nulls);
  object.number("payload_bytes", shown.bytes_all);
  append_texts(object.key("tags"), d.tags);
  append_pairs(object.key("headers"), d.headers);
  append_texts(object.key("webhooks"), d.webhooks);
  object.boolean("force_remote", d.force_remote);
  if (d.retries) {
    object.number("retries", *d.retries);
  } else {
    sparse.none("retries");
  }
  if (d.backoff) {
    object.raw("backoff", core::plain_json(core::to_json(*d.backoff)));
  } else {
    sparse.none("backoff");
  }
  sparse.seconds("timeout_s", d.timeout);
  sparse.seconds("lease_s", m.lease_length);
  // While it runs, the text of the running attempt is the one that counts.
  sparse.text("progress", m.lease && !m.lease->progress.empty() ? m.lease->progress : d.progress);
  if (m.state == State::err) object.text("fingerprint", core::fingerprint(d.progress));
  if (!d.result.empty() && is_json(d.result)) {
    object.raw("result", d.result);
  } else {
    sparse.text("result", d.result);
  }
  sparse.text("folder", d.folder);
  if (m.lease) {
    append_lease(object.key("lease"), m);
  } else {
    sparse.none("lease");
  }
  object.close();
}

}  // namespace

bool is_json(std::string_view text) {
  boost::system::error_code error;
  boost::json::parse_options options;
  options.max_depth = base::kJsonDepthMax;
  boost::json::parse(text, error, {}, options);
  return !error;
}

void append_message(std::string& out, const Message& message, std::string_view queue, Nulls nulls) {
  append(out, message, queue, nulls,
         {.payload = true, .bytes_all = static_cast<std::int64_t>(message.payload.size())});
}

void append_listed(std::string& out, const core::MessageRow& row, bool payload) {
  const auto here = static_cast<std::int64_t>(row.message.payload.size());
  append(out, row.message, row.queue, Nulls::left_out,
         {.payload = payload, .bytes_all = row.payload_bytes < 0 ? here : row.payload_bytes});
}

void append_counts(std::string& out, const Counters& counters) {
  JsonObject object(out);
  for (int i = 0; i < core::kStateCount; ++i) {
    const auto state = static_cast<State>(i);
    object.number(name_of(state), counters.in(state));
  }
  object.number("held", counters.held);
  object.close();
}

void append_totals(std::string& out, const Counters& counters) {
  JsonObject object(out);
  object.number("puts", counters.puts);
  object.number("dones", counters.dones);
  object.number("errs", counters.errs);
  object.number("retries", counters.retries);
  object.number("losses", counters.losses);
  object.number("cancels", counters.cancels);
  object.number("deletes", counters.deletes);
  object.number("expired", counters.expired);
  object.number("expired_errs", counters.expired_errs);
  object.close();
}

void append_queue(std::string& out, const core::QueueShown& shown, const Surroundings& around) {
  const core::Queue& queue = *shown.queue;
  JsonObject object(out);
  object.text("name", queue.name);
  object.text("admin", name_of(queue.admin));
  object.text("status", queue.script_error.empty() ? name_of(queue.admin) : "script_error");
  if (queue.paused_until == base::Instant{}) {
    object.null("paused_until");
  } else {
    object.instant("paused_until", queue.paused_until);
  }
  object.number("revision", queue.revision);
  object.instant("created", queue.created);
  object.boolean("on_demand", queue.on_demand);
  if (queue.script_error.empty()) {
    object.null("script_error");
  } else {
    object.text("script_error", queue.script_error);
  }
  if (around.hold) {
    JsonObject held(object.key("held_back"));
    held.text("text", around.hold->text);
    held.instant("until", around.hold->until);
    held.close();
  } else {
    object.null("held_back");
  }
  if (const auto hindrance = hindrance_of(shown, around)) {
    JsonObject hinders(object.key("hindrance"));
    hinders.text("reason", hindrance->reason);
    hinders.text("text", hindrance->text);
    hinders.text("remedy", hindrance->remedy);
    hinders.close();
  } else {
    object.null("hindrance");
  }
  object.raw("settings", core::plain_json(core::to_json(queue.settings)));
  append_counts(object.key("counts"), queue.counters);
  append_totals(object.key("totals"), queue.counters);
  object.number("waiting_reserves", shown.waiting_reserves);
  object.close();
}

void append_attempt(std::string& out, const core::Attempt& attempt) {
  JsonObject object(out);
  object.number("number", attempt.number);
  object.text("worker", attempt.worker);
  object.instant("started", attempt.started);
  object.instant("ended", attempt.ended);
  object.text("outcome", attempt.outcome);
  object.text("reason", attempt.reason);
  if (const auto outcome = core::outcome_of(attempt.outcome); outcome == core::Outcome::err ||
                                                              outcome == core::Outcome::failed ||
                                                              outcome == core::Outcome::timed_out) {
    object.text("fingerprint", core::fingerprint(attempt.reason));
  }
  if (!attempt.post_mortem.empty() && is_json(attempt.post_mortem)) {
    object.raw("post_mortem", attempt.post_mortem);
  } else {
    object.null("post_mortem");
  }
  object.close();
}

void append_put_done(std::string& out, const core::PutDone& done) {
  out += R"({"id":")";
  out += core::format_id(done.seq, done.created);
  out += R"(","seq":)";
  append_number(out, done.seq);
  out += R"(,"state":")";
  out += name_of(done.state);
  out += done.repeated ? R"(","repeated":true})" : R"(","repeated":false})";
}

void append_moved(std::string& out, core::Seq seq, base::Instant created, State state,
                  std::optional<State> was) {
  JsonObject object(out);
  object.text("id", core::format_id(seq, created));
  object.number("seq", seq);
  object.text("state", name_of(state));
  if (was) object.text("was", name_of(*was));
  object.close();
}

void append_notice(std::string& out, const core::Notice& notice) {
  const bool of_message = notice.seq != 0;
  JsonObject object(out);
  object.instant("at", notice.at);
  object.text("queue", notice.queue);
  if (of_message) {
    object.text("id", core::format_id(notice.seq, notice.created));
    object.number("seq", notice.seq);
    object.text("from", name_of(notice.from));
    object.text("to", name_of(notice.to));
    object.text("mark", name_of(notice.mark));
  }
  object.text("text", notice.text);
  if (const std::string_view change = change_of(notice.what); !change.empty()) {
    object.text("change", change);
  }
  if (!notice.from_queue.empty()) object.text("from_queue", notice.from_queue);
  object.close();
}

std::string_view name_of(core::Notice::What what) { return base::name_in(kWhats, what); }

std::string_view change_of(core::Notice::What what) { return base::name_in(kChanges, what); }

}  // namespace rq::doors::api
