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
constexpr auto kEnqueue = static_cast<std::uint8_t>(Right::enqueue);
constexpr auto kWork = static_cast<std::uint8_t>(Right::work);
constexpr auto kRead = static_cast<std::uint8_t>(Right::read);
constexpr auto kManage = static_cast<std::uint8_t>(Right::manage);
constexpr auto kDefine = static_cast<std::uint8_t>(Right::define);
constexpr auto kAdmin = static_cast<std::uint8_t>(Right::admin);

constexpr http::Body kNone{};
constexpr http::Body kJson{.kind = Kind::some, .bytes_max = kJsonBodyBytesMax};
constexpr http::Body kPut{.kind = Kind::some, .bytes_max = kBulkBodyBytesMax};

constexpr bool kPiped = true;   // small replies: requests behind it are read meanwhile
constexpr bool kAlone = false;  // the reply may be large, or long in coming

// clang-format off
constexpr std::array kRoutes{
    Route{{get,   "/v1/queues",                            kRead,    kNone, kAlone}, list_queues},
    Route{{get,   "/v1/queues/{queue}",                    kRead,    kNone, kAlone}, show_queue},
    Route{{put,   "/v1/queues/{queue}",                    kDefine,  kJson, kAlone}, put_queue, open_json},
    Route{{patch, "/v1/queues/{queue}",                    kDefine,  kJson, kAlone}, patch_queue, open_json},
    Route{{del,   "/v1/queues/{queue}",                    kDefine,  kNone, kAlone}, delete_queue},
    Route{{post,  "/v1/queues/{queue}/pause",              kManage,  kJson, kAlone}, pause_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/resume",             kManage,  kJson, kAlone}, resume_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/drain",              kManage,  kJson, kAlone}, drain_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/down",               kManage,  kJson, kAlone}, down_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/script-error",       kWork,    kJson, kAlone}, set_script_error, open_json},

    Route{{post,  "/v1/queues/{queue}/held-back",          kWork,    kJson, kAlone}, hold_back, open_json},
    Route{{post,  "/v1/queues/{queue}/messages",           kEnqueue, kPut,  kPiped}, put_messages, open_put},
    Route{{get,   "/v1/messages",                          kRead,    kNone, kAlone}, list_messages},
    Route{{get,   "/v1/messages/{id}",                     kRead,    kNone, kAlone}, show_message},
    Route{{get,   "/v1/messages/{id}/payload",             kRead,    kNone, kAlone}, show_payload},
    Route{{del,   "/v1/messages/{id}",                     kManage,  kNone, kPiped}, delete_message},
    Route{{post,  "/v1/messages/{id}/commit",              kManage,  kJson, kPiped}, commit_message, open_json},
    Route{{post,  "/v1/messages/{id}/retry",               kManage,  kJson, kPiped}, retry_message, open_json},
    Route{{post,  "/v1/messages/{id}/requeue",             kManage,  kJson, kPiped}, requeue_message, open_json},
    Route{{post,  "/v1/messages/{id}/run_now",             kManage,  kJson, kPiped}, run_now_message, open_json},
    Route{{post,  "/v1/messages/{id}/cancel",              kManage,  kJson, kPiped}, cancel_message, open_json},
    Route{{post,  "/v1/messages/{id}/kill",                kManage,  kJson, kPiped}, kill_message, open_json},
    Route{{post,  "/v1/messages/{id}/clone",               kManage,  kJson, kPiped}, clone_message, open_json},
    Route{{post,  "/v1/messages/{id}/move",                kManage,  kJson, kPiped}, move_message, open_json},
    Route{{post,  "/v1/messages/{id}/priority",            kManage,  kJson, kPiped}, set_priority, open_json},
    Route{{post,  "/v1/messages/bulk",                     kManage,  kJson, kAlone}, bulk_action, open_json},
    Route{{get,   "/v1/bulk",                              kRead,    kNone, kAlone}, list_bulk},
    Route{{get,   "/v1/bulk/{job}",                        kRead,    kNone, kAlone}, show_bulk},
    Route{{del,   "/v1/bulk/{job}",                        kManage,  kNone, kAlone}, cancel_bulk},
    Route{{get,   "/v1/messages/{id}/attempts",            kRead,    kNone, kAlone}, show_attempts},
    Route{{get,   "/v1/messages/{id}/log",                 kRead,    kNone, kAlone}, show_log},
    Route{{get,   "/v1/messages/{id}/log/stream",          kRead,    kNone, kAlone}, stream_log},
    Route{{get,   "/v1/messages/{id}/why",                 kRead,    kNone, kAlone}, show_why},
    Route{{get,   "/v1/failures",                          kRead,    kNone, kAlone}, list_failures},
    Route{{get,   "/v1/tries",                             kRead,    kNone, kAlone}, list_tries},

    Route{{post,  "/v1/reserve",                           kWork,    kJson, kAlone}, reserve, open_json},
    Route{{post,  "/v1/heartbeat",                         kWork,    kJson, kPiped}, heartbeat, open_json},
    Route{{get,   "/v1/workers",                           kRead,    kNone, kAlone}, list_workers},
    Route{{post,  "/v1/leases",                            kWork,    kJson, kAlone}, keep_leases, open_json},
    Route{{post,  "/v1/progress",                          kWork,    kJson, kPiped}, progress, open_json},
    Route{{post,  "/v1/done",                              kWork,    kJson, kPiped}, done, open_json},
    Route{{post,  "/v1/relayed",                           kWork,    kJson, kPiped}, relayed, open_json},
    Route{{post,  "/v1/err",                               kWork,    kJson, kPiped}, err, open_json},
    Route{{post,  "/v1/resend",                            kWork,    kJson, kPiped}, resend, open_json},
    Route{{post,  "/v1/release",                           kWork,    kJson, kPiped}, release, open_json},
    Route{{post,  "/v1/finish",                            kWork,    kJson, kPiped}, finish, open_json},
    Route{{post,  "/v1/duplicate",                         kWork,    kJson, kPiped}, duplicate, open_json},

    Route{{get,   "/v1/events",                            kRead,    kNone, kAlone}, stream_events},
    Route{{get,   "/v1/stats",                             kRead,    kNone, kAlone}, show_stats},
    Route{{get,   "/v1/health",                            kRead,    kNone, kPiped}, show_health},
    Route{{get,   "/v1/version",                           kRead,    kNone, kPiped}, show_version},
    Route{{get,   "/v1/openapi.json",                      kRead,    kNone, kAlone}, show_openapi},
    Route{{post,  "/v1/clock/advance",                     kAdmin,   kJson, kAlone}, advance_clock, open_json},
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
