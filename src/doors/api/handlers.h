#pragma once
// The handlers: what each route does. A family in each .cpp; routes.cpp puts them in the table.
#include "doors/api/exchange.h"
#include "http/server.h"

namespace rq::doors::api {

// open_json.cpp: for the body of all routes that take one JSON object.
[[nodiscard]] base::Result<http::Intake> open_json(Exchange& x, const Request& request);

// queues.cpp
void list_queues(Exchange& x, const Request& request);
void show_queue(Exchange& x, const Request& request);
void put_queue(Exchange& x, const Request& request);
void patch_queue(Exchange& x, const Request& request);
void delete_queue(Exchange& x, const Request& request);
void pause_queue(Exchange& x, const Request& request);
void resume_queue(Exchange& x, const Request& request);
void drain_queue(Exchange& x, const Request& request);
void down_queue(Exchange& x, const Request& request);
void set_script_error(Exchange& x, const Request& request);
void hold_back(Exchange& x, const Request& request);
void list_workers(Exchange& x, const Request& request);

// put.cpp
void put_messages(Exchange& x, const Request& request);
[[nodiscard]] base::Result<http::Intake> open_put(Exchange& x, const Request& request);

// messages.cpp
void list_messages(Exchange& x, const Request& request);
void show_message(Exchange& x, const Request& request);
void show_payload(Exchange& x, const Request& request);
void show_attempts(Exchange& x, const Request& request);
void show_why(Exchange& x, const Request& request);

// failures.cpp
void list_failures(Exchange& x, const Request& request);

// tries.cpp
void list_tries(Exchange& x, const Request& request);

// actions.cpp
void delete_message(Exchange& x, const Request& request);
void commit_message(Exchange& x, const Request& request);
void retry_message(Exchange& x, const Request& request);
void requeue_message(Exchange& x, const Request& request);
void run_now_message(Exchange& x, const Request& request);
void cancel_message(Exchange& x, const Request& request);
void kill_message(Exchange& x, const Request& request);
void clone_message(Exchange& x, const Request& request);
void move_message(Exchange& x, const Request& request);
void set_priority(Exchange& x, const Request& request);

// bulk.cpp
void bulk_action(Exchange& x, const Request& request);
void list_bulk(Exchange& x, const Request& request);
void show_bulk(Exchange& x, const Request& request);
void cancel_bulk(Exchange& x, const Request& request);

// logs.cpp
void show_log(Exchange& x, const Request& request);
void stream_log(Exchange& x, const Request& request);

// work.cpp
void reserve(Exchange& x, const Request& request);
void heartbeat(Exchange& x, const Request& request);
void keep_leases(Exchange& x, const Request& request);
void progress(Exchange& x, const Request& request);
void done(Exchange& x, const Request& request);
void relayed(Exchange& x, const Request& request);
void err(Exchange& x, const Request& request);
void resend(Exchange& x, const Request& request);
void release(Exchange& x, const Request& request);
void finish(Exchange& x, const Request& request);
void duplicate(Exchange& x, const Request& request);

// events_stream.cpp
void stream_events(Exchange& x, const Request& request);

// server_info.cpp
void show_stats(Exchange& x, const Request& request);
void show_health(Exchange& x, const Request& request);
void show_version(Exchange& x, const Request& request);
void show_openapi(Exchange& x, const Request& request);
void advance_clock(Exchange& x, const Request& request);

}  // namespace rq::doors::api
