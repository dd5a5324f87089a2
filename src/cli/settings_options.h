#pragma once
// Queue settings as options of the command line: --script ./x.sh --retries 3 --timeout 60s …, and
// --set key=value for all of them.
#include <CLI/App.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace rq::cli {

// The settings that were given, in the form of the API.
struct GivenSettings {
  boost::json::object values;
};

// Whether help tells what holds where nothing is said: so for a queue that is made, while one that
// is changed keeps what it has.
enum class Defaults : std::uint8_t { told, untold };
// Declares the options in `app`; the values are there once it has parsed.
[[nodiscard]] std::shared_ptr<GivenSettings> add_settings_options(CLI::App& app, Defaults defaults);

// One --set: "retries=3", "limits.memory_bytes=512M", "backoff={\"kind\":\"fixed\"}". Fields that
// end in _s take lengths of time, in _bytes sizes.
[[nodiscard]] base::Result<void> set_field(boost::json::object& values,
                                           std::string_view assignment);

// Settings of a queue, as the API shows them, with which its script is not run or cannot work.
[[nodiscard]] std::vector<std::string> hindrances_in(const boost::json::value& settings);

// Of the settings that were given, what they mean where that may not be what was meant. `settings`:
// of the queue, as the API shows them.
[[nodiscard]] std::vector<std::string> notes_on(const boost::json::object& given,
                                                const boost::json::value& settings);
// The queue's messages are command lines, and come from whoever reaches the server over TCP.
[[nodiscard]] bool takes_commands_over_tcp(const boost::json::value& settings);

}  // namespace rq::cli
