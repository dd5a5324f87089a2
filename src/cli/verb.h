#pragma once
// A verb of the command line: what it is called, what it is for, how it is used, and what it does.
// One table of them feeds the dispatch, the help and the completions.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "client/client.h"

namespace rq::cli {

namespace json = boost::json;

// What all verbs share: the options before or after any verb, and the way to the server.
class Context {
 public:
  bool json = false;   // for programs: one document, or one a line
  std::string dir;     // --dir; may be empty
  std::string server;  // --server; may be empty

  // --server, --dir, RQ_SERVER, RQ_DIR, ./var: the first that is given.
  [[nodiscard]] base::Result<client::Server> address() const;
  // --dir, RQ_DIR, ./var.
  [[nodiscard]] std::string directory() const;
  // Connects with the first request, not before.
  [[nodiscard]] base::Result<client::Client*> client();

  [[nodiscard]] bool colours() const { return colours_on(stdout); }
  [[nodiscard]] std::optional<std::size_t> width() const;
  void print(const Table& table, std::string_view when_empty = {}) const;
  static void print(std::string_view text);
  static void print_json(const json::value& value);  // one line

 private:
  std::unique_ptr<client::Client> client_;
};

// Declares the options in `app` and gives what to do once they are read: the exit code, or an
// Error, which the dispatch prints.
using Action = std::function<base::Result<int>()>;
using Declare = Action (*)(CLI::App& app, Context& context);

enum class Group : std::uint8_t { start, put, look, act, server, hidden };

struct Verb {
  std::string_view name;  // one word, or two: "queue create"
  Group group;
  std::string_view purpose;   // one line
  std::string_view examples;  // lines of commands
  Declare declare;
};

[[nodiscard]] std::span<const Verb> verbs();

// An app with the options of `verb` and the common ones; `action` is what it will do.
struct VerbApp {
  std::unique_ptr<CLI::App> app;
  Action action;
};
[[nodiscard]] VerbApp make_app(const Verb& verb, Context& context);

// An option whose text a parser turns into a value when the command line is read. What it does not
// take ends the verb with its Error; see cli.cpp.
struct BadOption {
  base::Error error;
};
// "--delay: 'soon' is not a length of time". `names` as CLI11 takes them: "-j,--num-workers".
[[nodiscard]] base::Error named(base::Error error, std::string_view names);

template <typename T, typename Parse>
CLI::Option* add_parsed(CLI::App& app, const std::string& name, std::optional<T>& into, Parse parse,
                        std::string help) {
  return app.add_option_function<std::string>(
      name,
      [&into, parse, name](const std::string& text) {
        base::Result<T> value = parse(text);
        if (!value) throw BadOption{named(std::move(value).error(), name)};
        into = std::move(value).value();
      },
      std::move(help));
}

// One that may be given again and again, with one value each time: what follows that is the next
// argument.
CLI::Option* add_repeated(CLI::App& app, const std::string& name, std::vector<std::string>& into,
                          std::string help);

// --- Fields of what the server answers
// ------------------------------------------------------------ Absent, null or of another type:
// empty.
[[nodiscard]] std::string text_at(const json::value& value, std::string_view name);
[[nodiscard]] std::optional<double> number_at(const json::value& value, std::string_view name);
[[nodiscard]] std::int64_t count_at(const json::value& value, std::string_view name);
// Of a reason that has a `text` and, where something helps, a `remedy`: both.
[[nodiscard]] std::string why_text(const json::value& reason);
[[nodiscard]] const json::value& at(const json::value& value, std::string_view name);
// Those of its counts that are not 0: "5 que, 2 err"; or "none".
[[nodiscard]] std::string counts_text(const json::value& counts);
// Its items, or none.
[[nodiscard]] const json::array& items_at(const json::value& value, std::string_view name);

// How old a time of the API is, as of this machine's clock: "3 min"; empty for null.
[[nodiscard]] std::string age_of(const json::value& value, std::string_view name);

// The Error in an item of an answer for many, if there is one.
[[nodiscard]] std::optional<base::Error> error_in(const json::value& item);
// As the house writes it: what, which value; and below, what to do.
void print_error(std::string_view who, const base::Error& error, bool as_json);

// `/v1/messages/ID` for what a person calls a message: an id, a number, key:KEY.
[[nodiscard]] std::string message_path(std::string_view id, std::string_view below = {});
using client::queue_path;

}  // namespace rq::cli
