#include "cli/cli.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "cli/nearest.h"
#include "cli/text.h"
#include "cli/verb.h"

namespace rq::cli {
using base::Code;
using base::fail;
using base::Result;
using namespace std::string_view_literals;

namespace {

constexpr std::size_t kHelpColumns = 80;  // so that it is the same on a terminal and in a pipe
constexpr std::size_t kNameColumns = 17;  // of a verb in a list of them

constexpr std::string_view kCommon =
    "Where: --dir DIR (RQ_DIR) or --server unix:PATH|http://HOST:PORT (RQ_SERVER);\n"
    "default ./var.\n"
    "Exit codes: 0 ok, 2 wrong use, 3 not found, 4 not in this state, 5 refused for\n"
    "now, 6 forbidden, 8 the store failed, 9 no server there, 10 a fault, 124 timed\n"
    "out. rq run --wait exits as its command does.";

struct GroupTitle {
  Group group;
  std::string_view title;
};
constexpr GroupTitle kGroups[] = {{Group::start, "Run it"},
                                  {Group::put, "Put work in"},
                                  {Group::look, "Look"},
                                  {Group::act, "Act on messages"},
                                  {Group::server, "Queues and the rest"}};

std::string line_of(const Verb& verb) {
  return fmt::format("  {:<14} {}\n", verb.name,
                     indented(verb.purpose, kNameColumns, kHelpColumns));
}

std::string overview() {
  std::string out =
      "rq: a durable queue for every machine. Messages wait in queues; scripts in any\n"
      "language, run and watched by rq, do the work.\n\n"
      "usage: rq VERB [options]     rq VERB --help     rq help\n";
  for (const GroupTitle& group : kGroups) {
    out += fmt::format("\n{}\n", group.title);
    for (const Verb& verb : verbs()) {
      if (verb.group == group.group) out += line_of(verb);
    }
  }
  return out + fmt::format("\n{}\n", kCommon);
}

std::string family_help(std::string_view family) {
  std::string out = fmt::format("usage: rq {} VERB [options]\n\n", family);
  for (const Verb& verb : verbs()) {
    if (verb.name.starts_with(fmt::format("{} ", family))) out += line_of(verb);
  }
  return out + fmt::format("\nrq {} VERB --help tells more.\n", family);
}

bool is_family(std::string_view word) {
  return std::ranges::any_of(verbs(), [word](const Verb& verb) {
    return verb.name.starts_with(fmt::format("{} ", word));
  });
}

const Verb* find_verb(std::string_view name) {
  const auto all = verbs();
  const auto found = std::ranges::find(all, name, &Verb::name);
  return found == all.end() ? nullptr : &*found;
}

// What other programs call it.
struct OtherName {
  std::string_view said;
  std::string_view remedy;
};
constexpr OtherName kOtherNames[] = {
    {"add", "put"},
    {"cat", "tail"},
    {"check", "doctor"},
    {"create", "queue create"},
    {"del", "remove"},
    {"delete", "remove"},
    {"down", "queue down"},
    {"drain", "queue drain"},
    {"enqueue", "put"},
    {"follow", "tail -f"},
    {"get", "show"},
    {"health", "doctor"},
    {"info", "show"},
    {"job", "show"},
    {"jobs", "list"},
    {"log", "tail"},
    {"logs", "tail"},
    {"ls", "list"},
    {"messages", "list"},
    {"pause", "queue pause"},
    {"ps", "list"},
    {"push", "put"},
    {"queue add", "queue create"},
    {"queue change", "queue set"},
    {"queue config", "queue set"},
    {"queue edit", "queue set"},
    {"queue get", "queue show"},
    {"queue info", "queue show"},
    {"queue ls", "queue list"},
    {"queue new", "queue create"},
    {"queue remove", "queue delete"},
    {"queue rm", "queue delete"},
    {"queue start", "queue resume"},
    {"queue stop", "queue pause"},
    {"queue update", "queue set"},
    {"queues", "queue list"},
    {"resume", "queue resume"},
    {"rm", "remove"},
    {"send", "put"},
    {"start", "server"},
    {"status", "stats"},
    {"stop", "cancel"},
    {"submit", "put"},
    {"wait", "tail -f"},
    {"watch", "top"},
};
constexpr std::string_view kNoPurge =
    "messages are deleted by their state: rq remove --queue QUEUE --state err; all of them with "
    "their queue: rq queue delete QUEUE --force";
// What there is no verb for.
constexpr OtherName kNoVerbs[] = {
    {"backup",
     "a running server may be copied: sqlite3 DIR/db/rq.db '.backup FILE' for the store, and tar "
     "for the rest; docs/OPERATIONS.md says how"},
    {"purge", kNoPurge},
    {"queue clear", kNoPurge},
    {"queue empty", kNoPurge},
    {"queue purge", kNoPurge},
    {"queue rename",
     "a queue keeps its name: make another (rq queue create NEW), move the messages "
     "(rq move --queue OLD --to NEW), and rq queue delete OLD"},
    {"restart",
     "end the server with TERM: kill $(cut -d' ' -f1 DIR/run/server.pid); then rq server; what "
     "keeps it running (systemd, a container) does both"},
    {"shutdown",
     "the server ends with TERM: kill $(cut -d' ' -f1 DIR/run/server.pid); scripts that run go on "
     "under the worker"},
};

// For a verb that is not there; `next` is the word behind it.
std::string nearest_verb(const std::string& word, const std::string& next) {
  std::vector<std::string> names{"help", "queue"};
  std::vector<std::string> pairs;
  for (const Verb& verb : verbs()) {
    if (verb.group == Group::hidden) continue;
    (verb.name.find(' ') == std::string_view::npos ? names : pairs).emplace_back(verb.name);
  }
  const std::string both = is_family(word) ? fmt::format("{} {}", word, next) : word;
  const auto* const none = std::ranges::find(kNoVerbs, both, &OtherName::said);
  if (none != std::end(kNoVerbs)) return std::string(none->remedy);
  const auto* const other = std::ranges::find(kOtherNames, both, &OtherName::said);
  std::string best = other != std::end(kOtherNames) ? std::string(other->remedy) : "";
  if (best.empty() && !next.empty()) best = nearest(fmt::format("{} {}", word, next), pairs);
  if (best.empty() && !is_family(word)) best = nearest(word, names);
  return best.empty() ? "rq help lists the verbs"
                      : fmt::format("did you mean 'rq {}'? rq help lists the verbs", best);
}

// Of the first word, which should have been a verb.
base::Error no_verb(const std::vector<std::string>& args) {
  const std::string& word = args[0];
  if (!word.starts_with('-')) {
    return fail(Code::bad_value, fmt::format("there is no verb '{}'", word),
                nearest_verb(word, args.size() > 1 ? args[1] : ""));
  }
  return fail(Code::bad_value, fmt::format("there is no option '{}' before the verb", word),
              "--dir DIR, --server WHERE and --json may stand there; others come behind the verb: "
              "rq VERB --help lists them");
}

// Words that the verb does not know: an option that is misspelt, or an argument too many.
base::Error unknown_words(const CLI::App& app, std::string_view who) {
  const std::vector<std::string> words = app.remaining();
  const auto option =
      std::ranges::find_if(words, [](const std::string& word) { return word.starts_with("--"); });
  if (option == words.end()) {
    const std::string word = words.empty() ? "" : words.front();
    const bool dash = word.size() > 1 && word.starts_with('-');
    const std::string meant = dash ? nearest_option(app, word) : "";
    const bool takes_text = app.get_option_no_throw("payload") != nullptr;
    return fail(
        Code::bad_value,
        dash ? fmt::format("there is no option '{}'", word)
             : fmt::format("one argument too many: '{}'", word),
        !meant.empty() ? fmt::format("did you mean '{}'? see {} --help", meant, who)
        : dash && takes_text
            ? fmt::format("for a text that begins with -: --text '{}'; see {} --help", word, who)
        : dash ? fmt::format("one dash is before one letter, two before a word; see {} --help", who)
               : fmt::format("see {} --help", who));
  }
  const std::string said = option->substr(0, option->find('='));
  const std::string best = nearest_option(app, said);
  return fail(Code::bad_value, fmt::format("there is no option '{}'", said),
              best.empty() ? fmt::format("see {} --help", who)
                           : fmt::format("did you mean '{}'? see {} --help", best, who));
}

base::Error empty_value(std::string_view option) {
  return fail(Code::bad_value, fmt::format("{} is empty", option),
              fmt::format("give it a value, or leave {} out", option));
}

// Common options may stand before the verb too. Takes them off the front of `args`.
Result<void> take_common(std::vector<std::string>& args, Context& context) {
  while (!args.empty()) {
    const std::string& first = args.front();
    std::string* into = nullptr;
    std::string_view name;
    if (first == "--json") {
      context.json = true;
      args.erase(args.begin());
      continue;
    }
    if (first == "--dir" || first.starts_with("--dir=")) {
      name = "--dir";
      into = &context.dir;
    } else if (first == "--server" || first.starts_with("--server=")) {
      name = "--server";
      into = &context.server;
    } else {
      return {};
    }
    if (first.size() > name.size()) {
      *into = first.substr(name.size() + 1);
      args.erase(args.begin());
    } else if (args.size() > 1) {
      *into = args[1];
      args.erase(args.begin(), args.begin() + 2);
    } else {
      return fail(Code::bad_value, fmt::format("{} needs a value", name), "rq help");
    }
    if (into->empty()) return empty_value(name);
  }
  return {};
}

int finish(std::string_view who, const Result<int>& result, bool as_json) {
  if (std::fflush(stdout) != 0 && result) {
    // What was to be printed did not all get out (a full disk, a closed pipe).
    print_error(who,
                fail(Code::disk_full, "the output could not be written",
                     "see where standard output goes: a full disk, a closed pipe?"),
                as_json);
    return base::row_of(Code::disk_full).exit_code;
  }
  if (result) return *result;
  print_error(who, result.error(), as_json);
  return base::row_of(result.error().code).exit_code;
}

// Options whose help says what an empty value means.
constexpr std::array kMayBeEmpty{"--http"sv,   "--beanstalk"sv,   "--param1"sv,
                                 "--param2"sv, "--param3"sv,      "--param4"sv,
                                 "--script"sv, "--exec-prefix"sv, "--user"sv};
// Options whose bytes are taken as they are: names of files on this machine.
constexpr std::array kMayBeBytes{"--file"sv, "--ndjson"sv, "--dir"sv};

// Of rq put, as an argument or with --text: any bytes, or none.
bool is_payload(const CLI::App& app, std::string_view name) {
  return (name == "payload" || name == "--text") && app.get_option_no_throw("payload") != nullptr;
}

// An empty value is most often a variable that was not set: `--tag "$TAG"` must not come to mean
// every message.
Result<void> refuse_empty_values(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (is_payload(app, name)) continue;
    if (std::ranges::find(kMayBeEmpty, name) != kMayBeEmpty.end()) continue;
    if (std::ranges::find(option->results(), std::string{}) == option->results().end()) continue;
    if (option->nonpositional()) return empty_value(name);
    std::string type = option->get_type_name();  // "ID..."
    type.erase(type.find_last_not_of('.') + 1);
    return fail(Code::bad_value, fmt::format("the argument {} is empty", type),
                "give it a value: was a variable not set?");
  }
  return {};
}

// What of a value must be text: all of it, but for a variable of rq run, whose value may be any
// bytes.
std::string_view text_of(std::string_view verb, std::string_view option, std::string_view value) {
  return verb == "run" && option == "--env" ? value.substr(0, value.find('=')) : value;
}

// All else goes into JSON or an address.
Result<void> refuse_bytes(const CLI::App& app, std::string_view verb) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (is_payload(app, name)) continue;
    if (std::ranges::find(kMayBeBytes, name) != kMayBeBytes.end()) continue;
    for (const std::string& value : option->results()) {
      const std::string_view text = text_of(verb, name, value);
      if (base::is_utf8(text)) continue;
      return fail(Code::bad_value, fmt::format("{} '{}' is not UTF-8", name, shown_text(text)),
                  "write it in UTF-8; only payloads, and what rq run carries, may be any bytes");
    }
  }
  return {};
}

