#include "access/callers.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "access/secret.h"

namespace rq::access {
namespace {

using base::Code;
using base::fail;
using base::Instant;
using base::Result;
using core::CallerRef;

// As the kernel tells users of a namespace that this process does not know.
constexpr uid_t kForeign = 65'534;
constexpr std::string_view kScheme = "Bearer ";
// Users found before that are remembered; more are looked up again each time.
constexpr std::size_t kUsersMax = 1'024;
constexpr std::size_t kUserBytesMax = 16'384;

// One text for whatever is wrong with a token, and one for all that bring none.
base::Error no_such_token() {
  return fail(Code::unauthorized, "the token is not known here, or holds no longer",
              "get a new one: rq token create, where the server runs");
}
base::Error needs_token() {
  return fail(Code::unauthorized, "this server wants to know who calls",
              "send a token (Authorization: Bearer ...; rq: --token-file FILE or RQ_TOKEN_FILE), "
              "or use the unix socket of its directory");
}

std::string name_of_user(uid_t uid) {
  std::array<char, kUserBytesMax> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return fmt::format("user:{}", uid);
  }
  return fmt::format("user:{}", entry.pw_name);
}

CallerRef make_caller(std::string name, std::string_view from, core::Rights rights,
                      std::optional<Instant> until = std::nullopt) {
  return std::make_shared<const core::Caller>(core::Caller{.name = std::move(name),
                                                           .whence = std::string(from),
                                                           .rights = std::move(rights),
                                                           .until = until});
}

// As the audit list has it.
std::string_view whence_of(const Knock& knock) {
  return knock.address.empty() ? "unix socket" : knock.address;
}

// Its own end, and that of the secret it was called by.
std::optional<Instant> earlier(std::optional<Instant> a, std::optional<Instant> b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

}  // namespace

Callers::Callers(Policy policy) : policy_(std::move(policy)) { forget(); }

void Callers::set_policy(Policy policy) {
  policy_ = std::move(policy);
  forget();
}

void Callers::set_tokens(std::vector<core::AccessToken> tokens) {
  tokens_.clear();
  for (core::AccessToken& token : tokens) {
    CallerRef caller = make_caller(core::holder_of(token), {}, token.rights, token.expires);
    std::string id = token.id;
    tokens_.insert_or_assign(std::move(id),
                             Known{.token = std::move(token), .caller = std::move(caller)});
  }
  ++generation_;
}

void Callers::forget() {
  users_.clear();
  anonymous_ = make_caller(std::string(core::kAnonymous), {}, policy_.anonymous);
  ++generation_;
}

Result<CallerRef> Callers::find(const Knock& knock, Instant now) {
  if (knock.authorization) return by_token(*knock.authorization, whence_of(knock), now);
  if (!knock.certificate.empty()) return by_certificate(knock);
  if (knock.unix_socket) return by_user(knock);
  // Through a proxy everybody would be of this machine.
  if (!knock.loopback || knock.forwarded) return needs_token();
  return anonymous(whence_of(knock));
}

Result<CallerRef> Callers::anonymous(std::string_view from) {
  if (policy_.required) return needs_token();
  if (anonymous_->whence != from) {
    anonymous_ = make_caller(std::string(core::kAnonymous), from, policy_.anonymous);
  }
  return anonymous_;
}

bool Callers::holds(const core::Caller& caller, Instant now) const {
  if (caller.until && *caller.until <= now) return false;
  if (caller.name == core::kAnonymous) return !policy_.required;
  if (!caller.name.starts_with(core::kHolderByToken)) return true;
  return token(std::string_view(caller.name).substr(core::kHolderByToken.size()), now) != nullptr;
}

const core::AccessToken* Callers::token(std::string_view name, Instant now) const {
  for (const auto& [id, known] : tokens_) {
    if (known.token.name == name && known.token.holds(now)) return &known.token;
  }
  return nullptr;
}

void Callers::note_use(Known& known, std::string_view from, Instant now) {
  if (known.caller->whence != from) {
    known.caller = make_caller(known.caller->name, from, known.caller->rights, known.caller->until);
  }
  if (now - known.token.used < kUseNoted && known.token.used_from == from) return;
  known.token.used = now;
  known.token.used_from = from;
  uses_.push_back({.id = known.token.id, .from = std::string(from)});
}

// The same work, whatever is wrong: a token that is not there is compared with an empty one.
Result<CallerRef> Callers::by_token(std::string_view authorization, std::string_view from,
                                    Instant now) {
  static const core::SecretHash kNone{};
  if (!authorization.starts_with(kScheme)) return no_such_token();
  authorization.remove_prefix(kScheme.size());
  const std::optional<TokenText> text = parse_token_text(authorization);
  const core::SecretHash given = hash_of(text ? text->secret : authorization);
  const auto found = text ? tokens_.find(std::string(text->id)) : tokens_.end();
  Known* const known = found == tokens_.end() ? nullptr : &found->second;
  const bool is_current = same_hash(given, known != nullptr ? known->token.hash : kNone);
  const bool is_old =
      same_hash(given, known != nullptr ? known->token.old_hash.value_or(kNone) : kNone);
  if (known == nullptr || !known->token.holds(now)) return no_such_token();
  const bool old_holds = is_old && known->token.old_hash && known->token.old_until > now;
  if (!is_current && !old_holds) return no_such_token();
  note_use(*known, from, now);
  if (is_current) return known->caller;
  return make_caller(known->caller->name, from, known->caller->rights,
                     earlier(known->caller->until, known->token.old_until));
}

// Whoever has signed it: the table says which one is meant (pitfalls NT18).
Result<CallerRef> Callers::by_certificate(const Knock& knock) const {
  const Policy::Certificate* found = nullptr;
  for (const std::string& name : knock.certificate) {
    const auto row = std::ranges::find(policy_.certificates, name, &Policy::Certificate::name);
    if (found == nullptr && row != policy_.certificates.end()) found = &*row;
  }
  if (found == nullptr) {
    return fail(Code::unauthorized,
                fmt::format("the certificate ({}) is not among those of this server",
                            knock.certificate.front()),
                "name it in rq.toml, below [certificates], or send a token");
  }
  return make_caller(fmt::format("certificate:{}", found->name), whence_of(knock), found->rights);
}

Result<CallerRef> Callers::by_user(const Knock& knock) {
  if (!knock.uid) return anonymous(whence_of(knock));
  const uid_t uid = *knock.uid;
  if (uid == kForeign) {
    return fail(Code::unauthorized, "the kernel does not tell which user calls (65534)",
                "call from outside of the container, or with a token");
  }
  if (const auto found = users_.find(uid); found != users_.end()) return found->second;
  core::Rights rights;
  if (uid == 0 || uid == policy_.owner) {
    rights = core::Rights::all();
  } else {
    for (const Policy::Users& row : policy_.users) {
      const bool is_meant = row.group ? std::find(knock.groups.begin(), knock.groups.end(),
                                                  row.id) != knock.groups.end()
                                      : row.id == uid;
      if (!is_meant) continue;
      for (const core::Grant& grant : row.rights.grants()) rights.add(grant);
    }
    if (rights.is_none()) return anonymous(whence_of(knock));
  }
  CallerRef caller = make_caller(name_of_user(uid), whence_of(knock), std::move(rights));
  // What groups they are in may differ from one connection to the next.
  const bool by_group = std::any_of(policy_.users.begin(), policy_.users.end(),
                                    [](const Policy::Users& row) { return row.group; });
  const bool keeps = uid == 0 || uid == policy_.owner || !by_group;
  if (keeps && users_.size() < kUsersMax) users_.emplace(uid, caller);
  return caller;
}

}  // namespace rq::access
