#include "client/client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/limits.h"
#include "client/sse_reader.h"

namespace rq::client {
namespace json = boost::json;
using base::Code;
using base::Error;
using base::fail;
using base::Result;

namespace {

constexpr long kConnectTimeoutMs = 5'000;
constexpr long kOk = 200;
constexpr long kNotOk = 300;

struct Global {
  Global() { curl_global_init(CURL_GLOBAL_DEFAULT); }
  ~Global() { curl_global_cleanup(); }
};

void init_curl() { static const Global global; }

struct SlistFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Slist = std::unique_ptr<curl_slist, SlistFree>;

void append(Slist& list, const std::string& line) {
  list.reset(curl_slist_append(list.release(), line.c_str()));
}

std::size_t take_body(char* data, std::size_t, std::size_t size, void* into) {
  auto& body = *static_cast<std::string*>(into);
  if (body.size() + size > base::kHttpBodyBytesMax) return 0;
  body.append(data, size);
  return size;
}

std::optional<Code> code_named(std::string_view name) {
  for (const base::CodeRow& row : base::code_table()) {
    if (row.name == name) return row.code;
  }
  return std::nullopt;
}

// For a reply whose body is not ours (a proxy, another program on that port).
Code code_of_status(int status) {
  for (const base::CodeRow& row : base::code_table()) {
    if (row.http_status == status) return row.code;
  }
  return status >= 500 ? Code::internal : Code::bad_request;
}

Result<json::value> parse_reply(const std::string& body) {
  boost::system::error_code error;
  json::parse_options options;
  options.max_depth = base::kJsonDepthMax * 2;  // a payload or result inside an answer
  json::value value = json::parse(body, error, {}, options);
  if (error) {
    return fail(
        Code::internal,
        fmt::format("the answer is not JSON ({}): '{}'", error.message(), body.substr(0, 80)),
        "is it really an rq server that listens there?");
  }
  return value;
}

std::string_view text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

}  // namespace

// --- Addresses ---

ServerAddress server_of_dir(const std::string& dir) {
  return {.socket_path = dir + "/run/rq.sock",
          .base_url = "http://localhost",
          .remedy = fmt::format("start one: rq server --dir {}   (or name another: --dir DIR, "
                                "--server URL|unix:PATH, RQ_DIR, RQ_SERVER)",
                                dir)};
}

Result<ServerAddress> parse_server_address(std::string_view text) {
  const std::string_view whole = text;
  const auto socket = [](std::string_view path) {
    return ServerAddress{.socket_path = std::string(path),
                         .base_url = "http://localhost",
                         .remedy = "start a server there, or name another with --dir or --server"};
  };
  if (text.starts_with("unix:")) {
    text.remove_prefix(5);
    while (text.starts_with("//")) text.remove_prefix(1);
    if (!text.empty()) return socket(text);
  } else if (text.starts_with('/')) {
    return socket(text);
  } else if (text.starts_with("http://")) {
    while (text.ends_with('/')) text.remove_suffix(1);
    const std::string_view host = text.substr(std::min<std::size_t>(7, text.size()));
    if (!host.empty() && host.find_first_of("/?#@ ") == std::string_view::npos) {
      return ServerAddress{.socket_path = {},
                           .base_url = std::string(text),
                           .remedy = fmt::format("start one: rq server --http {}", host)};
    }
  }
  return fail(Code::bad_value, fmt::format("server '{}': not an address", whole),
              "write unix:PATH or http://HOST:PORT");
}

std::string url_encode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

Query& Query::add(std::string_view name, std::string_view value) {
  text_ += text_.empty() ? '?' : '&';
  text_ += name;
  text_ += '=';
  text_ += url_encode(value);
  return *this;
}

Query& Query::add_if(std::string_view name, std::string_view value) {
  return value.empty() ? *this : add(name, value);
}

std::string Query::on(std::string path) const { return std::move(path) + text_; }

Error error_of_reply(int status, std::string_view body) {
  boost::system::error_code failed;
  const json::value value = json::parse(body, failed);
  if (!failed && value.is_object()) {
    const json::value* inner = value.get_object().if_contains("error");
    if (inner != nullptr && inner->is_object()) {
      const json::object& object = inner->get_object();
      const Code code = code_named(text_of(object, "code")).value_or(code_of_status(status));
      return fail(code, std::string(text_of(object, "message")),
                  std::string(text_of(object, "remedy")));
    }
  }
  return fail(code_of_status(status),
              fmt::format("the server answered {} without saying why", status),
              "is it really an rq server that listens there?");
}

// --- The client
// -----------------------------------------------------------------------------------

struct Client::Impl {
  explicit Impl(ServerAddress where) : address(std::move(where)) {
    init_curl();
    curl = curl_easy_init();
    RQ_CHECK(curl != nullptr);
  }
  ~Impl() { curl_easy_cleanup(curl); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // All options are set anew for each request; the connection stays.
  void prepare(std::string_view method, const std::string& target, const Slist& headers) {
    curl_easy_reset(curl);
    const std::string url = address.base_url + target;
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    if (!address.socket_path.empty()) {
      curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, address.socket_path.c_str());
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, std::string(method).c_str());
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    problem.fill('\0');
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem.data());
  }

