#include "http/message.h"

#include <algorithm>
#include <charconv>

#include "base/number.h"
#include "base/text.h"

namespace rq::http {
namespace {

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 304:
      return "Not Modified";
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
    case 412:
      return "Precondition Failed";
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
    case 501:
      return "Not Implemented";
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

}  // namespace

std::string_view name_of(Method method) {
  switch (method) {
    case Method::get:
      return "GET";
    case Method::post:
      return "POST";
    case Method::put:
      return "PUT";
    case Method::patch:
      return "PATCH";
    case Method::del:
      return "DELETE";
    case Method::other:
      break;
  }
  return "?";
}

bool same_name(std::string_view a, std::string_view b) {
  if (a == b) return true;
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return base::lower(x) == base::lower(y); });
}

void Fields::add(std::string_view name, std::string_view value) {
  places_.push_back({.name_bytes = static_cast<std::uint32_t>(name.size()),
                     .value_bytes = static_cast<std::uint32_t>(value.size())});
  text_ += name;
  text_ += value;
}

std::string_view Fields::find(std::string_view name) const {
  std::size_t at = 0;
  const std::string_view text = text_;
  for (const Place& place : places_) {
    if (same_name(text.substr(at, place.name_bytes), name)) {
      return text.substr(at + place.name_bytes, place.value_bytes);
    }
    at += std::size_t{place.name_bytes} + place.value_bytes;
  }
  return {};
}

void Fields::clear() {
  text_.clear();
  places_.clear();
}

void Head::clear() {
  method = Method::other;
  version = 11;
  hosts = 0;
  head_only = expect_continue = expect_unknown = encoded = target_too_long = target_bad = false;
  target.clear();
  host.clear();
  media_type.clear();
  fields.clear();
}

std::string_view Head::path() const {
  return std::string_view(target).substr(0, std::string_view(target).find('?'));
}

std::string_view Head::query() const {
  const std::size_t mark = target.find('?');
  return mark == std::string::npos ? std::string_view{} : std::string_view(target).substr(mark + 1);
}

void append_status_line(std::string& out, int status) {
  out += "HTTP/1.1 ";
  base::append_number(out, status);
  out += ' ';
  out += reason_of(status);
  out += "\r\n";
}

}  // namespace rq::http