// What the parser of the command line says, in words of ours; with an example, which shows the
// form.
base::Error parse_error(const Verb& verb, std::string_view who, const CLI::ParseError& error) {
  std::string said = error.what();
  constexpr std::string_view kMissing = " missing";  // "--key: 1 required KEY missing"
  if (said.ends_with(kMissing) && said.find(": ") != std::string::npos) {
    said = fmt::format("{} needs a value", said.substr(0, said.find(": ")));
  }
  return fail(Code::bad_value, std::move(said),
              fmt::format("for example: {}; see {} --help",
                          verb.examples.substr(0, verb.examples.find('\n')), who));
}

int run_verb(const Verb& verb, std::vector<std::string> args, Context& context) {
  const std::string who = fmt::format("rq {}", verb.name);
  VerbApp made = make_app(verb, context);
  std::ranges::reverse(args);  // CLI11 takes them from the back
  try {
    made.app->parse(args);
  } catch (const CLI::CallForHelp&) {
    Context::print(made.app->help());
    return finish(who, 0, false);
  } catch (const CLI::ExtrasError&) {
    return finish(who, unknown_words(*made.app, who), context.json);
  } catch (const CLI::ParseError& error) {
    return finish(who, parse_error(verb, who, error), context.json);
  } catch (BadOption& bad) {
    return finish(who, std::move(bad.error), context.json);
  }
  if (auto good = refuse_empty_values(*made.app); !good) {
    return finish(who, good.error(), context.json);
  }
  if (auto good = refuse_bytes(*made.app, verb.name); !good) {
    return finish(who, good.error(), context.json);
  }
  return finish(who, made.action(), context.json);
}

}  // namespace

