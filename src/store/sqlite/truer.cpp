#include "store/sqlite/truer.h"

namespace rq::store::sqlite {

using base::Result;
using core::Seq;

Result<void> Truer::prepare(Db& db) {
  RQ_TRY(message_.prepare(db.handle(), "SELECT * FROM message WHERE seq = ?1"));
  RQ_TRY(detail_.prepare(db.handle(), "SELECT * FROM detail WHERE seq = ?1"));
  // Its reason became the text of the message, and only one that has ended has a result.
  return ended_.prepare(db.handle(), R"sql(
SELECT 2 * (a.reason IS NOT NULL AND d.progress IS a.reason)
       + ((m.finished IS NOT NULL) = (d.result IS NOT NULL))
  FROM detail d JOIN message m ON m.seq = d.seq
  LEFT JOIN attempt a ON a.seq = m.seq AND a.number = m.attempts
                     AND m.rest_state IN ('done', 'relayed', 'err')
 WHERE d.seq = ?1)sql");
}

Result<bool> Truer::fits(Statement& row, Seq seq) {
  RQ_TRY_ASSIGN(found, row.bind(1, seq).step());
  const bool fits = found && check_.fit(row_under(row)) != RowFit::no;
  row.reset();
  return fits;
}

Result<int> Truer::rank_message(Seq seq) {
  RQ_TRY_ASSIGN(agrees, placed_.agrees(seq));
  RQ_TRY_ASSIGN(is_whole, fits(message_, seq));
  return (agrees ? 2 : 0) + (is_whole ? 1 : 0);
}

Result<int> Truer::rank_detail(Seq seq) {
  RQ_TRY_ASSIGN(is_whole, fits(detail_, seq));
  RQ_TRY_ASSIGN(found, ended_.bind(1, seq).step());
  const int ended = found ? static_cast<int>(ended_.integer(0)) : 0;
  ended_.reset();
  constexpr int kAboveEnded = 4;
  return (is_whole ? kAboveEnded : 0) + ended;
}

}  // namespace rq::store::sqlite
