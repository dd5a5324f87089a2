#pragma once
// RQ_CHECK states what only a bug can break. It is always on: it prints and aborts, and a restart
// recovers from the store. Never use it for input, peers, disks: those are values (result.h).
#include <cstdio>
#include <cstdlib>

namespace rq::base {
[[noreturn]] inline void check_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "rq: bug: %s is false at %s:%d\n", what, file, line);
  std::abort();
}
}  // namespace rq::base

#define RQ_CHECK(cond) \
  ((cond) ? static_cast<void>(0) : ::rq::base::check_failed(#cond, __FILE__, __LINE__))
