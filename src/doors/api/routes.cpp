// The route table, in the order of docs/API.md.
#include <array>

#include "doors/api/rooms.h"
#include "doors/api/router.h"

namespace rq::doors::api {
namespace {

using enum Method;

// clang-format off
constexpr std::array kRoutes{
    Route{get,   "/v1/queues",                        Body::none,  list_queues},
    Route{get,   "/v1/queues/{queue}",                Body::none,  show_queue},
    Route{put,   "/v1/queues/{queue}",                Body::json,  put_queue},
    Route{patch, "/v1/queues/{queue}",                Body::json,  patch_queue},
    Route{del,   "/v1/queues/{queue}",                Body::none,  delete_queue},
    Route{post,  "/v1/queues/{queue}/pause",          Body::json,  pause_queue},
    Route{post,  "/v1/queues/{queue}/resume",         Body::json,  resume_queue},
    Route{post,  "/v1/queues/{queue}/drain",          Body::json,  drain_queue},
    Route{post,  "/v1/queues/{queue}/down",           Body::json,  down_queue},
    Route{post,  "/v1/queues/{queue}/script-error",   Body::json,  set_script_error},

    Route{post,  "/v1/queues/{queue}/messages",       Body::items, put_messages},
    Route{get,   "/v1/messages",                      Body::none,  list_messages},
    Route{get,   "/v1/messages/{id}",                 Body::none,  show_message},
    Route{get,   "/v1/messages/{id}/payload",         Body::none,  show_payload},
    Route{del,   "/v1/messages/{id}",                 Body::none,  delete_message},
    Route{post,  "/v1/messages/{id}/commit",          Body::json,  commit_message},
    Route{post,  "/v1/messages/{id}/retry",           Body::json,  retry_message},
    Route{post,  "/v1/messages/{id}/requeue",         Body::json,  requeue_message},
    Route{post,  "/v1/messages/{id}/run_now",         Body::json,  run_now_message},
    Route{post,  "/v1/messages/{id}/cancel",          Body::json,  cancel_message},
    Route{post,  "/v1/messages/{id}/kill",            Body::json,  kill_message},
    Route{post,  "/v1/messages/{id}/clone",           Body::json,  clone_message},
    Route{post,  "/v1/messages/{id}/move",            Body::json,  move_message},
    Route{post,  "/v1/messages/{id}/priority",        Body::json,  set_priority},
    Route{post,  "/v1/messages/bulk",                 Body::json,  bulk_action},
    Route{get,   "/v1/messages/{id}/attempts",        Body::none,  show_attempts},
    Route{get,   "/v1/messages/{id}/log",             Body::none,  show_log},
    Route{get,   "/v1/messages/{id}/log/stream",      Body::none,  stream_log},
    Route{get,   "/v1/messages/{id}/why",             Body::none,  show_why},

    Route{post,  "/v1/reserve",                       Body::json,  reserve},
    Route{post,  "/v1/heartbeat",                     Body::json,  heartbeat},
    Route{post,  "/v1/progress",                      Body::json,  progress},
    Route{post,  "/v1/done",                          Body::json,  done},
    Route{post,  "/v1/relayed",                       Body::json,  relayed},
    Route{post,  "/v1/err",                           Body::json,  err},
    Route{post,  "/v1/resend",                        Body::json,  resend},
    Route{post,  "/v1/release",                       Body::json,  release},
    Route{post,  "/v1/finish",                        Body::json,  finish},
    Route{post,  "/v1/duplicate",                     Body::json,  duplicate},

    Route{get,   "/v1/events",                        Body::none,  stream_events},
    Route{get,   "/v1/stats",                         Body::none,  show_stats},
    Route{get,   "/v1/health",                        Body::none,  show_health},
    Route{get,   "/v1/version",                       Body::none,  show_version},
    Route{get,   "/v1/openapi.json",                  Body::none,  show_openapi},
    Route{post,  "/v1/clock/advance",                 Body::json,  advance_clock},
};
// clang-format on

}  // namespace

std::span<const Route> route_table() { return kRoutes; }

}  // namespace rq::doors::api
