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
    {bad_request,        "bad_request",        kRefusal, 400, 2},
    {bad_value,          "bad_value",          kRefusal, 422, 2},
    {bad_name,           "bad_name",           kRefusal, 422, 2},
    {unknown_field,      "unknown_field",      kRefusal, 422, 2},
    {too_large,          "too_large",          kRefusal, 413, 2},
    {too_many,           "too_many",           kRefusal, 429, 2},
    {not_found,          "not_found",          kRefusal, 404, 3},
    {method_not_allowed, "method_not_allowed", kRefusal, 405, 2},
    {exists,             "exists",             kRefusal, 409, 4},
    {wrong_state,        "wrong_state",        kRefusal, 409, 4},
    {lease_lost,         "lease_lost",         kRefusal, 409, 4},
    {queue_down,         "queue_down",         kRefusal, 503, 5},
    {queue_full,         "queue_full",         kRefusal, 429, 5},
    {forbidden,          "forbidden",          kRefusal, 403, 6},
    {unsupported,        "unsupported",        kRefusal, 415, 2},
    {timed_out,          "timed_out",          kRefusal, 408, 124},
    {draining,           "draining",           kRefusal, 503, 5},
    {busy,               "busy",               kRefusal, 503, 5},
    {disk_full,          "disk_full",          kRefusal, 507, 8},
    {unknown_outcome,    "unknown_outcome",    kFault,   500, 8},
    {unreachable,        "unreachable",        kFault,   502, 9},
    {internal,           "internal",           kFault,   500, 10},
}};
// clang-format on
}  // namespace

std::span<const CodeRow> code_table() { return kTable; }

const CodeRow& row_of(Code code) {
  const CodeRow& row = kTable.at(static_cast<std::size_t>(code));
  RQ_CHECK(row.code == code);
  return row;
}

std::optional<Code> code_of(std::string_view name) {
  for (const CodeRow& row : kTable) {
    if (row.name == name) return row.code;
  }
  return std::nullopt;
}

}  // namespace rq::base