namespace {

// Help of a verb, in lines that fit.
class Help : public CLI::Formatter {
 public:
  std::string make_option_desc(const CLI::Option* option) const override {
    const std::size_t room = kHelpColumns - get_column_width();
    return fmt::format("{}", fmt::join(wrapped(option->get_description(), room), "\n"));
  }
  std::string make_description(const CLI::App* app) const override {
    return fmt::format("{}\n", fmt::join(wrapped(app->get_description(), kHelpColumns), "\n"));
  }
};

}  // namespace

VerbApp make_app(const Verb& verb, Context& context) {
  auto app = std::make_unique<CLI::App>(std::string(verb.purpose), fmt::format("rq {}", verb.name));
  app->formatter(std::make_shared<Help>());
  app->set_help_flag("-h,--help", "Show this and exit");
  Action action = verb.declare(*app, context);
  if (verb.group != Group::hidden) {
    app->add_option("--dir", context.dir, "Directory of the server (RQ_DIR; default ./var)")
        ->type_name("DIR")
        ->group("Common");
    app->add_option("--server", context.server, "unix:PATH or http://HOST:PORT (RQ_SERVER)")
        ->type_name("WHERE")
        ->group("Common");
    app->add_flag("--json", context.json,
                  "For programs: JSON; one object, or of a list one a line for each item")
        ->group("Common");
    std::string footer = "Examples:\n";
    std::string_view rest = verb.examples;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      footer += fmt::format("  {}\n", rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    app->footer(footer);
  }
  return {.app = std::move(app), .action = std::move(action)};
}

int run(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc);
  Context context;
  if (auto taken = take_common(args, context); !taken) {
    return finish("rq", taken.error(), context.json);
  }
  if (args.empty() || args[0] == "help" || args[0] == "--help" || args[0] == "-h") {
    if (args.size() > 1) {  // rq help put
      args.erase(args.begin());
      args.emplace_back("--help");
    } else {
      Context::print(overview());
      return finish("rq", args.empty() ? 2 : 0, false);
    }
  }
  if (args[0] == "--version" || args[0] == "-V") args[0] = "version";

  if (args.size() > 1) {
    if (const Verb* verb = find_verb(fmt::format("{} {}", args[0], args[1]))) {
      return run_verb(*verb, {args.begin() + 2, args.end()}, context);
    }
  }
  if (const Verb* verb = find_verb(args[0])) {
    return run_verb(*verb, {args.begin() + 1, args.end()}, context);
  }
  if (is_family(args[0])) {
    if (args.size() == 1 || args[1] == "--help" || args[1] == "-h") {
      Context::print(family_help(args[0]));
      return finish("rq", args.size() == 1 ? 2 : 0, false);
    }
    return finish("rq",
                  fail(Code::bad_value, fmt::format("there is no verb '{} {}'", args[0], args[1]),
                       nearest_verb(args[0], args[1])),
                  context.json);
  }
  return finish("rq", no_verb(args), context.json);
}

}  // namespace rq::cli
