// GET /v1/events: what happens, as it happens.
#include <fmt/format.h>

#include <bitset>
#include <utility>

#include "base/limits.h"
#include "base/utf8.h"
#include "core/name.h"
#include "doors/api/api_door.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/limits.h"
#include "doors/api/query.h"
#include "doors/api/stream.h"
#include "doors/api/target.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using core::Notice;

struct Wanted {
  std::string queue;
  core::Seq message = 0;
  std::bitset<Notice::kWhatCount> kinds;  // none set: all
};

class EventStream final : public Stream, public pipeline::EventListener {
 public:
  EventStream(ApiDoor& to, const ExchangeId& id, Wanted wanted)
      : Stream(to, id), wanted_(std::move(wanted)) {
    door().events().add(*this);
  }
  ~EventStream() override { door().events().remove(*this); }
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  void on_notices(pipeline::Happened& happened) override {
    std::string& out = door().scratch();
    out.clear();
    for (std::size_t i = 0; i < happened.notices.size(); ++i) {
      const Notice& notice = happened.notices[i];
      if (!wants(notice)) continue;
      out += text_of(notice, happened.texts[i]);
      // A reader that takes nothing is cut off before more is written.
      if (out.size() < kEventsPieceBytes) continue;
      write(out);
      out.clear();
    }
    if (!out.empty()) write(out);
  }

 private:
  // The same for all streams.
  static const std::string& text_of(const Notice& notice, std::string& text) {
    if (!text.empty()) return text;
    begin_event(text, name_of(notice.what));
    append_notice(text, notice);
    text += "\n\n";
    return text;
  }
  [[nodiscard]] bool wants(const Notice& notice) const {
    if (!wanted_.queue.empty() && notice.queue != wanted_.queue) return false;
    if (wanted_.message != 0 && notice.seq != wanted_.message) return false;
    return wanted_.kinds.none() || wanted_.kinds.test(static_cast<std::size_t>(notice.what));
  }

  const Wanted wanted_;
};

void read_kinds(Query& query, Wanted& wanted) {
  const std::string* kinds = query.find("kinds");
  if (kinds == nullptr) return;
  std::string_view rest = *kinds;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    const std::string_view name = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    bool known = false;
    for (std::size_t i = 0; i < wanted.kinds.size(); ++i) {
      const auto what = static_cast<Notice::What>(i);
      if (name.empty() || (name_of(what) != name && change_of(what) != name)) continue;
      wanted.kinds.set(i);
      known = true;
    }
    if (!known) {
      query.refuse(
          fail(Code::bad_value, fmt::format("kinds: '{}' is not allowed", base::shown(name)),
               "give a comma list of message (or of its put, state, move), progress, stop, "
               "removed, queue, queue_removed"));
    }
  }
}

void start(Exchange& x, Wanted&& wanted) {
  if (!Stream::room_for_one(x)) return;
  x.keep(std::make_unique<EventStream>(x.door(), x.id(), std::move(wanted)));
  x.begin_events();
  std::string text;
  begin_event(text, "hello");
  JsonObject object(text);
  object.number("boot", x.door().boot());
  object.text("version", RQ_VERSION);
  object.text("base_url", x.door().base_url());
  object.close();
  text += "\n\n";
  x.write(text);
}

}  // namespace

void stream_events(Exchange& x, const Request& request) {
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  Wanted wanted;
  if (query->text("queue", wanted.queue, base::kTextBytesMax)) {
    if (auto good = core::check_queue_name(wanted.queue); !good) {
      query->refuse(std::move(good).error());
    }
  }
  std::optional<Target> target;
  if (std::string id; query->text("message", id, base::kTextBytesMax)) {
    auto parsed = parse_target(id);
    if (parsed) {
      target = *std::move(parsed);
    } else {
      query->refuse(std::move(parsed).error());
    }
  }
  read_kinds(*query, wanted);
  if (auto good = query->finish(); !good) return x.refuse(good.error());
  if (request.head.head_only) return x.reply(200, "text/event-stream", "");
  if (!target) return start(x, std::move(wanted));
  x.look_up([target = *target](core::Reader& reader) { return find_message(reader, target); },
            [wanted](Exchange& later, base::Result<core::MessageRow> row) mutable {
              if (!row) return later.refuse(row.error());
              wanted.message = row->message.seq;
              start(later, std::move(wanted));
            });
}

}  // namespace rq::doors::api
