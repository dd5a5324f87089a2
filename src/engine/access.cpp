#include "engine/access.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/json_writer.h"
#include "base/utf8.h"
#include "core/name.h"

namespace rq::engine {

using base::Code;
using base::fail;
using base::Result;

namespace {

// As the audit list has it: nothing of a secret, nor of its hash.
std::string audit_text(const AccessToken& token) {
  std::string out;
  base::JsonObject object(out);
  object.text("id", token.id);
  object.text("rights", token.rights.text());
  if (token.expires) object.instant("expires", *token.expires);
  object.close();
  return out;
}

Result<AccessToken*> need_token(Desk& desk, const std::string& id) {
  const auto found = desk.tokens.find(id);
  if (found != desk.tokens.end() && found->second.holds(desk.batch.now)) return &found->second;
  return fail(Code::not_found, "there is no such token, or it holds no longer",
              "see those that there are: rq token list");
}

// Whoever makes a token, or gets a new secret of one, could not do less with it than without.
Result<void> check_not_beyond(const Desk& desk, const Rights& rights) {
  if (desk.batch.caller == nullptr) return {};
  const Grant* const beyond = desk.batch.caller->rights.beyond(rights);
  if (beyond == nullptr) return {};
  return fail(Code::forbidden,
              fmt::format("{} has not the right '{}' that the token has", desk.batch.caller->name,
                          beyond->text()),
              "a token has at most the rights of its maker");
}

Result<void> check_new(const Desk& desk, const AccessToken& token) {
  RQ_TRY(check_worker_name(token.name));
  if (token.rights.is_none()) {
    return fail(Code::bad_value, "a token without any right is of no use",
                fmt::format("give it some of {}", names_of_rights()));
  }
  RQ_TRY(check_not_beyond(desk, token.rights));
  if (token.expires && *token.expires <= desk.batch.now) {
    return fail(Code::bad_value, "expires: the time is over", "give one that is to come");
  }
  const bool taken = std::ranges::any_of(desk.tokens, [&](const auto& one) {
    return one.second.name == token.name && one.second.holds(desk.batch.now);
  });
  if (taken) {
    return fail(Code::exists, fmt::format("there is a token '{}' already", base::shown(token.name)),
                fmt::format("rq token rotate {} gives it a new secret", token.name));
  }
  return {};
}

// Those that hold no more are shown for a while, and then make room.
void forget_old(Desk& desk) {
  std::erase_if(desk.tokens, [&desk](const auto& one) {
    const AccessToken& token = one.second;
    const Instant end =
        std::min(token.revoked.value_or(Instant::max()), token.expires.value_or(Instant::max()));
    if (end > desk.batch.now - kAccessTokenShown) return false;
    desk.store.forget_token(token.id);
    return true;
  });
}

Result<void> create(Desk& desk, AccessToken&& token) {
  RQ_TRY(check_new(desk, token));
  forget_old(desk);
  if (desk.tokens.size() >= kAccessTokensMax) {
    return fail(Code::too_many, fmt::format("there are {} tokens already", desk.tokens.size()),
                "revoke those that nobody uses: rq token list tells when each was used");
  }
  token.created = desk.batch.now;
  token.maker = desk.batch.caller == nullptr ? std::string() : desk.batch.caller->name;
  desk.audit("token created", std::string(token.name), {}, audit_text(token));
  desk.store.keep(token);
  std::string id = token.id;
  desk.tokens.insert_or_assign(std::move(id), std::move(token));
  return {};
}

Result<void> rotate(Desk& desk, const ChangeToken& change, AccessToken& token) {
  RQ_TRY(check_not_beyond(desk, token.rights));
  token.old_hash = std::exchange(token.hash, change.token.hash);
  token.old_until = desk.batch.now + change.overlap;
  desk.audit("token rotated", std::string(token.name), {}, audit_text(token));
  return {};
}

// Whoever waits by this token gets nothing any more (pitfalls NA5).
void end_waits_of(Desk& desk, const AccessToken& token) {
  for (const Waiters::Waiter& waiter : desk.waiters.take_of(holder_of(token))) {
    desk.answer(waiter.ticket, fail(Code::unauthorized, "the token was revoked",
                                    "get a new one: rq token create, where the server runs"));
    desk.turns.release(connection_of(waiter.ticket));
  }
}

}  // namespace

Result<void> read_tokens(Desk& desk) {
  RQ_TRY_ASSIGN(tokens, desk.store.access_tokens());
  desk.tokens.clear();
  for (AccessToken& token : tokens) {
    std::string id = token.id;
    desk.tokens.insert_or_assign(std::move(id), std::move(token));
  }
  return {};
}

Result<Step> decide(Desk& desk, ChangeToken& change) {
  const std::string id = change.token.id;
  if (change.what == ChangeToken::What::create) {
    RQ_TRY(create(desk, std::move(change.token)));
  } else {
    RQ_TRY_ASSIGN(token, need_token(desk, id));
    if (change.what == ChangeToken::What::rotate) {
      RQ_TRY(rotate(desk, change, *token));
    } else if (change.what == ChangeToken::What::revoke) {
      token->revoked = desk.batch.now;
      end_waits_of(desk, *token);
      desk.audit("token revoked", std::string(token->name), audit_text(*token));
    } else {
      token->used = desk.batch.now;
      token->used_from = std::move(change.token.used_from);
    }
    desk.store.keep(*token);
  }
  if (change.what == ChangeToken::What::used) {
    desk.answer(Ok{});
    return Step::done;
  }
  desk.ledger.sync_disk();
  ListTokens all;
  RQ_TRY(decide(desk, all));
  std::get<TokensListed>(desk.batch.replies.back().reply).id = id;
  return Step::done;
}

Result<Step> decide(Desk& desk, ListTokens& /*list*/) {
  TokensListed listed;
  for (const auto& [id, token] : desk.tokens) listed.tokens.push_back(token);
  desk.answer(std::move(listed));
  return Step::done;
}

Result<Step> decide(Desk& desk, ForgetAudit& forget) {
  desk.store.forget_audit(forget.before);
  desk.answer(Ok{});
  return Step::done;
}

}  // namespace rq::engine