  Error unreachable(CURLcode result) const {
    const std::string where = address.socket_path.empty() ? address.base_url : address.socket_path;
    const std::string_view said =
        problem[0] != '\0' ? std::string_view(problem.data()) : curl_easy_strerror(result);
    switch (result) {
      case CURLE_COULDNT_CONNECT:
      case CURLE_COULDNT_RESOLVE_HOST:
        return fail(Code::unreachable, fmt::format("no server answers at {}", where),
                    address.remedy);
      case CURLE_OPERATION_TIMEDOUT:
        return fail(Code::unreachable,
                    fmt::format("the server at {} did not answer in time", where),
                    "look at its log; rq doctor looks at the rest");
      case CURLE_URL_MALFORMAT:
        return fail(Code::bad_value, fmt::format("server '{}': {}", where, said),
                    "write unix:PATH or http://HOST:PORT");
      case CURLE_WRITE_ERROR:
        return fail(
            Code::too_large,
            fmt::format("the answer is larger than {} MiB", base::kHttpBodyBytesMax / base::kMiB),
            "ask for less at a time");
      default:
        return fail(Code::unreachable,
                    fmt::format("the connection to {} broke off: {}", where, said),
                    "what was asked may or may not have been done: look, then repeat it");
    }
  }

  Result<HttpReply> perform(std::string& body) {
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    const CURLcode result = curl_easy_perform(curl);
    if (result != CURLE_OK) return unreachable(result);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    HttpReply reply{.status = static_cast<int>(status), .body = std::move(body)};
    if (status < kOk || status >= kNotOk) return error_of_reply(reply.status, reply.body);
    return reply;
  }

  Result<HttpReply> request(std::string_view method, const std::string& target,
                            const std::string& content_type, std::string_view body) {
    Slist headers;
    append(headers, "Expect:");
    if (!content_type.empty()) append(headers, "Content-Type: " + content_type);
    prepare(method, target, headers);
    if (!content_type.empty()) {
      curl_easy_setopt(curl, CURLOPT_POST, 1L);
      curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, std::string(method).c_str());
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    }
    std::string answer;
    return perform(answer);
  }

  ServerAddress address;
  CURL* curl = nullptr;
  std::array<char, CURL_ERROR_SIZE> problem{};
};

Client::Client(ServerAddress address) : impl_(std::make_unique<Impl>(std::move(address))) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

const ServerAddress& Client::address() const { return impl_->address; }

Result<json::value> Client::get(const std::string& target) {
  RQ_TRY_ASSIGN(reply, impl_->request("GET", target, {}, {}));
  return parse_reply(reply.body);
}

Result<json::value> Client::send(std::string_view method, const std::string& target,
                                 const json::value& body) {
  return send_bytes(method, target, "application/json", json::serialize(body));
}

Result<json::value> Client::remove(const std::string& target) {
  RQ_TRY_ASSIGN(reply, impl_->request("DELETE", target, {}, {}));
  if (reply.body.empty()) return json::value(json::object{});
  return parse_reply(reply.body);
}

Result<json::value> Client::send_bytes(std::string_view method, const std::string& target,
                                       const std::string& content_type, std::string_view body) {
  RQ_TRY_ASSIGN(reply, impl_->request(method, target, content_type, body));
  if (reply.body.empty()) return json::value(json::object{});
  return parse_reply(reply.body);
}

Result<std::string> Client::get_bytes(const std::string& target) {
  RQ_TRY_ASSIGN(reply, impl_->request("GET", target, {}, {}));
  return std::move(reply.body);
}

namespace {

// What follow() hands to curl's callbacks.
struct Following {
  CURL* curl;
  const EventSink& sink;
  const std::function<bool()>& tick;
  SseReader reader;
  std::string refusal;  // the body of an answer that is no stream
  bool enough = false;
};

std::size_t take_events(char* data, std::size_t, std::size_t size, void* into) {
  auto& self = *static_cast<Following*>(into);
  long status = 0;
  curl_easy_getinfo(self.curl, CURLINFO_RESPONSE_CODE, &status);
  if (status < kOk || status >= kNotOk) {
    if (self.refusal.size() + size > base::kMiB) return 0;
    self.refusal.append(data, size);
    return size;
  }
  const bool fits = self.reader.feed({data, size}, [&self](auto event, auto text) {
    if (!self.enough) self.enough = !self.sink(event, text);
  });
  return fits && !self.enough ? size : 0;
}

int ask_tick(void* from, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& self = *static_cast<Following*>(from);
  if (self.enough || (self.tick && !self.tick())) {
    self.enough = true;
    return 1;
  }
  return 0;
}

}  // namespace

Result<void> Client::follow(const std::string& target, const EventSink& sink,
                            const std::function<bool()>& tick) {
  Slist headers;
  append(headers, "Accept: text/event-stream");
  impl_->prepare("GET", target, headers);
  Following following{.curl = impl_->curl, .sink = sink, .tick = tick, .reader = {}, .refusal = {}};
  CURL* curl = impl_->curl;
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &take_events);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &following);
  if (tick) {
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &ask_tick);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &following);
  }
  const CURLcode result = curl_easy_perform(curl);
  if (following.enough) return {};
  if (result != CURLE_OK) return impl_->unreachable(result);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  if (status < kOk || status >= kNotOk) {
    return error_of_reply(static_cast<int>(status), following.refusal);
  }
  return fail(Code::unreachable, "the server ended the stream", impl_->address.remedy);
}

}  // namespace rq::client
