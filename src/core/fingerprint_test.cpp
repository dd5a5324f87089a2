#include "core/fingerprint.h"

#include <gtest/gtest.h>

#include <string>

namespace rq::core {
namespace {

// faults.md B15
TEST(Fingerprint, IsTheSameForFailuresOfOneKind) {
  struct Row {
    const char *one, *other, *both;
  };
  for (const Row& row : {
           Row{"exit 1: gzip: f17.gz: not in gzip format",
               "exit 1: gzip: f4.gz: not in gzip format",
               "exit 1: gzip: f#.gz: not in gzip format"},
           Row{"exit 2: cannot open '/data/a.txt'", "exit 2: cannot open 'b b'",
               "exit 2: cannot open '#'"},
           Row{"exit 2: ls: /data/a: No such file", "exit 2: ls: /b/c/d: No such file",
               "exit 2: ls: /#: No such file"},
           Row{"order 3f2504e0 is 10.5 late", "order 99aaffb1 is 7.25 late", "order # is #.# late"},
           Row{"pid 4711 at 0x7ffe12", "pid 1 at 0xab", "pid # at #"},
       }) {
    EXPECT_EQ(fingerprint(row.one), row.both);
    EXPECT_EQ(fingerprint(row.other), row.both);
  }
}

TEST(Fingerprint, IsAnotherForFailuresOfAnotherKind) {
  EXPECT_NE(fingerprint("exit 1: x"), fingerprint("exit 2: x"));
  EXPECT_NE(fingerprint("disk full"), fingerprint("no such file"));
  EXPECT_EQ(fingerprint("can't and won't"), "can't and won't");
  EXPECT_EQ(fingerprint("Input/output error"), "Input/output error");
  EXPECT_EQ(fingerprint(""), "");
  EXPECT_LE(fingerprint(std::string(10'000, ' ')).size(), 200U);
}

}  // namespace
}  // namespace rq::core
