// The log of a message: whole, its tail, a range; and followed live.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>

#include "base/limits.h"
#include "base/utf8.h"
#include "doors/api/api_door.h"
#include "doors/api/handlers.h"
#include "doors/api/json_out.h"
#include "doors/api/limits.h"
#include "doors/api/query.h"
#include "doors/api/stream.h"
#include "doors/api/target.h"
#include "files/log_file.h"
#include "http/range.h"

namespace rq::doors::api {
namespace {

using base::Code;
using base::fail;
using base::Result;
constexpr std::string_view kText = "text/plain; charset=utf-8";

// One reply holds this much at most.
constexpr std::uint64_t kReplyBytesMax = files::kTailBytesMax;

struct LogPart {
  http::FileRange range;
  std::string fields;  // header lines of the reply
  int status = 200;
  std::optional<base::Error> error;  // with `status`
};

LogPart read_range(files::LogFile& file, std::string_view wanted) {
  LogPart part;
  const auto size = static_cast<std::uint64_t>(file.size());
  const http::RangeAsked asked = http::parse_range(wanted, size);
  if (asked.kind != http::RangeAsked::Kind::part) {
    part.status = 416;
    part.fields = http::content_range_of_none(size);
    part.error =
        fail(Code::bad_value,
             fmt::format("range '{}' does not fit a log of {} bytes", base::shown(wanted), size),
             "give bytes=FIRST-LAST, bytes=FIRST- or bytes=-COUNT");
    return part;
  }
  part.status = 206;
  part.range.offset = asked.range.first;
  part.range.bytes = std::min(asked.range.bytes(), kReplyBytesMax);
  part.range.file = file.take();
  const std::uint64_t last = part.range.offset + part.range.bytes - 1;
  part.fields = "Accept-Ranges: bytes\r\n" +
                http::content_range({.first = part.range.offset, .last = last}, size);
  return part;
}

// What of a log is asked for; at most one of them.
struct LogAsked {
  std::string range;
  std::optional<std::int64_t> tail;  // lines
  std::optional<std::int64_t> from;  // byte
};

Result<LogPart> read_part(files::LogFile& file, const LogAsked& asked) {
  if (!asked.range.empty()) return read_range(file, asked.range);
  LogPart part;
  part.fields = "Accept-Ranges: bytes\r\n";
  const auto size = static_cast<std::uint64_t>(file.size());
  if (asked.tail) {
    RQ_TRY_ASSIGN(offset, file.tail_offset(*asked.tail));
    part.range.offset = static_cast<std::uint64_t>(offset);
  } else if (asked.from) {
    part.range.offset = std::min(static_cast<std::uint64_t>(*asked.from), size);
  } else if (size > kReplyBytesMax) {
    return fail(
        Code::too_large, fmt::format("the log has {} bytes", size),
        fmt::format("ask for ?tail=LINES, or for pieces of up to {} bytes: ?from=BYTE, or a "
                    "Range header",
                    kReplyBytesMax));
  }
  part.range.bytes = std::min(size - part.range.offset, kReplyBytesMax);
  part.range.file = file.take();
  return part;
}

// --- Followed ---

constexpr std::size_t kBacklogBytes = 4 * files::kChunkBytes;  // then the file waits

struct Followed {
  core::MessageRow row;
  std::int64_t offset = 0;  // where to begin; of the first look only
};

class LogStream final : public Stream, public pipeline::EventListener, public files::LogListener {
 public:
  LogStream(ApiDoor& to, const ExchangeId& who, Target target)
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

  void on_notices(pipeline::Happened& happened) override {
    if (seq_ == 0) return;
    bool any = false;
    for (const core::Notice& notice : happened.notices) {
      if (notice.seq != seq_) continue;
      any = true;
      // The message may be gone before anybody looks.
      if (notice.what == core::Notice::What::message && is_finished(notice.to)) {
        end_.clear();
        append_notice(end_, notice);
      }
    }
    if (any) look_again();  // `this` may be gone
  }

  void on_file_changed() override {
    arm();
    pump();
  }

  void on_drained() override { pump(); }

