#pragma once
// Who calls, and what they may do: the one place that decides it, from a connection and what the
// request says of itself.
//
//   a token that holds           the rights of the token, whichever way it came
//   a token that does not        nobody: unauthorized, also where nobody would have had rights
//   a client's certificate       what rq.toml gives it; one that is not there: nobody
//   the unix socket              by the user at its other end: the server's own and root have all
//                                rights, others what rq.toml gives them, else as the next line
//   an address of this machine   anonymous: what rq.toml gives (enqueue, work, read)
//   any other                    nobody
//
// Thread: the loop's.
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "access/networks.h"
#include "base/result.h"
#include "base/time.h"
#include "core/access_token.h"
#include "core/caller.h"

namespace rq::access {

// Of rq.toml.
struct Policy {
  bool required = false;  // nobody is anonymous
  core::Rights anonymous;
  struct Users {
    std::string name;  // of the user or the group, as it was written
    bool group = false;
    std::uint32_t id = 0;
    core::Rights rights;
    friend bool operator==(const Users&, const Users&) = default;
  };
  std::vector<Users> users;
  // Of a client's certificate: the fingerprint of its key, or one of its names, and what who shows
  // it may do.
  struct Certificate {
    std::string name;  // "sha256:...", "DNS:worker-1.example.org", "URI:..."
    core::Rights rights;
    friend bool operator==(const Certificate&, const Certificate&) = default;
  };
  std::vector<Certificate> certificates;
  // Who is believed where a request comes from (X-Forwarded-For).
  std::vector<Network> trusted_proxies;
  // Who has all rights beside root.
  uid_t owner = 0;
  friend bool operator==(const Policy&, const Policy&) = default;
};

// What a request says of who sent it.
struct Knock {
  bool unix_socket = false;
  std::optional<uid_t> uid;       // at the other end of the unix socket
  std::span<const gid_t> groups;  // all of its groups, as the kernel told them at the connect
  bool loopback = false;          // from an address of this machine
  bool forwarded = false;         // a proxy has sent it on: it may be from anywhere
  std::string_view address;       // it comes from; empty: a unix socket
  // Of the certificate that the client has shown: its fingerprint, then its names. Empty: none.
  std::span<const std::string> certificate;
  std::optional<std::string_view> authorization;  // the field, if it is there
};

// The use of a token is noted so often: each note is a commit.
inline constexpr std::chrono::minutes kUseNoted{10};

class Callers {
 public:
  explicit Callers(Policy policy);

  void set_policy(Policy policy);
  [[nodiscard]] const Policy& policy() const { return policy_; }
  void set_tokens(std::vector<core::AccessToken> tokens);
  // Grows with each change: whoever was found before it has to be found again.
  [[nodiscard]] std::uint64_t generation() const { return generation_; }

  // Whoever comes from an address of this machine, without a token.
  [[nodiscard]] bool anonymous_has(core::Right right) const {
    return !policy_.required && policy_.anonymous.has_somewhere(right);
  }
  // unauthorized: it is nobody. What was wrong with a token is not said.
  [[nodiscard]] base::Result<core::CallerRef> find(const Knock& knock, base::Instant now);
  // Whoever was found before could be found again. Of a user the table is not looked at anew.
  [[nodiscard]] bool holds(const core::Caller& caller, base::Instant now) const;
  // Of those that hold, by its name; null: there is none.
  [[nodiscard]] const core::AccessToken* token(std::string_view name, base::Instant now) const;
  // Uses of tokens that are to be noted, since the last call: of each one now and then.
  struct Use {
    std::string id;
    std::string from;
  };
  [[nodiscard]] std::vector<Use> take_uses() { return std::exchange(uses_, {}); }

 private:
  [[nodiscard]] base::Result<core::CallerRef> by_token(std::string_view authorization,
                                                       std::string_view from, base::Instant now);
  [[nodiscard]] base::Result<core::CallerRef> by_user(const Knock& knock);
  [[nodiscard]] base::Result<core::CallerRef> by_certificate(const Knock& knock) const;
  [[nodiscard]] base::Result<core::CallerRef> anonymous(std::string_view from);
  void forget();

  struct Known {
    core::AccessToken token;
    core::CallerRef caller;  // as it called last
  };
  void note_use(Known& known, std::string_view from, base::Instant now);
  Policy policy_;
  std::unordered_map<std::string, Known> tokens_;  // by id
  std::map<uid_t, core::CallerRef> users_;         // found before
  core::CallerRef anonymous_;
  std::vector<Use> uses_;
  std::uint64_t generation_ = 0;
};

}  // namespace rq::access
