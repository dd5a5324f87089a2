#include "doors/api/entrance.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/number.h"
#include "base/utf8.h"
#include "doors/api/api_door.h"
#include "doors/api/stream.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;

// Of connection 0, which nobody has.
constexpr std::uint64_t kTokensRequest = 1;
constexpr std::chrono::seconds kTokensAgainAfter{1};  // when the engine could not tell them

// A proxy has sent it on.
bool is_forwarded(const http::Head& head) {
  constexpr std::array<std::string_view, 4> kFields{"Forwarded", "X-Forwarded-For", "X-Real-IP",
                                                    "Via"};
  return std::any_of(kFields.begin(), kFields.end(),
                     [&head](std::string_view name) { return head.fields.count(name) > 0; });
}

}  // namespace

Entrance::Entrance(ApiDoor& door, access::Policy policy)
    : door_(door), callers_(std::move(policy)), tokens_timer_(door.desk().loop().io()) {}

void Entrance::serve_as(std::string host, std::string address) {
  hosts_.push_back(std::move(host));
  address_ = std::move(address);
}

// --- Requests ---

base::Result<http::Who> Entrance::admit(const http::Head& head, const net::Caller& caller) {
  if (!caller.unix_socket) {
    if (auto refused = check_host(head, caller.tls)) return *std::move(refused);
    if (auto refused = check_origin(head, caller.tls)) return *std::move(refused);
  }
  from_ = caller.address;
  if (access::is_in(callers_.policy().trusted_proxies, from_)) {
    from_ = access::client_address(callers_.policy().trusted_proxies, std::move(from_),
                                   head.fields.joined("X-Forwarded-For"));
  }
  access::Knock knock{.unix_socket = caller.unix_socket,
                      .uid = caller.uid,
                      .groups = caller.groups,
                      .loopback = caller.loopback,
                      .forwarded = is_forwarded(head),
                      .address = from_,
                      .certificate = caller.certificate,
                      .authorization = {}};
  // Of two nobody knows which is meant: that is none that holds.
  if (const std::size_t count = head.fields.count("Authorization"); count > 0) {
    knock.authorization = count == 1 ? head.fields.find("Authorization") : std::string_view{};
  }
  shown_ = knock.authorization.has_value();
  if (shown_ && !knows_tokens_) {
    return fail(Code::busy, "the server has just started, and does not know its tokens yet",
                "repeat the request in a moment");
  }
  RQ_TRY_ASSIGN(found, callers_.find(knock, door_.clock().now()));
  note_uses();
  return http::Who(std::move(found));
}

std::chrono::milliseconds Entrance::pause_before(const base::Error& refusal,
                                                 const net::Caller& caller) {
  // Whoever shows no token guesses none; nor do users of this machine.
  if (refusal.code != Code::unauthorized || !shown_ || caller.unix_socket) return base::Millis{0};
  return failures_.note(from_, door_.clock().now());
}

std::optional<base::Error> Entrance::check_host(const http::Head& head, bool tls) {
  // HTTP/1.0 has no Host; no browser speaks it.
  if (head.hosts == 0 && head.version >= 11) {
    return fail(Code::bad_request, "the request has no Host field", "send exactly one");
  }
  // The next request is mostly for the same one.
  if (!tls && head.hosts > 0 && (head.host.empty() || head.host != admitted_host_)) {
    if (!host_allowed(head.host)) {
      return fail(Code::forbidden,
                  fmt::format("Host '{}' is not served here", base::shown(head.host)),
                  fmt::format("use {}, or localhost with the port of your tunnel", address_));
    }
    admitted_host_ = head.host;
  }
  return std::nullopt;
}

std::optional<base::Error> Entrance::check_origin(const http::Head& head, bool tls) {
  // A page of another site may make a browser send requests here, with the rights of whoever calls
  // from this machine.
  bool foreign = http::same_name(head.fields.find("Sec-Fetch-Site"), "cross-site");
  if (const std::string_view origin = head.fields.find("Origin"); !origin.empty()) {
    const std::string_view scheme = tls ? "https://" : "http://";
    foreign = foreign || !origin.starts_with(scheme) ||
              !http::same_name(origin.substr(scheme.size()), head.host);
  }
  if (!foreign) return std::nullopt;
  return fail(Code::forbidden, "a page of another site is not served here",
              "send it from a page of this server, or from a program");
}

// A name of this machine, with any port: `ssh -L 9999:...` comes with its own. A page of another
// site, whatever its name resolves to, comes with that name.
bool Entrance::host_allowed(std::string_view host) const {
  return std::any_of(hosts_.begin(), hosts_.end(), [host](const std::string& allowed) {
    if (!http::same_name(host.substr(0, allowed.size()), allowed)) return false;
    const std::string_view rest = host.substr(allowed.size());
    // An empty port is the usual one (RFC 3986, 3.2.3).
    return rest.empty() || rest == ":" ||
           (rest.front() == ':' && base::whole_number<std::uint16_t>(rest.substr(1)));
  });
}

// --- Tokens and streams ---

void Entrance::read_tokens() {
  door_.desk().submit({.door = door_.door_number(), .connection = 0, .request = kTokensRequest},
                      core::ListTokens{});
}

void Entrance::look_at(const core::Delivery& delivery) {
  if (const auto* listed = std::get_if<core::TokensListed>(&delivery.reply)) {
    callers_.set_tokens(listed->tokens);
    knows_tokens_ = true;
    return;
  }
  if (delivery.ticket.connection != 0 || delivery.ticket.request != kTokensRequest) return;
  tokens_timer_.expires_after(kTokensAgainAfter);
  tokens_timer_.async_wait([this](const boost::system::error_code& stopped) {
    if (!stopped) read_tokens();
  });
}

void Entrance::stream_began(const http::ExchangeId& id) {
  door_.with(id, [&](Exchange& x) { streams_[{id.connection, id.request}] = x.asker(); });
}

void Entrance::end_streams_of_the_gone() {
  const base::Instant now = door_.clock().now();
  std::vector<http::ExchangeId> gone;
  for (const auto& [id, asker] : streams_) {
    if (callers_.holds(*asker, now)) continue;
    gone.push_back({.connection = id.first, .request = id.second});
  }
  for (const http::ExchangeId& id : gone) {
    door_.with(id, [](Exchange& x) {
      end_events(x, fail(Code::unauthorized, "who follows this may no longer call",
                         "call with a token that holds"));
    });
  }
  if (!gone.empty()) door_.server().flush();
}

void Entrance::note_uses() {
  for (access::Callers::Use& use : callers_.take_uses()) {
    core::ChangeToken change{.what = core::ChangeToken::What::used};
    change.token.id = std::move(use.id);
    change.token.used_from = std::move(use.from);
    door_.desk().submit({.door = door_.door_number(), .connection = 0, .request = 0},
                        std::move(change));
  }
}

}  // namespace rq::doors::api
