#pragma once
// The command line: finds the verb, reads its options, runs it, and turns what comes of it into an
// exit code (the exit_code column of base::code_table()).

namespace rq::cli {

[[nodiscard]] int run(int argc, char** argv);

}  // namespace rq::cli
