#include "base/error.h"

#include <array>

#include "base/check.h"

namespace rq::base {
namespace {
using enum Code;
constexpr Kind kRefusal = Kind::refusal;
constexpr Kind kFault = Kind::fault;

// clang-format off
constexpr std::array<CodeRow, kCodeCount> kTable{{
    {bad_request,        "bad_request",        kRefusal, 400, 2,  "BAD_FORMAT",     "MALFORMED"},
    {bad_value,          "bad_value",          kRefusal, 422, 2,  "BAD_FORMAT",     "MALFORMED"},
    {bad_name,           "bad_name",           kRefusal, 422, 2,  "BAD_FORMAT",     "MALFORMED"},
    {unknown_field,      "unknown_field",      kRefusal, 422, 2,  "BAD_FORMAT",     "MALFORMED"},
    {too_large,          "too_large",          kRefusal, 413, 2,  "JOB_TOO_BIG",    "TOOBIG"},
    {too_many,           "too_many",           kRefusal, 429, 2,  "OUT_OF_MEMORY",  "ERR"},
    {not_found,          "not_found",          kRefusal, 404, 3,  "NOT_FOUND",      "ERR"},
    {method_not_allowed, "method_not_allowed", kRefusal, 405, 2,  "UNKNOWN_COMMAND","ERR"},
    {exists,             "exists",             kRefusal, 409, 4,  "BAD_FORMAT",     "NOTUNIQUE"},
    {wrong_state,        "wrong_state",        kRefusal, 409, 4,  "NOT_FOUND",      "ERR"},
    {lease_lost,         "lease_lost",         kRefusal, 409, 4,  "NOT_FOUND",      "ERR"},
    {queue_down,         "queue_down",         kRefusal, 503, 5,  "DRAINING",       "ERR"},
    {queue_full,         "queue_full",         kRefusal, 429, 5,  "OUT_OF_MEMORY",  "ERR"},
    {forbidden,          "forbidden",          kRefusal, 403, 6,  "INTERNAL_ERROR", "ERR"},
    {unsupported,        "unsupported",        kRefusal, 415, 2,  "BAD_FORMAT",     "ERR"},
    {timed_out,          "timed_out",          kRefusal, 408, 7,  "TIMED_OUT",      "ERR"},
    {draining,           "draining",           kRefusal, 503, 5,  "DRAINING",       "ERR"},
    {busy,               "busy",               kRefusal, 503, 5,  "OUT_OF_MEMORY",  "ERR"},
    {disk_full,          "disk_full",          kFault,   507, 8,  "OUT_OF_MEMORY",  "ERR"},
    {unknown_outcome,    "unknown_outcome",    kFault,   500, 8,  "INTERNAL_ERROR", "ERR"},
    {unreachable,        "unreachable",        kFault,   502, 9,  "INTERNAL_ERROR", "ERR"},
    {internal,           "internal",           kFault,   500, 10, "INTERNAL_ERROR", "ERR"},
}};
// clang-format on
}  // namespace

std::span<const CodeRow> code_table() { return kTable; }

const CodeRow& row_of(Code code) {
  const CodeRow& row = kTable.at(static_cast<std::size_t>(code));
  RQ_CHECK(row.code == code);
  return row;
}

}  // namespace rq::base
