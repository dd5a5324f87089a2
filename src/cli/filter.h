#pragma once
// Which messages: the filters of list and of the bulk actions.
#include <CLI/App.hpp>
#include <boost/json/object.hpp>
#include <string>

#include "base/result.h"
#include "client/client.h"

namespace rq::cli {

struct MessageFilter {
  std::string queue, state, mark, tag, key, text, fingerprint, after, before;

  // The options --queue, --state and so on.
  void declare(CLI::App& app);
  [[nodiscard]] bool empty() const;
  [[nodiscard]] bool state_alone() const;  // nothing but a state, or not even that
  // " --queue mail --tag vip", without state and fingerprint, for a shell.
  [[nodiscard]] std::string words() const;
  // What may be the cause when nothing is found; empty: nothing is known.
  [[nodiscard]] std::string hint_when_none() const;
  // As query parameters; as the `filter` of a bulk action.
  [[nodiscard]] base::Result<client::Query> query() const;
  [[nodiscard]] base::Result<boost::json::object> object() const;

 private:
  [[nodiscard]] base::Result<std::vector<std::pair<std::string, std::string>>> pairs() const;
};

}  // namespace rq::cli
