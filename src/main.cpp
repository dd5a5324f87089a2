// rq: one program. What it is to be (server, worker, client) is its first word.
#include "cli/cli.h"

int main(int argc, char** argv) { return rq::cli::run(argc, argv); }
