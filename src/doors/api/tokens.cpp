// Access tokens, and the audit list.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/json/array.hpp>

#include "access/secret.h"
#include "base/limits.h"
#include "core/json_fields.h"
#include "doors/api/api_door.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/query.h"
#include "doors/api/target.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Millis;
using base::Result;
using core::AccessToken;
using core::ChangeToken;
using core::Fields;

constexpr std::chrono::hours kExpiresMax{10 * 365 * 24};
constexpr std::chrono::hours kOverlapUsual{24};
constexpr std::chrono::hours kOverlapMax{30 * 24};
constexpr std::size_t kGrantsMax = 100;
constexpr std::int64_t kAuditPageMax = 1'000;
// No cache and no history keeps it.
constexpr std::string_view kNotKept = "Cache-Control: no-store\r\n";

// The text of a new token, until the engine has taken it.
struct Secret final : Extra {
  explicit Secret(std::string the_text) : text(std::move(the_text)) {}
  std::string text;
};

// A token that was made with another one that holds no more.
bool maker_holds(const std::vector<AccessToken>& all, const AccessToken& token, base::Instant now) {
  if (!token.maker.starts_with(core::kHolderByToken)) return true;
  const std::string_view name = std::string_view(token.maker).substr(core::kHolderByToken.size());
  return std::ranges::any_of(
      all, [&](const AccessToken& one) { return one.name == name && one.holds(now); });
}

void append_maybe(JsonObject& object, std::string_view name, std::optional<base::Instant> at) {
  at ? object.instant(name, *at) : object.null(name);
}

struct Shown {
  const std::vector<AccessToken>& all;
  const AccessToken& token;
  base::Instant now;
};

void append_token(std::string& out, const Shown& shown, std::string_view secret = {}) {
  const AccessToken& token = shown.token;
  JsonObject object(out);
  if (!secret.empty()) object.text("token", secret);
  object.text("name", token.name);
  object.text("id", token.id);
  std::string rights = "[";
  for (const core::Grant& grant : token.rights.grants()) {
    if (rights.size() > 1) rights += ',';
    append_json_string(rights, grant.text());
  }
  object.raw("rights", rights + "]");
  object.boolean("holds", token.holds(shown.now));
  object.instant("created", token.created);
  object.text("maker", token.maker);
  object.boolean("maker_holds", maker_holds(shown.all, token, shown.now));
  append_maybe(object, "expires", token.expires);
  append_maybe(object, "revoked", token.revoked);
  const bool both = token.old_hash && token.old_until > shown.now;
  append_maybe(object, "old_until", both ? std::optional{token.old_until} : std::nullopt);
  append_maybe(object, "used",
               token.used == base::Instant{} ? std::nullopt : std::optional{token.used});
  object.text("used_from", token.used_from);
  object.close();
}

void render_list(Exchange& x, core::Reply& reply) {
  const auto& all = std::get<core::TokensListed>(reply).tokens;
  std::string body = R"({"tokens":[)";
  for (const AccessToken& token : all) {
    if (body.back() != '[') body += ',';
    append_token(body, {.all = all, .token = token, .now = x.door().clock().now()});
  }
  body += "]}";
  x.reply_json(200, body);
}

// Of a change. When nobody knows whether it is done, the tokens are read again.
void render_change(Exchange& x, core::Reply& reply, int status) {
  if (const auto* error = std::get_if<base::Error>(&reply)) {
    if (base::is_fault(*error)) x.door().entrance().read_tokens();
    return x.refuse(*error);
  }
  const auto& listed = std::get<core::TokensListed>(reply);
  const auto changed = std::ranges::find(listed.tokens, listed.id, &AccessToken::id);
  const auto* const secret = static_cast<const Secret*>(x.extra());
  std::string body;
  append_token(body, {.all = listed.tokens, .token = *changed, .now = x.door().clock().now()},
               secret == nullptr ? std::string_view{} : secret->text);
  x.reply(status, "application/json", body, kNotKept);
}

void render_created(Exchange& x, core::Reply& reply) { render_change(x, reply, 201); }
void render_changed(Exchange& x, core::Reply& reply) { render_change(x, reply, 200); }

Result<core::Rights> read_rights(Fields& fields) {
  std::vector<std::string> texts;
  fields.texts("rights", texts, kGrantsMax, base::kTextBytesMax);
  core::Rights rights;
  for (const std::string& text : texts) {
    RQ_TRY_ASSIGN(grant, core::Grant::parse(text));
    rights.add(std::move(grant));
  }
  return rights;
}

