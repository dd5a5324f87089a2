#include "doors/api/filter.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "core/json_fields.h"
#include "core/name.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;

// The texts of a filter, turned into what the store takes. `Source` is Query or Fields.
template <typename Source>
void read(Source& source, core::Filter& out) {
  if (source.text("queue", out.queue, base::kTextBytesMax)) {
    if (auto good = core::check_queue_name(out.queue); !good) {
      source.refuse(std::move(good).error());
    }
  }
  std::string name;
  if (source.text("state", name, base::kNameBytesMax)) {
    for (std::string_view rest = name; !rest.empty();) {
      const std::string_view one = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(one.size() + 1, rest.size()));
      if (const auto state = core::state_of(one)) {
        out.states.add(*state);
        continue;
      }
      source.refuse(fail(Code::bad_value, fmt::format("state: '{}' is not allowed", one),
                         "give prep, scheduled, throttled, depends, que, run, done, relayed, err "
                         "or cancelled; several with commas between"));
    }
    if (name.empty()) {
      source.refuse(fail(Code::bad_value, "state: '' is not allowed", "name one, or leave it out"));
    }
  }
  if (source.text("mark", name, base::kNameBytesMax)) {
    out.mark = core::mark_of(name);
    if (!out.mark) {
      source.refuse(fail(Code::bad_value, fmt::format("mark: '{}' is not allowed", name),
                         "give none, failed, timed_out, lost, killed, held or exhausted"));
    }
  }
  // Empty would widen the filter: a variable that was not set must not mean every message.
  const auto text = [&source](const char* what, std::string& into, std::size_t bytes_max) {
    if (!source.text(what, into, bytes_max) || !into.empty()) return;
    source.refuse(fail(Code::bad_value, fmt::format("{} is empty", what),
                       fmt::format("give a {}, or leave it out", what)));
  };
  text("tag", out.tag, base::kTagBytesMax);
  text("key", out.key, base::kClientKeyBytesMax);
  text("text", out.text, base::kTextBytesMax);
  text("fingerprint", out.fingerprint, base::kTextBytesMax);
  if (!out.fingerprint.empty()) {
    if (out.states.empty()) out.states.add(core::State::err);
    if (out.states != core::StateSet{core::State::err}) {
      source.refuse(fail(Code::bad_value, "fingerprint: only messages in err have one",
                         "leave the state out"));
    }
  }
  source.instant("after", out.after);
  source.instant("before", out.before);
}

}  // namespace

void read_filter(Query& query, core::Filter& out) { read(query, out); }

base::Result<core::Filter> filter_from_json(const boost::json::object& object) {
  core::Filter out;
  core::Fields fields(object, "the filter");
  read(fields, out);
  RQ_TRY(fields.finish());
  return out;
}

}  // namespace rq::doors::api
