// rq run: queues a command line. The queue's script is inside of rq: `rq exec-payload` takes the
// command from the payload (program and arguments, folder, environment) and runs it.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "base/base64.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "cli/input.h"
#include "cli/nearest.h"
#include "cli/outputs.h"
#include "cli/put_options.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "worker/script.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): not in every <unistd.h>

namespace rq::cli {
using base::Code;
using base::fail;
using base::Result;

namespace {

constexpr std::string_view kQueue = "run";
constexpr std::string_view kScript = "@exec-payload";
constexpr int kPipe = 3;                // to the worker: run, err
constexpr std::size_t kShownMax = 300;  // of a command line, in texts

// Of the caller's environment, what most programs need to be found and to speak right.
constexpr std::array<std::string_view, 12> kEnvironment{
    "PATH", "HOME", "USER",   "LOGNAME",     "SHELL",    "LANG",
    "TZ",   "TERM", "TMPDIR", "VIRTUAL_ENV", "LANGUAGE", "EDITOR"};

struct Options {
  std::string queue = std::string(kQueue);
  std::optional<std::int64_t> workers;
  std::vector<std::string> env;
  PutOptions shared;
  bool input = false;  // carry standard input
  bool wait = false;
  std::optional<base::Millis> longest;  // of the wait
};

// Bytes that a word, a folder or a variable may have: JSON carries what is not UTF-8 as base64.
json::value bytes_to_json(const std::string& bytes) {
  if (base::is_utf8(bytes)) return json::value(bytes);
  return json::object{{"base64", base::to_base64(bytes)}};
}

// Nothing: it is neither.
std::optional<std::string> bytes_from_json(const json::value& value) {
  if (value.is_string()) return std::string(value.get_string());
  if (!at(value, "base64").is_string()) return std::nullopt;
  auto bytes = base::from_base64(text_at(value, "base64"));
  return bytes ? std::optional(*std::move(bytes)) : std::nullopt;
}

Result<json::object> environment_of(const std::vector<std::string>& more) {
  json::object out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    const bool wanted =
        name.starts_with("LC_") ||
        std::find(kEnvironment.begin(), kEnvironment.end(), name) != kEnvironment.end();
    if (wanted && base::is_utf8(name) && name.size() < text.size()) {
      out[name] = bytes_to_json(std::string(text.substr(name.size() + 1)));
    }
  }
  for (const std::string& text : more) {
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos && equals > 0) {
      out[text.substr(0, equals)] = bytes_to_json(text.substr(equals + 1));
      continue;
    }
    const char* value = std::getenv(text.c_str());
    if (equals == 0 || text.empty()) {
      return fail(Code::bad_value, fmt::format("--env {}: it has no name", text),
                  "write --env NAME=VALUE, or name a variable that is set");
    }
    if (value == nullptr) {
      return fail(Code::bad_value, fmt::format("--env {}: it is not set here", text),
                  "write --env NAME=VALUE, or name a variable that is set");
    }
    out[text] = bytes_to_json(value);
  }
  return out;
}

// Makes the queue on first use; later, --num-workers changes it.
Result<void> see_to_queue(client::Client& client, const Options& options) {
  auto there = client.get(queue_path(options.queue), {"settings"});
  if (there) {
    // Queues of older versions name the path of an rq.
    const bool old = text_at(at(*there, "settings"), "exec_prefix").ends_with(" exec-payload");
    if (!old && text_at(at(*there, "settings"), "script") != kScript) {
      return fail(Code::wrong_state,
                  fmt::format("queue '{}' does not run command lines", options.queue),
                  "name another with --queue; it is made on first use");
    }
    if (old) {
      // Where that is not allowed, the path still does, as long as there is an rq.
      static_cast<void>(client.send("PATCH", queue_path(options.queue), {"settings"},
                                    json::object{{"script", kScript}, {"exec_prefix", ""}}));
    }
    if (options.workers && count_at(at(*there, "settings"), "num_workers") != *options.workers) {
      RQ_TRY(client.send("PATCH", queue_path(options.queue), {"settings"},
                         json::object{{"num_workers", *options.workers}}));
    }
    return {};
  }
  if (there.error().code != Code::not_found) return std::move(there).error();
  RQ_TRY(client.send("PUT", queue_path(options.queue, "?create=1"), {"settings"},
                     json::object{{"script", kScript},
                                  {"put_over_tcp", false},
                                  {"num_workers", options.workers.value_or(1)}}));
  return {};
}

