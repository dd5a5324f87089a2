#include "store/sqlite/line.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/sqlite/rows.h"

namespace rq::store::sqlite {

namespace {

// The line tells where the message stands, which its own row may not do any more.
core::Suspect suspect(core::QueueId queue, const LineKey& here) {
  return {.seq = here.seq,
          .row = core::Filed{.anywhere = true,
                             .place = core::Place::line,
                             .queue = queue,
                             .rank = here.rank,
                             .time = here.order}};
}

}  // namespace

base::Result<void> LineQuery::prepare(Db& db) {
  RQ_TRY_ASSIGN(from, read_crc_from(db));
  crc_from_ = from;
  const std::string rows = fmt::format(
      "SELECT {}, r.rank, r.ord FROM ready r CROSS JOIN message m ON m.seq BETWEEN "
      "max(r.first_seq, iif(r.rank = ?2 AND r.ord = ?3, ?4 + 1, 0)) AND r.last_seq "
      "WHERE r.queue = ?1 AND (r.rank, r.ord, r.last_seq) > (?2, ?3, ?4) "
      "ORDER BY r.rank, r.ord, r.last_seq, m.seq LIMIT ?5",
      kPlainColumns);
  RQ_TRY(rows_.prepare(db.handle(), rows.c_str()));
  const std::string whole =
      fmt::format("SELECT {} FROM message m {} WHERE m.seq = ?1", kMessageColumns, kMessageJoins);
  return whole_.prepare(db.handle(), whole.c_str());
}

base::Result<core::Message> LineQuery::read_whole(core::Seq seq) {
  RQ_TRY_ASSIGN(found, whole_.bind(1, seq).step());
  if (!found) {
    return base::fail(base::Code::internal, "its row stands where its number does not lead");
  }
  auto message = read_message(whole_, crc_from_);
  whole_.reset();
  return message;
}

base::Result<LineRows> LineQuery::read(const LinePart& part) {
  LineRows out;
  out.messages.reserve(part.rows);
  std::size_t bytes = 0;
  // Not where it fails: a reset would hide from the connection that the file is damaged.
  rows_.reset();
  rows_.bind(1, part.queue).bind(2, part.after.rank).bind(3, part.after.order);
  rows_.bind(4, part.after.seq).bind(5, static_cast<std::int64_t>(part.rows));
  // The rows count, and where they stand in the line, whether they can be read or not.
  out.bound = part.after;
  for (std::size_t rows = 0;;) {
    RQ_TRY_ASSIGN(found, rows_.step());
    if (!found) {
      out.complete = true;
      return out;
    }
    ++rows;
    const LineKey here{.rank = rows_.integer(kPlainColumnCount),
                       .order = rows_.integer(kPlainColumnCount + 1),
                       .seq = seq_of(rows_)};
    out.bound = std::max(out.bound, here);
    auto message = is_detailed(rows_) ? read_whole(here.seq) : read_plain_message(rows_, crc_from_);
    if (message) {
      bytes += message->payload.size();
      out.messages.push_back(std::move(*message));
    } else if (message.error().code == base::Code::internal) {
      out.damaged.push_back(suspect(part.queue, here));
    } else {
      return std::move(message).error();
    }
    if (rows == part.rows || bytes > kLineReadBytesMax) {
      rows_.reset();
      return out;
    }
  }
}

base::Result<std::unique_ptr<LineAhead>> open_line_ahead(const std::filesystem::path& file) {
  struct Connection {
    Db db;
    LineQuery query;
  };
  auto own = std::make_shared<Connection>();
  RQ_TRY(own->db.open(file, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX));
  RQ_TRY(own->db.exec(kWaitForOthers));
  RQ_TRY(own->query.prepare(own->db));
  return std::make_unique<LineAhead>([own](LinePart part) { return own->query.read(part); });
}

}  // namespace rq::store::sqlite
