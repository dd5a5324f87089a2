// rq: one program. What it is to be (server, worker, client) is its first word.
#include "base/bus_error.h"
#include "cli/cli.h"

int main(int argc, char** argv) {
  rq::base::name_file_of_bus_error("rq");
  return rq::cli::run(argc, argv);
}