// The user that owns its socket; over TCP nobody can tell, and it is taken to be this one.
Result<uid_t> user_of_server(const Context& context) {
  RQ_TRY_ASSIGN(where, context.address());
  struct stat info {};
  const std::string& socket = where.address.socket_path;
  return !socket.empty() && ::stat(socket.c_str(), &info) == 0 ? info.st_uid : ::geteuid();
}

std::string line_of(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + shell_quote(word);
  return out;
}

std::string shown(const std::vector<std::string>& words) {
  return one_line(line_of(words), kShownMax);
}

// Its output, and its exit code. Null: no output of its own comes.
Result<int> wait_for(Context& context, const Options& options,
                     const std::function<Result<std::string>()>& place, OutputsReader* outputs) {
  const FollowOptions follow{.log = !context.json,
                             .bare = true,
                             .apart = outputs,
                             .why = "run",
                             .longest = options.longest};
  RQ_TRY_ASSIGN(end, put_and_follow(context, options.queue, follow, place));
  if (outputs != nullptr && !outputs->finish()) {
    std::fprintf(stderr, "rq run: some of the output is missing here; all of it: rq tail %s\n",
                 text_at(end, "id").c_str());
  }
  if (context.json) Context::print_json(end);
  return exit_code_of(context, end, true);
}

// The payload: the command, and where and with what it is to run.
Result<json::object> command_from_here(const Options& options,
                                       const std::vector<std::string>& words) {
  RQ_TRY_ASSIGN(environment, environment_of(options.env));
  std::error_code error;
  const std::string cwd = std::filesystem::current_path(error).string();
  if (error) return fail(Code::not_found, "this folder is gone: " + error.message(), "cd first");
  json::array argv;
  for (const std::string& word : words) argv.push_back(bytes_to_json(word));
  json::object command{
      {"argv", std::move(argv)}, {"cwd", bytes_to_json(cwd)}, {"env", std::move(environment)}};
  if (options.input) {
    RQ_TRY_ASSIGN(input, read_all(std::cin, "standard input"));
    if (base::is_utf8(input)) {
      command["stdin"] = input;
    } else {
      command["stdin_base64"] = base::to_base64(input);
    }
  } else if (input_is_given()) {
    std::fputs("rq run: the command will read an empty standard input: --stdin carries this one\n",
               stderr);
  }
  return command;
}

Result<int> queue_command(Context& context, const Options& options,
                          const std::vector<std::string>& words) {
  if (words.empty()) {
    return fail(Code::bad_value, "no command is given", "for example: rq run -- make -C project");
  }
  RQ_TRY_ASSIGN(command, command_from_here(options, words));
  std::unique_ptr<OutputsReader> outputs;
  if (options.wait && !context.json) {
    RQ_TRY_ASSIGN(sender, user_of_server(context));
    outputs = OutputsReader::listen(sender);
  }
  if (outputs != nullptr) {
    const OutputsAddress& to = outputs->address();
    command["outputs"] = json::object{{"name", to.name}, {"uid", to.uid}, {"as_one", to.as_one}};
  }
  RQ_TRY_ASSIGN(put, options.shared.fields());
  put["payload_json"] = std::move(command);
  put["param1"] = shown(words);
  RQ_TRY_ASSIGN(client, context.client());
  RQ_TRY(see_to_queue(*client, options));
  const auto send = [&] {
    return client->send("POST", queue_path(options.queue, "/messages"), {"id"}, put);
  };
  if (!options.wait) {
    RQ_TRY_ASSIGN(answer, send());
    if (context.json) {
      Context::print_json(answer);
    } else {
      Context::print(text_at(answer, "id") + "\n");
    }
    return 0;
  }
  const auto place = [&send]() -> Result<std::string> {
    RQ_TRY_ASSIGN(answer, send());
    return text_at(answer, "id");
  };
  return wait_for(context, options, place, outputs.get());
}

// --- The other side: in the worker's hands
// ---------------------------------------------------------

