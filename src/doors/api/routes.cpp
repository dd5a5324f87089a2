// The route table, in the order of docs/API.md.
#include "doors/api/routes.h"

#include <array>
#include <utility>

#include "doors/api/handlers.h"
#include "doors/api/limits.h"

namespace rq::doors::api {
namespace {

using enum http::Method;
using Kind = http::Body::Kind;

using enum core::Right;

// A right, as http knows it: for the queue of the path; for all queues; for any at all.
constexpr http::Need here(core::Right right) { return need(right, Scope::queue); }
constexpr http::Need all(core::Right right) { return need(right, Scope::all); }
constexpr http::Need any(core::Right right) { return need(right, Scope::any); }

constexpr http::Body kNone{};
constexpr http::Body kJson{.kind = Kind::some, .bytes_max = kJsonBodyBytesMax};
constexpr http::Body kPut{.kind = Kind::some, .bytes_max = kBulkBodyBytesMax};

constexpr bool kPiped = true;   // small replies: requests behind it are read meanwhile
constexpr bool kAlone = false;  // the reply may be large, or long in coming

// clang-format off
constexpr std::array kRoutes{
    Route{{get,   "/v1/queues",                            any(read),      kNone, kAlone}, list_queues},
    Route{{get,   "/v1/queues/{queue}",                    here(read),     kNone, kAlone}, show_queue},
    Route{{put,   "/v1/queues/{queue}",                    here(define),   kJson, kAlone}, put_queue, open_json},
    Route{{patch, "/v1/queues/{queue}",                    here(define),   kJson, kAlone}, patch_queue, open_json},
    Route{{del,   "/v1/queues/{queue}",                    here(define),   kNone, kAlone}, delete_queue},
    Route{{post,  "/v1/queues/{queue}/pause",              here(manage),   kJson, kAlone}, pause_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/resume",             here(manage),   kJson, kAlone}, resume_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/drain",              here(manage),   kJson, kAlone}, drain_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/down",               here(manage),   kJson, kAlone}, down_queue, open_json},
    Route{{post,  "/v1/queues/{queue}/script-error",       here(work),     kJson, kAlone}, set_script_error, open_json},

    Route{{post,  "/v1/queues/{queue}/held-back",          here(work),     kJson, kAlone}, hold_back, open_json},
    Route{{post,  "/v1/queues/{queue}/messages",           here(enqueue),  kPut,  kPiped}, put_messages, open_put},
    Route{{get,   "/v1/messages",                          any(read),      kNone, kAlone}, list_messages},
    Route{{get,   "/v1/messages/{id}",                     any(read),      kNone, kAlone}, show_message},
    Route{{get,   "/v1/messages/{id}/payload",             any(read),      kNone, kAlone}, show_payload},
    Route{{del,   "/v1/messages/{id}",                     any(manage),    kNone, kPiped}, delete_message},
    Route{{post,  "/v1/messages/{id}/commit",              any(enqueue),   kJson, kPiped}, commit_message, open_json},
    Route{{post,  "/v1/messages/{id}/retry",               any(manage),    kJson, kPiped}, retry_message, open_json},
    Route{{post,  "/v1/messages/{id}/requeue",             any(manage),    kJson, kPiped}, requeue_message, open_json},
    Route{{post,  "/v1/messages/{id}/run_now",             any(manage),    kJson, kPiped}, run_now_message, open_json},
    Route{{post,  "/v1/messages/{id}/cancel",              any(manage),    kJson, kPiped}, cancel_message, open_json},
    Route{{post,  "/v1/messages/{id}/kill",                any(manage),    kJson, kPiped}, kill_message, open_json},
    Route{{post,  "/v1/messages/{id}/clone",               any(manage),    kJson, kPiped}, clone_message, open_json},
    Route{{post,  "/v1/messages/{id}/move",                any(manage),    kJson, kPiped}, move_message, open_json},
    Route{{post,  "/v1/messages/{id}/priority",            any(manage),    kJson, kPiped}, set_priority, open_json},
    Route{{post,  "/v1/messages/bulk",                     any(manage),    kJson, kAlone}, bulk_action, open_json},
    Route{{get,   "/v1/bulk",                              all(read),      kNone, kAlone}, list_bulk},
    Route{{get,   "/v1/bulk/{job}",                        all(read),      kNone, kAlone}, show_bulk},
    Route{{del,   "/v1/bulk/{job}",                        all(manage),    kNone, kAlone}, cancel_bulk},
    Route{{get,   "/v1/messages/{id}/attempts",            any(read),      kNone, kAlone}, show_attempts},
    Route{{get,   "/v1/messages/{id}/log",                 any(read),      kNone, kAlone}, show_log},
    Route{{get,   "/v1/messages/{id}/log/stream",          any(read),      kNone, kAlone}, stream_log},
    Route{{get,   "/v1/messages/{id}/why",                 any(read),      kNone, kAlone}, show_why},
    Route{{get,   "/v1/failures",                          any(read),      kNone, kAlone}, list_failures},
    Route{{get,   "/v1/tries",                             any(read),      kNone, kAlone}, list_tries},

    Route{{post,  "/v1/reserve",                           any(work),      kJson, kAlone}, reserve, open_json},
    Route{{post,  "/v1/heartbeat",                         any(work),      kJson, kPiped}, heartbeat, open_json},
    Route{{get,   "/v1/workers",                           all(read),      kNone, kAlone}, list_workers},
    Route{{post,  "/v1/leases",                            any(work),      kJson, kAlone}, keep_leases, open_json},
    Route{{post,  "/v1/progress",                          any(work),      kJson, kPiped}, progress, open_json},
    Route{{post,  "/v1/done",                              any(work),      kJson, kPiped}, done, open_json},
    Route{{post,  "/v1/relayed",                           any(work),      kJson, kPiped}, relayed, open_json},
    Route{{post,  "/v1/err",                               any(work),      kJson, kPiped}, err, open_json},
    Route{{post,  "/v1/resend",                            any(work),      kJson, kPiped}, resend, open_json},
    Route{{post,  "/v1/release",                           any(work),      kJson, kPiped}, release, open_json},
    Route{{post,  "/v1/finish",                            any(work),      kJson, kPiped}, finish, open_json},
    Route{{post,  "/v1/duplicate",                         any(work),      kJson, kPiped}, duplicate, open_json},

    Route{{get,   "/v1/events",                            any(read),      kNone, kAlone}, stream_events},
    Route{{get,   "/v1/stats",                             all(read),      kNone, kAlone}, show_stats},
    Route{{get,   "/v1/health",                            any(read),      kNone, kPiped}, show_health},
    Route{{get,   "/v1/version",                           any(read),      kNone, kPiped}, show_version},
    Route{{get,   "/v1/openapi.json",                      any(read),      kNone, kAlone}, show_openapi},
    Route{{get,   "/v1/tokens",                            all(admin),     kNone, kAlone}, list_tokens},
    Route{{post,  "/v1/tokens",                            all(admin),     kJson, kAlone}, create_token, open_json},
    Route{{post,  "/v1/tokens/{name}/rotate",              all(admin),     kJson, kAlone}, rotate_token, open_json},
    Route{{del,   "/v1/tokens/{name}",                     all(admin),     kNone, kAlone}, revoke_token},
    Route{{get,   "/v1/audit",                             all(admin),     kNone, kAlone}, list_audit},
    Route{{post,  "/v1/clock/advance",                     all(admin),     kJson, kAlone}, advance_clock, open_json},
};
// clang-format on

constexpr auto kHttpRoutes = []<std::size_t... Number>(std::index_sequence<Number...>) {
  return std::array{kRoutes[Number].http...};
}
(std::make_index_sequence<kRoutes.size()>());

}  // namespace

std::span<const Route> route_table() { return kRoutes; }

std::span<const http::Route> http_routes() { return kHttpRoutes; }

}  // namespace rq::doors::api
