#pragma once
// Rows that are not as rq wrote them. What cannot be read any more goes, all rows of the message
// together, from its tables into table `corrupt`, with why and with its values, and everything else
// goes on.
// Thread: engine. All in the transaction of the batch.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/health.h"
#include "store/sqlite/db.h"
#include "store/sqlite/records.h"

namespace rq::store::sqlite {

// Noted of a store that is too large to be rebuilt at once; it goes with the rebuild.
inline constexpr std::string_view kAwaitsRebuild = "the next start of the server rebuilds it";

class Damage {
 public:
  // The statements are rarely wanted, and prepared when they are.
  void open(Db& db) { db_ = &db; }

  // Where the narrow tables have the message: the rows that its own row leads to, and `row`, if it
  // is there. Never searches a table: a row that stands elsewhere is found by the check, which
  // names it.
  [[nodiscard]] base::Result<std::vector<Filed>> places_of(const core::Suspect& suspect);
  // The state of the message while it was in that place, as its counters tell it.
  [[nodiscard]] base::Result<State> state_in(const Filed& place, Seq seq);
  // Copies what the tables say of the message into `corrupt`: so many rows.
  [[nodiscard]] base::Result<std::int64_t> keep(Seq seq, const std::vector<Filed>& places,
                                                std::string_view why, core::Instant now);
  // A row of `corrupt` that is about no message.
  [[nodiscard]] base::Result<void> note(std::string_view what, std::string_view why,
                                        core::Instant now);
  // False: there is such a row.
  [[nodiscard]] base::Result<bool> note_once(std::string_view what, std::string_view why,
                                             core::Instant now);
  [[nodiscard]] base::Result<void> forget_note(std::string_view what, std::string_view why);
  // Deletes what the tables say of the message, but for its attempts.
  [[nodiscard]] base::Result<void> wipe(Seq seq, const std::vector<Filed>& places);
  // Rows in `corrupt`.
  [[nodiscard]] base::Result<std::int64_t> count();

 private:
  [[nodiscard]] base::Result<void> find(const std::string& sql, Place place, Seq seq,
                                        std::vector<Filed>& out);
  [[nodiscard]] base::Result<void> run(std::string_view sql, Seq seq);
  [[nodiscard]] base::Result<void> take_from_line(const Filed& place, Seq seq);

  Db* db_ = nullptr;
};

// All values of a row of the table, as SQL writes them: an expression for a SELECT.
[[nodiscard]] base::Result<std::string> quoted_row(Db& db, std::string_view table);

}  // namespace rq::store::sqlite
