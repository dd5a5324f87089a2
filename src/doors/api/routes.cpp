// The route table, in the order of docs/API.md.
#include "doors/api/routes.h"

#include <array>

#include "doors/api/handlers.h"
#include "doors/api/limits.h"

namespace rq::doors::api {
namespace {

using enum http::Method;
using Kind = http::Body::Kind;

// A right, as http knows it: a number.
constexpr auto enqueue = static_cast<std::uint8_t>(Right::enqueue);
constexpr auto work = static_cast<std::uint8_t>(Right::work);
constexpr auto read = static_cast<std::uint8_t>(Right::read);
constexpr auto manage = static_cast<std::uint8_t>(Right::manage);
constexpr auto define = static_cast<std::uint8_t>(Right::define);
constexpr auto admin = static_cast<std::uint8_t>(Right::admin);

constexpr http::Body kNone{};
constexpr http::Body kJson{.kind = Kind::some, .bytes_max = kJsonBodyBytesMax};
constexpr http::Body kPut{.kind = Kind::some, .bytes_max = kBulkBodyBytesMax};

constexpr bool kPiped = true;   // small replies: requests behind it are read meanwhile
constexpr bool kAlone = false;  // the reply may be large, or long in coming

// clang-format off
constexpr std::array kRoutes{
    Route{{get,   "/v1/queues",                            read,    kNone, kAlone}, list_queues},
    Route{{get,   "/v1/queues/{queue}",                    read,    kNone, kAlone}, show_queue},
    Route{{put,   "/v1/queues/{queue}",                    define,  kJson, kAlone}, put_queue, open_json},
    Route{{patch, "/v1/queues/{queue}",                    define,  kJson, kAlone}, patch_queue, open_json},
    Route{{del,   "/v1/queues/{queue}",                    define,  kNone, kAlone}, delete_queue},
    Route{{post,  "/v1/queues/{queue}/pause",              manage,  kJson, kAlone}, pause_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/resume",             manage,  kJson, kAlone}, resume_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/drain",              manage,  kJson, kAlone}, drain_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/down",               manage,  kJson, kAlone}, down_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/script-error",       work,    kJson, kAlone}, set_script_error, open_json},

    Route{{post,  "/v1/queues/{queue}/messages",           enqueue, kPut,  kPiped}, put_messages, open_put},
    Route{{get,   "/v1/messages",                          read,    kNone, kAlone}, list_messages},
    Route{{get,   "/v1/messages/{id}",                     read,    kNone, kAlone}, show_message},
    Route{{get,   "/v1/messages/{id}/payload",             read,    kNone, kAlone}, show_payload},
    Route{{del,   "/v1/messages/{id}",                     manage,  kNone, kPiped}, delete_message},
    Route{{post,  "/v1/messages/{id}/commit",              manage,  kJson, kPiped}, commit_message, open_json},
    Route{{post,  "/v1/messages/{id}/retry",               manage,  kJson, kPiped}, retry_message, open_json},
    Route{{post,  "/v1/messages/{id}/requeue",             manage,  kJson, kPiped}, requeue_message, open_json},
    Route{{post,  "/v1/messages/{id}/run_now",             manage,  kJson, kPiped}, run_now_message, open_json},
    Route{{post,  "/v1/messages/{id}/cancel",              manage,  kJson, kPiped}, cancel_message, open_json},
    Route{{post,  "/v1/messages/{id}/kill",                manage,  kJson, kPiped}, kill_message, open_json},
    Route{{post,  "/v1/messages/{id}/clone",               manage,  kJson, kPiped}, clone_message, open_json},
    Route{{post,  "/v1/messages/{id}/move",                manage,  kJson, kPiped}, move_message, open_json},
    Route{{post,  "/v1/messages/{id}/priority",            manage,  kJson, kPiped}, set_priority, open_json},
    Route{{post,  "/v1/messages/bulk",                     manage,  kJson, kAlone}, bulk_action, open_json},
    Route{{get,   "/v1/messages/{id}/attempts",            read,    kNone, kAlone}, show_attempts},
    Route{{get,   "/v1/messages/{id}/log",                 read,    kNone, kAlone}, show_log},
    Route{{get,   "/v1/messages/{id}/log/stream",          read,    kNone, kAlone}, stream_log},
    Route{{get,   "/v1/messages/{id}/why",                 read,    kNone, kAlone}, show_why},

    Route{{post,  "/v1/reserve",                           work,    kJson, kAlone}, reserve, open_json},
    Route{{post,  "/v1/heartbeat",                         work,    kJson, kPiped}, heartbeat, open_json},
    Route{{post,  "/v1/progress",                          work,    kJson, kPiped}, progress, open_json},
    Route{{post,  "/v1/done",                              work,    kJson, kPiped}, done, open_json},
    Route{{post,  "/v1/relayed",                           work,    kJson, kPiped}, relayed, open_json},
    Route{{post,  "/v1/err",                               work,    kJson, kPiped}, err, open_json},
    Route{{post,  "/v1/resend",                            work,    kJson, kPiped}, resend, open_json},
    Route{{post,  "/v1/release",                           work,    kJson, kPiped}, release, open_json},
    Route{{post,  "/v1/finish",                            work,    kJson, kPiped}, finish, open_json},
    Route{{post,  "/v1/duplicate",                         work,    kJson, kPiped}, duplicate, open_json},

    Route{{get,   "/v1/events",                            read,    kNone, kAlone}, stream_events},
    Route{{get,   "/v1/stats",                             read,    kNone, kAlone}, show_stats},
    Route{{get,   "/v1/health",                            read,    kNone, kPiped}, show_health},
    Route{{get,   "/v1/version",                           read,    kNone, kPiped}, show_version},
    Route{{get,   "/v1/openapi.json",                      read,    kNone, kAlone}, show_openapi},
    Route{{post,  "/v1/clock/advance",                     admin,   kJson, kAlone}, advance_clock, open_json},
};
// clang-format on

constexpr auto kHttpRoutes = [] {
  std::array<http::Route, kRoutes.size()> out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = kRoutes[i].http;
  return out;
}();

}  // namespace

std::span<const Route> route_table() { return kRoutes; }

std::span<const http::Route> http_routes() { return kHttpRoutes; }

}  // namespace rq::doors::api
