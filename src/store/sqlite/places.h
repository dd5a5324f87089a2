#pragma once
// Where a message is filed, as SQL. Whoever compares the narrow tables with the messages, mends
// them, makes them anew or looks for messages through them takes the rule from here.
#include <string>

#include "core/place.h"

namespace rq::store::sqlite {

// A row m of message: the name of its place, as core::place_of() says. NULL for a state that rq
// never writes.
[[nodiscard]] const std::string& place_sql();

// A row t of a narrow table.
struct PlaceSql {
  const char* name;  // of the place: in table finished its kind, elsewhere its table
  const char* table;
  const char* filed;  // Filed::queue, rank, time
  const char* is_of;  // it is about number {0}
  const char* kind;   // it is of this place, and not of another one with the same table
  const char* key;    // its key is what a row m of message says of this place
};
// REQUIRES: not any.
[[nodiscard]] const PlaceSql& sql_of(core::Place place);
// t is the row of this place that m would have there.
[[nodiscard]] std::string fits_sql(core::Place place);
// t is this row, about number {0}.
[[nodiscard]] std::string row_sql(const core::Filed& row, std::string_view seq);

}  // namespace rq::store::sqlite
