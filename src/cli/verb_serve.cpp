// rq server and rq worker: the two that stay.
#include "cli/verbs.h"
#include "server/daemon.h"
#include "worker/worker.h"

namespace rq::cli {
using base::Result;

Action declare_server(CLI::App& app, Context& context) {
  auto options = std::make_shared<server::ServerOptions>();
  app.add_option("--http", options->http,
                 "HTTP on this loopback address (127.0.0.1:3333); '' for the unix socket only")
      ->type_name("ADDR:PORT");
  app.add_option("--beanstalk", options->beanstalk, "beanstalkd's protocol too; '' for none")
      ->type_name("ADDR:PORT");
  app.add_option("--log-level", options->log_level, "trace, debug, info, warn or error")
      ->type_name("LEVEL");
  app.add_flag_callback(
      "--no-worker", [options] { options->worker = false; }, "Start no worker for this machine");
  app.add_flag("--manual-clock", options->manual_clock,
               "For tests: time moves only when it is told to");
  return [&context, options]() -> Result<int> {
    options->dir = context.directory();
    return server::run_server(*options);
  };
}

Action declare_worker(CLI::App& app, Context& context) {
  auto options = std::make_shared<worker::WorkerOptions>();
  app.add_option("--name", options->name,
                 "Its name; one of a name at a server (local, or with --server http://… the name "
                 "of the host)")
      ->type_name("NAME");
  app.add_option("--base-url", options->base_url, "RQ_HOST of the scripts")->type_name("URL");
  app.add_flag("--kept", options->kept, "Given by the server that keeps it")->group("");
  app.add_option("--goes-on", options->goes_on, "Given by the program that it takes over from")
      ->group("");
  app.add_option("--env", options->env, "RQ_ENV of the scripts (production)")->type_name("TEXT");
  return [&context, options]() -> Result<int> {
    options->dir = context.directory();
    options->server = context.server;
    return worker::run_worker(*options);
  };
}

}  // namespace rq::cli