void tell(std::string_view line) {
  std::string text = one_line(line, base::kTextBytesMax / 4) + "\n";
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t n = ::write(kPipe, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // run by hand, with no worker at the other end
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
}

struct Command {
  std::vector<std::string> argv;
  std::string cwd;
  std::vector<std::pair<std::string, std::string>> env;
  std::string input;
  OutputsAddress outputs;  // of whoever waits
};

Result<Command> read_command(const std::string& payload) {
  boost::system::error_code error;
  const json::value value = json::parse(payload, error);
  Command command;
  if (!error) {
    for (const json::value& word : items_at(value, "argv")) {
      if (auto bytes = bytes_from_json(word)) command.argv.push_back(*std::move(bytes));
    }
    command.cwd = bytes_from_json(at(value, "cwd")).value_or("");
    command.input = text_at(value, "stdin");
    const json::value& to = at(value, "outputs");
    command.outputs = {.name = text_at(to, "name"),
                       .uid = static_cast<uid_t>(count_at(to, "uid")),
                       .as_one = at(to, "as_one") == json::value(true)};
    if (const std::string coded = text_at(value, "stdin_base64"); !coded.empty()) {
      auto bytes = base::from_base64(coded);
      if (!bytes) return fail(Code::bad_value, "stdin_base64 is no base64", "rq run makes it");
      command.input = *std::move(bytes);
    }
    if (at(value, "env").is_object()) {
      for (const auto& [name, text] : at(value, "env").get_object()) {
        if (auto bytes = bytes_from_json(text)) command.env.emplace_back(name, *std::move(bytes));
      }
    }
  }
  if (command.argv.empty()) {
    return fail(Code::bad_value, R"(the payload is no command line: it has no "argv")",
                "rq run -- program argument makes one (in place of rq put)");
  }
  return command;
}

// Words that are none of a program, but of a shell.
constexpr std::array<std::string_view, 8> kShellWords{"alias", "bg",     "cd",    "source",
                                                      "type",  "ulimit", "umask", "wait"};

// "; …": what helps when a command cannot be started; empty: nothing is known.
std::string remedy_for(const std::vector<std::string>& argv, int error) {
  const std::string& program = argv[0];
  struct stat info {};
  if (error == EACCES && ::stat(program.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return "; it is a folder";
    if ((info.st_mode & 0111) == 0) return "; make it executable: chmod +x " + shell_quote(program);
  }
  if (error != ENOENT || program.find('/') != std::string::npos) return {};
  const bool for_shell = program.find_first_of(" \t") != std::string::npos ||
                         worker::needs_shell(program) ||
                         std::ranges::find(kShellWords, program) != kShellWords.end();
  if (for_shell) {
    const std::string line = argv.size() == 1 ? program : line_of(argv);
    return fmt::format("; that is for a shell: rq run -- sh -c {}",
                       one_line(shell_quote(line), kShownMax));
  }
  return "; no program of this name is in the folders of PATH; an alias or a function of a shell "
         "is "
         "none";
}

// Does not return. A command that cannot be started fails as one does that exits badly: with the
// exit code of a shell, and the reason as the last line of its output.
[[noreturn]] void become(const Command& command) {
  for (const auto& [name, text] : command.env) {
    if (!name.starts_with("RQ_")) ::setenv(name.c_str(), text.c_str(), 1);
  }
  const auto give_up = [](const std::string& what, int code) {
    std::fprintf(stderr, "rq run: %s\n", what.c_str());
    ::_exit(code);
  };
  if (!command.cwd.empty() && ::chdir(command.cwd.c_str()) != 0) {
    give_up(
        fmt::format("cannot go to the folder '{}': {}", command.cwd, base::text_of_errno(errno)),
        126);
  }
  std::vector<char*> argv;
  for (const std::string& word : command.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  const int error = errno;
  const std::string why =
      fmt::format("cannot run '{}': {}", command.argv[0], base::text_of_errno(error));
  give_up(why + remedy_for(command.argv, error), error == ENOENT ? 127 : 126);
  ::_exit(126);
}

base::Error no_room_for_input() {
  return fail(Code::internal,
              fmt::format("cannot keep the standard input of the command in memory: {}",
                          base::text_of_errno(errno)),
              "free memory, or raise the queue's limits: rq queue show tells them");
}

// What the command will read.
Result<void> give_input(const std::string& bytes) {
  const int file = ::memfd_create("stdin", MFD_CLOEXEC);
  if (file < 0) return no_room_for_input();
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const ssize_t n = ::write(file, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return no_room_for_input();
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  ::lseek(file, 0, SEEK_SET);
  ::dup2(file, STDIN_FILENO);
  return {};
}

Result<int> run_payload() {
  std::string payload;
  std::array<char, 16 * base::kKiB> buffer{};
  while (std::cin.read(buffer.data(), buffer.size()) || std::cin.gcount() > 0) {
    payload.append(buffer.data(), static_cast<std::size_t>(std::cin.gcount()));
  }
  auto command = read_command(payload);
  if (!command) {
    tell(fmt::format("err {}: {}", command.error().message, command.error().remedy));
    return std::move(command).error();
  }
  for (const int fd : {kPipe, kPipe + 1}) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  RQ_TRY(give_input(command->input));
  tell("run " + shown(command->argv));

  std::optional<OutputsWriter> outputs = OutputsWriter::connect(command->outputs);
  if (outputs) RQ_TRY(outputs->make_pipes());

  const pid_t child = ::fork();
  if (child < 0) {
    return fail(Code::internal,
                fmt::format("cannot start a process: {}", base::text_of_errno(errno)),
                "let fewer run at a time, or raise the queue's limit of processes");
  }
  if (child == 0) {
    if (outputs) outputs->become_outputs();
    become(*command);
  }
  // Who stops the attempt signals the whole group. The command may end in order; we tell how.
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) std::signal(signal, SIG_IGN);
  if (outputs) outputs->carry(child);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  // No word: the worker knows that here the exit says it, and whether it has stopped the command.
  // We end as the command did, so that the post-mortem shows its exit code or signal; without a
  // core of ours.
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    std::signal(signal, SIG_DFL);
    ::raise(signal);
    return 128 + signal;
  }
  return WEXITSTATUS(status);
}

// The first word that is no option of ours begins the command; one that looks like an option is
// more likely a mistake than the name of a program.
Result<std::vector<std::string>> command_of(const CLI::App& app, std::vector<std::string> words) {
  if (words.empty() || !words.front().starts_with('-')) return words;
  if (words.front() != "--") {
    const std::string said = words.front().substr(0, words.front().find('='));
    const std::string meant = nearest_option(app, said);
    if (!meant.empty()) {
      return fail(Code::bad_value, fmt::format("there is no option '{}'", said),
                  fmt::format("did you mean '{}'? see rq run --help", meant));
    }
    return fail(Code::bad_value, fmt::format("there is no option '{}'", words.front()),
                "one dash is before one letter, two before a word (--wait); a command whose name "
                "begins with - stands behind --; see rq run --help");
  }
  words.erase(words.begin());
  return words;
}

}  // namespace

Action declare_run(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.prefix_command();  // the first word that is no option begins the command
  app.add_option("--queue", options->queue, "Queue; made on first use (default: run)")
      ->type_name("QUEUE");
  add_parsed(app, "-j,--num-workers", options->workers, parse_positive,
             "Commands at a time: changes the queue, for everybody who uses it")
      ->type_name("N");
  add_repeated(app, "--env", options->env,
               fmt::format("NAME (as it is here) or NAME=VALUE. These go along by themselves: "
                           "{} LC_*",
                           fmt::join(kEnvironment, " ")))
      ->type_name("NAME");
  options->shared.declare(app);
  app.add_flag("--stdin", options->input, "Let it read what is given to rq on standard input");
  app.add_flag("-w,--wait", options->wait,
               "Show its output and its errors as if it ran here, and exit as it does");
  add_wait_timeout(app, options->longest);
  return [&app, &context, options]() -> Result<int> {
    if (options->longest && !options->wait) {
      return fail(Code::bad_value, "--wait-timeout without --wait: nothing is waited for",
                  "add --wait; what bounds the command itself is --timeout");
    }
    RQ_TRY_ASSIGN(words, command_of(app, app.remaining()));
    return queue_command(context, *options, words);
  };
}

Action declare_exec_payload(CLI::App& app, Context&) {
  app.allow_extras();  // the worker adds the path of the script, which is rq
  return [] { return run_payload(); };
}

}  // namespace rq::cli
