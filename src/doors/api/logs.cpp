// The log of a message: whole, its tail, a range; and followed live.
#include <fmt/format.h>

#include "base/limits.h"
#include "doors/api/http_door.h"
#include "doors/api/json_out.h"
#include "doors/api/log_file.h"
#include "doors/api/rooms.h"
#include "doors/api/stream.h"
#include "doors/api/target.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Result;
constexpr std::string_view kText = "text/plain; charset=utf-8";

struct LogPart {
  std::string text;
  std::string fields;  // header lines of the reply
  int status = 200;
  std::optional<base::Error> error;  // with `status`
};

Result<LogPart> read_range(const LogFile& file, std::string_view wanted) {
  LogPart part;
  const auto range = parse_range(wanted, file.size());
  if (!range) {
    part.status = 416;
    part.fields = fmt::format("Content-Range: bytes */{}\r\n", file.size());
    part.error = fail(
        Code::bad_value,
        fmt::format("range '{}' does not fit a log of {} bytes", wanted.substr(0, 64), file.size()),
        "give bytes=FIRST-LAST, bytes=FIRST- or bytes=-COUNT");
    return part;
  }
  const std::int64_t bytes =
      std::min(range->last - range->first + 1, static_cast<std::int64_t>(base::kLogRangeBytesMax));
  RQ_TRY_ASSIGN(text, file.read(range->first, bytes));
  part.status = 206;
  part.fields =
      fmt::format("Accept-Ranges: bytes\r\nContent-Range: bytes {}-{}/{}\r\n", range->first,
                  range->first + static_cast<std::int64_t>(text.size()) - 1, file.size());
  part.text = std::move(text);
  return part;
}

Result<LogPart> read_part(const LogFile& file, std::string_view range,
                          std::optional<std::int64_t> tail) {
  if (!range.empty()) return read_range(file, range);
  LogPart part;
  part.fields = "Accept-Ranges: bytes\r\n";
  std::int64_t from = 0;
  if (tail) {
    RQ_TRY_ASSIGN(offset, file.tail_offset(*tail));
    from = offset;
  } else if (file.size() > static_cast<std::int64_t>(base::kLogRangeBytesMax)) {
    return fail(Code::too_large, fmt::format("the log has {} bytes", file.size()),
                fmt::format("ask for ?tail=LINES, or for ranges of up to {} bytes with a Range "
                            "header",
                            base::kLogRangeBytesMax));
  }
  RQ_TRY_ASSIGN(text, file.read(from, static_cast<std::int64_t>(base::kLogRangeBytesMax)));
  part.text = std::move(text);
  return part;
}

// --- Followed ---

constexpr std::size_t kBacklogBytes = 4 * base::kLogChunkBytes;  // then the file waits

struct Followed {
  core::MessageRow row;
  std::int64_t offset = 0;  // where to begin; of the first look only
};

class LogStream final : public Stream, public pipeline::EventListener, public LogListener {
 public:
  LogStream(HttpDoor& to, const ExchangeId& who, Target target)
      : Stream(to, who), target_(std::move(target)) {
    door().events().add(*this);
  }
  ~LogStream() override {
    door().log_watch().forget(*this);
    door().events().remove(*this);
  }
  LogStream(const LogStream&) = delete;
  LogStream& operator=(const LogStream&) = delete;

  void begin(Exchange& x, std::int64_t from, std::optional<std::int64_t> tail) {
    offset_ = from;
    look(x, tail);
  }

  void on_notices(const std::vector<core::Notice>& notices) override {
    for (const core::Notice& notice : notices) {
      if (seq_ == 0 || notice.seq != seq_) continue;
      door().with(id(), [this](Exchange& x) { look(x, std::nullopt); });
      return;
    }
  }

  void on_file_changed() override {
    arm();
    pump();
  }

  void on_drained() override { pump(); }

 private:
  // Looks the message up; what is found comes to found().
  void look(Exchange& x, std::optional<std::int64_t> tail) {
    if (looking_) {
      look_again_ = true;
      return;
    }
    looking_ = true;
    x.look_up(
        [target = target_, tail,
         dir = door().settings().dir](core::Reader& reader) -> Result<Followed> {
          RQ_TRY_ASSIGN(row, find_message(reader, target));
          Followed followed{.row = std::move(row), .offset = 0};
          if (tail) {
            const LogFile file(dir, followed.row.message.detail_or_default().folder);
            RQ_TRY_ASSIGN(offset, file.tail_offset(*tail));
            followed.offset = offset;
          }
          return followed;
        },
        [](Exchange& later, Result<Followed> followed) {
          static_cast<LogStream&>(*later.extra()).found(later, std::move(followed));
        });
  }

