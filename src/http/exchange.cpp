#include "http/exchange.h"

#include "base/check.h"
#include "base/number.h"
#include "http/connection.h"
#include "http/server.h"

namespace rq::http {

ExchangeId Exchange::id() const { return {.connection = connection_.id, .request = slot_.request}; }

const net::Caller& Exchange::caller() const { return connection_.who(); }

std::string& Exchange::begin_reply(int status, std::string_view content_type,
                                   std::optional<std::uint64_t> length, std::string_view fields) {
  RQ_CHECK(!slot_.begun);
  connection_.before_reply(slot_);
  slot_.begun = true;
  std::string& out = connection_.line().out_of(slot_);
  append_status_line(out, status);
  out += server_.date_line();
  if (!content_type.empty()) {
    out += "Content-Type: ";
    out += content_type;
    out += "\r\n";
  }
  if (length) {
    out += "Content-Length: ";
    base::append_number(out, *length);
    out += "\r\n";
  } else if (slot_.chunks) {
    out += "Transfer-Encoding: chunked\r\n";
  }
  out += fields;
  if (slot_.close_after) {
    out += "Connection: close\r\n";
  } else if (slot_.old_http) {
    out += "Connection: keep-alive\r\n";
  }
  out += "\r\n";
  return out;
}

void Exchange::reply(int status, std::string_view content_type, std::string_view body,
                     std::string_view fields) {
  std::string& out = begin_reply(status, content_type, body.size(), fields);
  if (!slot_.head_only) out += body;
  connection_.finished(slot_);
}

void Exchange::reply_empty(int status, std::string_view fields) {
  begin_reply(status, {}, std::nullopt, fields);
  connection_.finished(slot_);
}

void Exchange::refuse(const base::Error& error, std::string_view fields) {
  refuse_with(base::row_of(error.code).http_status, error, fields);
}

void Exchange::refuse_with(int status, const base::Error& error, std::string_view fields) {
  if (slot_.begun) {
    connection_.cut_off();
    return;
  }
  std::string body;
  server_.site().append_error(body, error);
  reply(status, server_.site().error_type(), body, fields);
}

void Exchange::reply_file(int status, std::string_view content_type, FileRange file,
                          std::string_view fields) {
  begin_reply(status, content_type, file.bytes, fields);
  if (slot_.head_only || file.bytes == 0) return connection_.finished(slot_);
  slot_.file.emplace(std::move(file));
  slot_.alone = true;
  server_.links().mark_dirty(connection_);
}

void Exchange::reply_source(int status, std::string_view content_type,
                            std::unique_ptr<Source> source, std::optional<std::uint64_t> length,
                            std::string_view fields) {
  slot_.chunks = !length && !slot_.old_http;
  if (!length && slot_.old_http) slot_.close_after = true;
  begin_reply(status, content_type, length, fields);
  if (slot_.head_only || (length && *length == 0)) return connection_.finished(slot_);
  slot_.source_left = length.value_or(UINT64_MAX);
  slot_.source = std::move(source);
  slot_.alone = true;
  server_.links().mark_dirty(connection_);
}

void Exchange::begin_events() {
  slot_.close_after = true;
  begin_reply(200, "text/event-stream", std::nullopt, "Cache-Control: no-store\r\n");
  connection_.begin_events(slot_);
}

void Exchange::write(std::string_view text) { connection_.write_events(slot_, text); }

void Exchange::end() {
  connection_.finished(slot_);
  server_.links().schedule_flush();
}

std::size_t Exchange::backlog() const { return connection_.line().unsent(slot_); }

void Exchange::watch_peer() { connection_.watch(slot_, true); }

void Exchange::unwatch_peer() { connection_.watch(slot_, false); }

void Exchange::go_on() { connection_.go_on(slot_); }

bool Exchange::grow_share(std::size_t bytes) {
  return slot_.share.grow_to(server_.budget(), bytes);
}

}  // namespace rq::http
