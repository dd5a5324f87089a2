#pragma once
// What goes out, as docs/API.md shows it: appended to a string, no tree in between.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json_writer.h"
#include "core/command.h"
#include "core/store.h"
#include "doors/api/reasons.h"

namespace rq::doors::api {

using base::append_json_string;
using base::append_number;
using base::JsonObject;

enum class Nulls : std::uint8_t { shown, left_out };
// `queue`: its name.
void append_message(std::string& out, const core::Message& message, std::string_view queue,
                    Nulls nulls);
// As it stands in a list: nulls are left out, the payload may be cut (payload_cut says so) or, with
// `payload` false, be left out.
void append_listed(std::string& out, const core::MessageRow& row, bool payload);
void append_queue(std::string& out, const core::QueueShown& shown, const Surroundings& around);
void append_counts(std::string& out, const core::Counters& counters);
void append_totals(std::string& out, const core::Counters& counters);
void append_attempt(std::string& out, const core::Attempt& attempt);
void append_put_done(std::string& out, const core::PutDone& done);
// {"id","seq","state"}, and "was", its state before, where that is told.
void append_moved(std::string& out, core::Seq seq, base::Instant created, core::State state,
                  std::optional<core::State> was = {});
void append_notice(std::string& out, const core::Notice& notice);

// Whether `text` is one JSON value: results are kept as text or as JSON.
[[nodiscard]] bool is_json(std::string_view text);

[[nodiscard]] std::string_view name_of(core::Notice::What what);
// Of an event `message`: put, state or move; else empty.
[[nodiscard]] std::string_view change_of(core::Notice::What what);

}  // namespace rq::doors::api