  void found(Exchange& x, Result<Followed>&& followed) {
    looking_ = false;
    if (!followed) {
      if (seq_ == 0) return x.refuse(followed.error());  // the stream has not begun
      last_ = true;                                      // deleted meanwhile
      return pump();
    }
    const core::Message& message = followed->row.message;
    if (seq_ == 0) {
      seq_ = message.seq;
      offset_ = std::max(offset_, followed->offset);
      x.start_stream();
    }
    folder_ = message.detail_or_default().folder;
    begin_event(news_, "message");
    append_message(news_, message, followed->row.queue, Nulls::left_out);
    news_ += "\n\n";
    last_ = last_ || is_finished(message.state);
    arm();
    if (std::exchange(look_again_, false) && !last_) look(x, std::nullopt);
    pump();
  }

  void arm() {
    if (folder_.empty() || last_) return;
    const auto& dir = door().settings().dir;
    door().log_watch().watch(*this, log_path(dir, folder_), dir);
  }

  // Sends what the log has more, then what is new about the message. `this` may be gone after it.
  void pump() {
    if (seq_ == 0) return;
    std::size_t backlog = 0;
    door().with(id(), [&backlog](Exchange& x) { backlog = x.backlog(); });
    const LogFile file(door().settings().dir, folder_);
    if (file.size() < offset_) offset_ = 0;  // it was begun anew
    std::string out;
    while (offset_ < file.size()) {
      if (backlog + out.size() >= kBacklogBytes) {
        // More when this is sent.
        if (!out.empty()) write(out);
        return;
      }
      auto text = file.read(offset_, static_cast<std::int64_t>(base::kLogChunkBytes));
      if (!text || text->empty()) break;
      const bool at_end = offset_ + static_cast<std::int64_t>(text->size()) >= file.size();
      if (!(at_end && last_)) text->resize(text->size() - unfinished_utf8(*text));
      if (text->empty()) break;
      append_log(out, *text);
    }
    out += std::exchange(news_, {});
    if (last_) out += "event: end\ndata: {}\n\n";
    if (!out.empty()) write(out);
    if (last_) end();
  }

  void append_log(std::string& out, std::string_view text) {
    begin_event(out, "log");
    JsonObject object(out);
    object.number("offset", offset_);
    object.text("text", text);
    object.close();
    out += "\n\n";
    offset_ += static_cast<std::int64_t>(text.size());
  }

  const Target target_;
  core::Seq seq_ = 0;  // 0: not found yet, the stream has not begun
  std::string folder_;
  std::int64_t offset_ = 0;
  std::string news_;  // events about the message, sent after the log so far
  bool looking_ = false;
  bool look_again_ = false;
  bool last_ = false;  // nothing more will come: end when all is sent
};

bool read_tail(Query& query, std::optional<std::int64_t>& tail) {
  std::int64_t lines = 0;
  if (!query.integer("tail", lines, 0, static_cast<std::int64_t>(base::kLogTailLinesMax))) {
    return false;
  }
  tail = lines;
  return true;
}

}  // namespace

void show_log(Exchange& x, const Request& request) {
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  std::optional<std::int64_t> tail;
  if (read_tail(*query, tail) && !request.head.range.empty()) {
    query->refuse(fail(Code::bad_value, "there is both tail and a Range", "give one of them"));
  }
  if (auto good = query->finish(); !good) return x.refuse(good.error());
  auto target = parse_target(request.parameters[0]);
  if (!target) return x.refuse(target.error());
  x.look_up(
      [target = *target, tail, range = request.head.range,
       dir = x.door().settings().dir](core::Reader& reader) -> Result<LogPart> {
        RQ_TRY_ASSIGN(row, find_message(reader, target));
        const LogFile file(dir, row.message.detail_or_default().folder);
        return read_part(file, range, tail);
      },
      [](Exchange& later, Result<LogPart> part) {
        if (!part) return later.refuse(part.error());
        if (part->error) {
          return later.reply(part->status, "application/json", error_json(*part->error),
                             part->fields);
        }
        later.reply(part->status, kText, part->text, part->fields);
      });
}

void stream_log(Exchange& x, const Request& request) {
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  std::optional<std::int64_t> tail;
  std::int64_t from = 0;
  const bool has_from = query->integer("from", from, 0, INT64_MAX);
  if (read_tail(*query, tail) && has_from) {
    query->refuse(fail(Code::bad_value, "there is both tail and from", "give one of them"));
  }
  if (auto good = query->finish(); !good) return x.refuse(good.error());
  auto target = parse_target(request.parameters[0]);
  if (!target) return x.refuse(target.error());
  if (request.head.head_only) return x.reply(200, "text/event-stream", "");
  if (!Stream::room_for_one(x)) return;
  auto stream = std::make_unique<LogStream>(x.door(), x.id(), *std::move(target));
  LogStream& begun = *stream;
  x.keep(std::move(stream));
  begun.begin(x, from, tail);
}

}  // namespace rq::doors::api
