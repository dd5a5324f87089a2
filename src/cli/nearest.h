#pragma once
// What was meant by a word that is not known: for "did you mean".
#include <CLI/App.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/client.h"

namespace rq::cli {

// Of the names, the one that was most likely meant; empty: none is near.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& names);
// Of the options of `app` likewise: "--priority" for "--prio", "--after" for "--since".
[[nodiscard]] std::string nearest_option(const CLI::App& app, std::string_view word);
// What other programs call a state: "err" for "failed"; empty: nothing is known.
[[nodiscard]] std::string_view state_meant(std::string_view word);

// Of the queues that there are, the one that was most likely meant; empty: none is near.
[[nodiscard]] std::string nearest_queue(client::Client& client, std::string_view name);
// The error of a request that named a queue: when there is no such queue, with what was meant.
[[nodiscard]] base::Error with_nearest_queue(client::Client& client, std::string_view queue,
                                             base::Error error);

}  // namespace rq::cli
