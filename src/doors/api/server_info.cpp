// About the server: stats, health, version, the OpenAPI document, the manual clock.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/iso8601.h"
#include "base/limits.h"
#include "core/json_fields.h"
#include "doors/api/api_door.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/openapi.h"
#include "doors/api/target.h"
#include "http/static_body.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;

// Resident memory of this process, bytes; 0 when it cannot be told.
std::int64_t memory_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  long long all = 0;
  long long resident = 0;
  const int got = std::fscanf(file, "%lld %lld", &all, &resident);
  std::fclose(file);
  return got == 2 ? resident * ::sysconf(_SC_PAGESIZE) : 0;
}

std::int64_t file_bytes(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<std::int64_t>(size);
}

void render_stats(Exchange& x, core::Reply& reply) {
  const auto& stats = std::get<core::EngineStatsDone>(reply);
  ApiDoor& door = x.door();
  std::string body;
  JsonObject object(body);
  object.number("boot", stats.boot);
  object.seconds("uptime_s", door.clock().now() - door.started());
  object.text("version", RQ_VERSION);
  object.number("queues", stats.queues);
  append_counts(object.key("messages"), *stats.totals);
  append_totals(object.key("totals"), *stats.totals);
  {
    JsonObject engine(object.key("engine"));
    engine.number("commands", stats.commands);
    engine.number("batches", stats.batches);
    engine.number("syncs", stats.syncs);
    engine.number("waiting_reserves", stats.waiting_reserves);
    engine.number("last_seq", stats.last_seq);
    engine.close();
  }
  object.number("memory_bytes", memory_bytes());
  object.number("store_bytes", file_bytes(door.settings().store));
  object.number("wal_bytes", file_bytes(door.settings().store_log));
  object.number("connections", static_cast<std::int64_t>(door.server().connections()));
  object.instant("now", door.clock().now());
  object.close();
  x.reply_json(200, body);
}

// What keeps ready messages of all queues with a script from being started, as each of these
// queues tells it; null: nothing, or none waits.
void append_hindrance(std::string& out, const Surroundings& around, std::int64_t waiting) {
  const auto hindrance = waiting > 0 ? why_no_worker_takes(around) : std::nullopt;
  if (!hindrance) {
    out += "null";
    return;
  }
  JsonObject object(out);
  object.text("reason", hindrance->reason);
  object.text("text", hindrance->text);
  object.text("remedy", hindrance->remedy);
  object.number("waiting", waiting);
  object.close();
}

void render_health(Exchange& x, core::Reply& reply) {
  if (std::get<core::EngineStatsDone>(reply).no_room) {
    return x.refuse(fail(Code::busy,
                         fmt::format("the disk is full: puts are refused until {} MiB are free on "
                                     "it, all else is served",
                                     core::kRoomAgainMiB),
                         "make room on it, remove messages or shorten the retention of a queue"));
  }
  const base::Instant now = x.door().clock().now();
  std::string body;
  JsonObject object(body);
  // Damaged rows are kept apart: everything else goes on, but somebody should look at them.
  const auto& stats = std::get<core::EngineStatsDone>(reply);
  const std::int64_t set_aside = stats.set_aside;
  const base::Millis doubt = x.door().clock().doubt();
  object.text("status", x.door().lock_taken()      ? "lock_taken"
                        : set_aside > 0            ? "damaged"
                        : doubt != base::Millis{0} ? "clock_not_followed"
                                                   : "ok");
  if (set_aside > 0) object.number("set_aside", set_aside);
  std::string silent = "[";
  for (const auto& [name, worker] : x.door().workers().workers(now)) {
    if (now - worker.seen <= kSilentAfter) continue;
    if (silent.size() > 1) silent += ',';
    append_json_string(silent, name);
  }
  object.raw("silent_workers", silent + "]");
  // They are no fault of the server. Held ones were put aside by somebody.
  object.number("failures", stats.totals->in(core::State::err)-stats.totals->held);
  object.boolean("define_over_tcp", x.door().defined_over_tcp());
  append_hindrance(object.key("hindrance"), x.door().surroundings(), stats.ready_for_scripts);
  if (doubt != base::Millis{0}) object.seconds("clock_not_followed_s", doubt);
  object.close();
  x.reply_json(200, body);
}

}  // namespace

void show_stats(Exchange& x, const Request& request) {
  if (no_query(x, request)) x.ask(core::EngineStats{}, render_stats);
}

void show_health(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  if (x.door().desk().pipeline().failed()) {
    return x.refuse(fail(Code::busy, "the store has failed and could not be opened again",
                         "look at the log of the server and at the disk, then restart it"));
  }
  // Asked of the engine: an answer says that it lives.
  x.ask(core::EngineStats{}, render_health);
}

void show_version(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  std::string body;
  JsonObject object(body);
  object.text("version", RQ_VERSION);
  object.number("boot", x.door().boot());
  object.text("api", "v1");
  object.number("pid", ::getpid());
  object.text("dir", x.door().settings().dir.native());
  object.close();
  x.reply_json(200, body);
}

void show_openapi(Exchange& x, const Request& request) {
  static const http::StaticBody document("application/json", openapi_document());
  if (no_query(x, request)) document.reply(x, request.head);
}

void advance_clock(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  core::Fields fields(**body, "the body");
  base::Millis by{0};
  if (!fields.seconds("by_s", by, base::Millis{0}, base::kDelayMax)) {
    fields.refuse(fail(Code::bad_value, "there is no by_s", "give \"by_s\":30"));
  }
  if (auto good = fields.finish(); !good) return x.refuse(good.error());
  if (!x.door().clock().manual()) {
    return x.refuse(fail(Code::forbidden, "the clock of this server is not a manual one",
                         "start it with --manual-clock, for tests"));
  }
  const auto done = [&door = x.door(), who = x.id()](base::Instant now) {
    door.post(who, [now](Exchange& later) {
      later.reply_json(200, fmt::format(R"({{"now":"{}"}})", base::to_iso8601(now)));
    });
  };
  if (!x.door().desk().pipeline().advance_clock(by, done)) {
    x.refuse(fail(Code::busy, "too many calls that advance the clock are waiting", "try again"));
  }
}

}  // namespace rq::doors::api
