#include "doors/api/exchange.h"

#include <fmt/format.h>

#include "doors/api/http_door.h"

namespace rq::doors::api {
namespace {

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 206:
      return "Partial Content";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 507:
      return "Insufficient Storage";
    default:
      return "Status";
  }
}

void append_status_line(std::string& out, int status, std::string_view date_line) {
  out += "HTTP/1.1 ";
  append_number(out, status);
  out += ' ';
  out += reason_of(status);
  out += "\r\n";
  out += date_line;
}

}  // namespace

void append_error_object(std::string& out, const base::Error& error) {
  out += R"({"code":)";
  append_json_string(out, base::name_of(error.code));
  out += R"(,"message":)";
  append_json_string(out, error.message);
  out += R"(,"remedy":)";
  append_json_string(out, error.remedy);
  out += '}';
}

std::string error_json(const base::Error& error) {
  std::string out = R"({"error":)";
  append_error_object(out, error);
  out += '}';
  return out;
}

ExchangeId Exchange::id() const { return {.connection = connection_.id, .request = slot_.request}; }

void Exchange::reply_json(int status, std::string_view body) {
  reply(status, "application/json", body);
}

void Exchange::reply(int status, std::string_view content_type, std::string_view body,
                     std::string_view fields) {
  std::string& out = connection_.out_of(slot_);
  append_status_line(out, status, door_.date_line());
  out += "Content-Type: ";
  out += content_type;
  out += "\r\nContent-Length: ";
  append_number(out, static_cast<std::int64_t>(body.size()));
  out += "\r\n";
  out += fields;
  if (slot_.close_after) {
    out += "Connection: close\r\n";
  } else if (slot_.old_http) {
    out += "Connection: keep-alive\r\n";
  }
  out += "\r\n";
  if (!slot_.head_only) out += body;
  connection_.finished(slot_);
}

void Exchange::refuse(const base::Error& error, std::string_view fields) {
  reply(base::row_of(error.code).http_status, "application/json", error_json(error), fields);
}

void Exchange::start_stream() {
  std::string& out = connection_.out_of(slot_);
  append_status_line(out, 200, door_.date_line());
  out += "Content-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";
  slot_.close_after = true;
  connection_.begin_stream(slot_);
}

void Exchange::write(std::string_view text) {
  connection_.out_of(slot_) += text;
  connection_.wrote_stream(slot_);
}

void Exchange::end() {
  door_.links().schedule_flush();
  connection_.finished(slot_);
}

std::size_t Exchange::backlog() const { return connection_.unsent() + slot_.bytes.size(); }

void Exchange::ask(core::Command&& command, Renderer render) {
  slot_.raw = false;
  slot_.render = render;
  submit(std::move(command));
}

void Exchange::ask_raw(core::Command&& command, Renderer render) {
  slot_.raw = true;
  slot_.render = render;
  submit(std::move(command));
}

void Exchange::submit(core::Command&& command) {
  door_.desk().submit(
      {.door = door_.door_number(), .connection = connection_.id, .request = slot_.request},
      std::move(command));
}

void Exchange::ask_waiting(core::Command&& command, Renderer render) {
  connection_.wait_begins(slot_);
  ask(std::move(command), render);
}

void Exchange::post_lookup(pipeline::Readers::Lookup lookup) {
  if (door_.readers().post(std::move(lookup))) return;
  refuse(base::fail(base::Code::busy, "too many look-ups are waiting",
                    "repeat the request in a moment"));
}

}  // namespace rq::doors::api