 private:
  // `this` may be gone after it.
  void look_again() {
    door().with(id(), [this](Exchange& x) { look(x, std::nullopt); });
  }
  // Looks the message up; what is found comes to found(). `this` is gone after it when no reader
  // has time.
  void look(Exchange& x, std::optional<std::int64_t> tail) {
    if (looking_) {
      look_again_ = true;
      return;
    }
    looking_ = true;
    static_cast<void>(x.look_up(
        [target = target_, tail,
         dir = door().settings().dir](core::Reader& reader) -> Result<Followed> {
          RQ_TRY_ASSIGN(row, find_message(reader, target));
          Followed followed{.row = std::move(row), .offset = 0};
          if (tail) {
            const files::LogFile file(dir, followed.row.message.detail_or_default().folder);
            RQ_TRY_ASSIGN(offset, file.tail_offset(*tail));
            followed.offset = offset;
          }
          return followed;
        },
        [](Exchange& later, Result<Followed> followed) {
          static_cast<LogStream&>(*later.extra()).found(later, std::move(followed));
        }));
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
      x.begin_events();
    }
    folder_ = message.detail_or_default().folder;
    if (news_.size() > kLogNewsBytesMax) news_.clear();
    begin_event(news_, "message");
    append_message(news_, message, followed->row.queue, Nulls::left_out);
    news_ += "\n\n";
    last_ = last_ || is_finished(message.state);
    arm();
    if (std::exchange(look_again_, false) && !last_) {
      boost::asio::post(door().desk().loop().io(), [to = &door(), who = id()] {
        to->with(who, [](Exchange& later) {
          static_cast<LogStream&>(*later.extra()).look(later, std::nullopt);
        });
      });
    }
    pump();
  }

  void arm() {
    if (folder_.empty() || last_) return;
    const auto& dir = door().settings().dir;
    door().log_watch().watch(*this, files::log_path(dir, folder_), dir);
  }

  // Sends what the log has more, then what is new about the message. `this` may be gone after it.
  void pump() {
    if (seq_ == 0) return;
    std::size_t backlog = 0;
    door().with(id(), [&backlog](Exchange& x) { backlog = x.backlog(); });
    const files::LogFile file(door().settings().dir, folder_);
    if (file.size() < offset_) offset_ = 0;  // it was begun anew
    std::string out;
    while (offset_ < file.size()) {
      if (backlog + out.size() >= kBacklogBytes) {
        // More when this is sent.
        if (!out.empty()) write(out);
        return;
      }
      auto text = file.read(offset_, files::kChunkBytes);
      if (!text || text->empty()) break;
      const bool at_end = offset_ + static_cast<std::int64_t>(text->size()) >= file.size();
      if (!(at_end && last_)) text->resize(text->size() - base::unfinished_utf8(*text));
      if (text->empty()) break;
      append_log(out, *text);
    }
    // A large message is written when the one before has been read.
    if (backlog > http::kEventBacklogBytesMax) return;
    out += std::exchange(news_, {});
    if (last_) out += "event: end\ndata: " + end_ + "\n\n";
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
  std::string news_;        // events about the message, sent after the log so far
  std::string end_ = "{}";  // the event that told its end
  bool looking_ = false;
  bool look_again_ = false;
  bool last_ = false;  // nothing more will come: end when all is sent
};

bool read_tail(Query& query, std::optional<std::int64_t>& tail) {
  std::int64_t lines = 0;
  if (!query.integer("tail", lines, 0, static_cast<std::int64_t>(kLogTailLinesMax))) {
    return false;
  }
  tail = lines;
  return true;
}

}  // namespace

void show_log(Exchange& x, const Request& request) {
  auto query = Query::parse(request.query);
  if (!query) return x.refuse(query.error());
  // A log has no tag, so what If-Range names is another version: all of it is sent.
  const bool of_another = !request.head.fields.find("If-Range").empty();
  LogAsked asked{.range = std::string(of_another ? "" : request.head.fields.find("Range"))};
  std::int64_t from = 0;
  if (query->integer("from", from, 0, INT64_MAX)) asked.from = from;
  read_tail(*query, asked.tail);
  if ((asked.tail ? 1 : 0) + (asked.from ? 1 : 0) + (asked.range.empty() ? 0 : 1) > 1) {
    query->refuse(
        fail(Code::bad_value, "of tail, from and a Range more than one is given", "give one"));
  }
  if (auto good = query->finish(); !good) return x.refuse(good.error());
  auto target = parse_target(request.parameters[0]);
  if (!target) return x.refuse(target.error());
  x.look_up(
      [target = *target, asked = std::move(asked),
       dir = x.door().settings().dir](core::Reader& reader) -> Result<LogPart> {
        RQ_TRY_ASSIGN(row, find_message(reader, target));
        files::LogFile file(dir, row.message.detail_or_default().folder);
        return read_part(file, asked);
      },
      [](Exchange& later, Result<LogPart> part) {
        if (!part) return later.refuse(part.error());
        if (part->error) {
          return later.reply(part->status, "application/json", error_json(*part->error),
                             part->fields);
        }
        later.reply_file(part->status, kText, std::move(part->range), part->fields);
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