Result<ChangeToken> read_new(const boost::json::object& object, base::Instant now) {
  ChangeToken change;
  Fields fields(object, "the body");
  if (!fields.text("name", change.token.name, base::kTextBytesMax)) {
    fields.refuse(fail(Code::bad_value, "there is no name", "give \"name\":\"deploy\""));
  }
  auto rights = read_rights(fields);
  if (!rights) fields.refuse(std::move(rights).error());
  std::optional<Millis> expires;
  fields.seconds("expires_s", expires, Millis{1}, kExpiresMax);
  RQ_TRY(fields.finish());
  change.token.rights = *std::move(rights);
  if (expires) change.token.expires = now + *expires;
  return change;
}

// The one that the path names; null: refused.
const AccessToken* token_of(Exchange& x, const Request& request) {
  const std::string& name = request.parameters[0];
  const AccessToken* const token =
      x.door().entrance().callers().token(name, x.door().clock().now());
  if (token == nullptr) {
    x.refuse(fail(Code::not_found, fmt::format("there is no token '{}' that holds", name),
                  "see those that there are: rq token list"));
  }
  return token;
}

void append_entry(std::string& out, const core::AuditEntry& entry) {
  JsonObject object(out);
  object.number("id", entry.id);
  object.instant("at", entry.at);
  object.text("who", entry.who);
  object.text("from", entry.whence);
  object.text("what", entry.what);
  object.text("subject", entry.subject);
  object.raw("before", entry.before.empty() ? "null" : entry.before);
  object.raw("after", entry.after.empty() ? "null" : entry.after);
  object.close();
}

void reply_audit(Exchange& x, const std::vector<core::AuditEntry>& entries, std::int64_t limit) {
  std::string body = R"({"entries":[)";
  for (const core::AuditEntry& entry : entries) {
    if (body.back() != '[') body += ',';
    append_entry(body, entry);
  }
  body += "],\"cursor\":";
  if (std::ssize(entries) < limit) {
    body += "null}";
  } else {
    body += fmt::format("{}}}", entries.back().id);
  }
  x.reply_json(200, body);
}

}  // namespace

void list_tokens(Exchange& x, const Request& request) {
  if (no_query(x, request)) x.ask(core::ListTokens{}, render_list);
}

void create_token(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  auto change = read_new(**body, x.door().clock().now());
  if (!change) return x.refuse(change.error());
  access::NewToken made = access::make_token();
  change->token.id = std::move(made.id);
  change->token.hash = made.hash;
  x.keep(std::make_unique<Secret>(std::move(made.text)));
  x.ask_raw(*std::move(change), render_created);
}

void rotate_token(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  auto body = x.json(request);
  if (!body) return x.refuse(body.error());
  ChangeToken change{.what = ChangeToken::What::rotate, .overlap = kOverlapUsual};
  Fields fields(**body, "the body");
  fields.seconds("overlap_s", change.overlap, Millis{0}, kOverlapMax);
  if (auto good = fields.finish(); !good) return x.refuse(good.error());
  const AccessToken* const token = token_of(x, request);
  if (token == nullptr) return;
  access::NewToken made = access::make_secret_for(token->id);
  change.token.id = std::move(made.id);
  change.token.hash = made.hash;
  x.keep(std::make_unique<Secret>(std::move(made.text)));
  x.ask_raw(std::move(change), render_changed);
}

void revoke_token(Exchange& x, const Request& request) {
  if (!no_query(x, request)) return;
  const AccessToken* const token = token_of(x, request);
  if (token == nullptr) return;
  ChangeToken change{.what = ChangeToken::What::revoke};
  change.token.id = token->id;
  x.ask_raw(std::move(change), render_changed);
}

void list_audit(Exchange& x, const Request& request) {
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  core::AuditPage page;
  query->text("who", page.who, base::kTextBytesMax);
  query->text("subject", page.subject, base::kTextBytesMax);
  query->integer("cursor", page.cursor, 1, INT64_MAX);
  query->integer("limit", page.limit, 1, kAuditPageMax);
  if (auto good = query->finish(); !good) return x.refuse(good.error());
  x.search([page](core::Reader& reader) { return reader.audit(page); },
           [limit = page.limit](Exchange& later, Result<std::vector<core::AuditEntry>> entries) {
             if (!entries) return later.refuse(entries.error());
             reply_audit(later, *entries, limit);
           });
}

}  // namespace rq::doors::api
