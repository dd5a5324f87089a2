// rq put: puts one message, or many from a file of JSON lines.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iostream>
#include <memory>

#include "base/base64.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "cli/input.h"
#include "cli/nearest.h"
#include "cli/put_options.h"
#include "cli/text.h"
#include "cli/verbs.h"

namespace rq::cli {
using base::Code;
using base::fail;
using base::Result;

namespace {

constexpr std::size_t kBatchLines = 1000;  // of NDJSON in one request: one commit each
constexpr std::size_t kBatchBytes = base::kMiB;
constexpr std::size_t kProgressWidth = 30;
constexpr std::int64_t kRefusalsShown = 20;  // one by one; the sum tells the rest

struct Options {
  std::string queue;
  std::string payload;
  std::optional<std::string> text;
  std::string file;
  std::string ndjson;
  PutOptions shared;
  std::string key, dest, src, content_type;
  std::vector<std::string> headers;
  std::array<std::string, 4> params;
  bool prep = false;
  bool wait = false;
  bool follow = false;
  std::optional<base::Millis> longest;  // of the wait
};

Result<std::string> read_file(const std::string& path,
                              std::string remedy = "name a file that is there and may be read") {
  std::ifstream file(path, std::ios::binary);
  struct stat info {};
  if (!file || ::stat(path.c_str(), &info) != 0 || S_ISDIR(info.st_mode)) {
    return fail(Code::not_found, fmt::format("cannot read the file '{}'", path), std::move(remedy));
  }
  return read_all(file, path);
}

// The payload is what the command line says: standard input only when it is asked for, since in a
// loop it belongs to the loop.
Result<std::string> read_payload(const Options& options, bool given) {
  if ((given ? 1 : 0) + (options.text ? 1 : 0) + (options.file.empty() ? 0 : 1) > 1) {
    return fail(Code::bad_value, "two payloads: of the argument, --text and --file more than one",
                "give one of them");
  }
  if (options.text) return *options.text;
  if (!options.file.empty()) return read_file(options.file);
  if (given && options.payload == "-") return read_all(std::cin, "standard input");
  if (given && options.payload.starts_with("@@")) return options.payload.substr(1);
  if (given && options.payload.starts_with('@')) {
    return read_file(
        options.payload.substr(1),
        "name a file that is there and may be read; for a payload that begins with @, give "
        "--text");
  }
  if (given) return options.payload;
  const bool said = !options.key.empty() || !options.shared.tags.empty() ||
                    !options.headers.empty() ||
                    std::ranges::any_of(options.params, [](const auto& p) { return !p.empty(); });
  if (!said) {
    return fail(
        Code::bad_value, "no payload is given",
        "give it as an argument, with --text as it stands, as @FILE, as - (standard input), or "
        "as '' for an empty one");
  }
  if (input_is_given()) {
    std::fputs("rq put: the payload is empty: - takes it from standard input\n", stderr);
  }
  return std::string();
}

// The fields that are the same for one message and for each line of --ndjson.
Result<json::object> common_fields(const Options& options) {
  RQ_TRY_ASSIGN(put, options.shared.fields());
  const auto set = [&put](const char* name, const std::string& text) {
    if (!text.empty()) put[name] = text;
  };
  set("key", options.key);
  set("dest", options.dest);
  set("src", options.src);
  set("content_type", options.content_type);
  if (options.prep) put["prep"] = true;
  for (std::size_t i = 0; i < options.params.size(); ++i) {
    if (!options.params[i].empty()) put[fmt::format("param{}", i + 1)] = options.params[i];
  }
  if (!options.headers.empty()) {
    json::object headers;
    for (const std::string& header : options.headers) {
      const std::size_t equals = header.find('=');
      if (equals == std::string::npos || equals == 0) {
        return fail(Code::bad_value,
                    fmt::format("--header '{}': not of the form NAME=VALUE", header),
                    "for example --header trace=42");
      }
      headers[header.substr(0, equals)] = header.substr(equals + 1);
    }
    put["headers"] = std::move(headers);
  }
  return put;
}

// What is wrong with the queue or the server, and not with one message.
bool holds_for_all(Code code) {
  using enum Code;
  switch (code) {
    case not_found:
    case bad_name:
    case queue_down:
    case draining:
    case queue_full:
    case busy:
    case disk_full:
    case forbidden:
    case unknown_outcome:
    case unreachable:
    case internal:
      return true;
    default:
      return false;
  }
}

// What has been put so far, on standard error: a bar on a terminal, else only the end.
class Progress {
 public:
  explicit Progress(double bytes) : bytes_(bytes), live_(is_terminal(STDERR_FILENO)) {}
  void show(double done, std::int64_t put, std::int64_t refused) const {
    if (!live_) return;
    std::string bar;
    if (bytes_ > 0) {  // else nobody knows how much there will be
      const double share = std::min(1.0, done / bytes_);
      bar.assign(static_cast<std::size_t>(share * static_cast<double>(kProgressWidth)), '#');
      bar.resize(kProgressWidth, '.');
      bar = fmt::format("[{}] {:3.0f} %  ", bar, share * 100);
    }
    std::fputs(fmt::format("\r{}{} put{}", bar, show_count(put),
                           refused == 0 ? "" : fmt::format(", {} refused", show_count(refused)))
                   .c_str(),
               stderr);
  }
  void end() const {
    if (live_) std::fputs("\n", stderr);
  }

 private:
  double bytes_;
  bool live_;
};

class ManyPut {
 public:
  ManyPut(Context& context, client::Client& client, const Options& options, json::object common)
      : context_(context),
        client_(client),
        queue_(options.queue),
        name_(options.ndjson == "-" ? "standard input" : options.ndjson),
        common_(std::move(common)) {}

  Result<int> run(std::istream& from, double bytes) {
    const Progress progress(bytes);
    std::string line;
    double read = 0;
    for (;;) {
      RQ_TRY_ASSIGN(more, read_line(from, line, fmt::format("{}, line {}", name_, line_ + 1)));
      if (!more) break;
      ++line_;
      // As over HTTP: some programs begin a file with it.
      if (line_ == 1 && line.starts_with(base::kByteOrderMark)) {
        line.erase(0, base::kByteOrderMark.size());
      }
      read += static_cast<double>(line.size()) + 1;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      RQ_TRY(add(line));
      if (lines_.size() >= kBatchLines || batch_.size() >= kBatchBytes) {
        RQ_TRY(flush());
        progress.show(read, put_ + repeated_, refused_);
      }
    }
    RQ_TRY(flush());
    progress.show(read, put_ + repeated_, refused_);
    progress.end();
    if (!context_.json) {
      Context::print(fmt::format(
          "{} put, {} there already{}, {} refused\n", show_count(put_), show_count(repeated_),
          failed_ == 0 ? "" : fmt::format(" ({} in err)", failed_), show_count(refused_)));
    }
    return refused_ == 0 ? 0 : base::row_of(first_refusal_).exit_code;
  }

 private:
  // One line; the options of the command line hold where it says nothing.
  Result<void> add(const std::string& line) {
    boost::system::error_code error;
    json::value value = json::parse(line, error);
    if (error || !value.is_object()) {
      return fail(
          Code::bad_value,
          fmt::format("{}, line {}: not a JSON object: '{}'; {}", name_, line_, one_line(line, 60),
                      put_ + repeated_ > 0
                          ? fmt::format("{} are put, and no other", put_ + repeated_)
                          : "nothing is put"),
          "one message a line: {\"payload\":\"hello\",\"tags\":[\"x\"]}");
    }
    append(line, value.get_object());
    lines_.push_back(line_);
    return {};
  }

  // As it stands, so that no number is changed; the common fields that it lacks come last.
  void append(std::string_view line, const json::object& said) {
    batch_ += line.substr(0, line.rfind('}'));
    bool first = said.empty();
    for (const auto& [name, value] : common_) {
      if (said.contains(name)) continue;
      batch_ += std::exchange(first, false) ? "" : ",";
      batch_ += json::serialize(json::value(name)) + ":" + json::serialize(value);
    }
    batch_ += "}\n";
  }

  Result<void> flush() {
    if (lines_.empty()) return {};
    auto sent = client_.send_bytes("POST", queue_path(queue_, "/messages"), {"items"},
                                   "application/x-ndjson", batch_);
    std::optional<base::Error> stop;
    if (!sent) return stopped(with_nearest_queue(client_, queue_, std::move(sent).error()));
    const json::array& list = items_at(*sent, "items");
    if (list.size() != lines_.size()) {
      return stopped(client::foreign(
          fmt::format("{} answers to {} messages", list.size(), lines_.size()), {}));
    }
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (context_.json) Context::print_json(list[i]);
      if (const auto refused = error_in(list[i])) {
        if (holds_for_all(refused->code)) {
          if (!stop) stop = *refused;
          continue;
        }
        if (refused_++ == 0) first_refusal_ = refused->code;
        base::Error shown = *refused;
        shown.message = fmt::format("line {}: {}", lines_[i], shown.message);
        if (!context_.json && refused_ <= kRefusalsShown) print_error("rq put", shown, false);
        if (!context_.json && refused_ == kRefusalsShown) {
          std::fputs("rq put: more that are refused are only counted\n", stderr);
        }
      } else if (at(list[i], "repeated") == json::value(true)) {
        ++repeated_;
        if (text_at(list[i], "state") == "err") ++failed_;
      } else {
        ++put_;
      }
    }
    if (stop) return stopped(with_nearest_queue(client_, queue_, *std::move(stop)));
    batch_.clear();
    lines_.clear();
    return {};
  }

  // No other line would fare better.
  [[nodiscard]] base::Error stopped(base::Error why) const {
    why.message = fmt::format("lines {} to {}: {}; {} put", lines_.front(), lines_.back(),
                              why.message, show_count(put_ + repeated_));
    return why;
  }

  Context& context_;
  client::Client& client_;
  const std::string queue_;
  const std::string name_;  // of what is read, for people
  json::object common_;
  std::string batch_;
  std::vector<std::int64_t> lines_;  // the line numbers of the batch
  std::int64_t line_ = 0;
  std::int64_t put_ = 0, repeated_ = 0, refused_ = 0;
  std::int64_t failed_ = 0;  // of those that are repeated
  Code first_refusal_ = Code::internal;
};

Result<int> put_many(Context& context, client::Client& client, const Options& options,
                     json::object common) {
  ManyPut many(context, client, options, std::move(common));
  if (options.ndjson == "-") return many.run(std::cin, 0);
  std::ifstream file(options.ndjson, std::ios::binary);
  struct stat info {};
  if (!file || ::stat(options.ndjson.c_str(), &info) != 0 || S_ISDIR(info.st_mode)) {
    return fail(Code::not_found, fmt::format("cannot read the file '{}'", options.ndjson),
                "name a file with one JSON object a line, or - for standard input");
  }
  return many.run(file, static_cast<double>(info.st_size));
}

// Who repeats a put must not take a message that has failed for one that is well.
void say_if_repeated(const json::value& answer, const std::string& key) {
  if (at(answer, "repeated") != json::value(true)) return;
  const std::string state = text_at(answer, "state");
  std::fprintf(stderr,
               "there already, with the key '%s', and its state is %s: nothing is put, and nothing "
               "of it is changed\n",
               key.c_str(), state.c_str());
  if (state != "err" && state != "cancelled") return;
  const std::string id = text_at(answer, "id");
  std::fprintf(stderr, "  to run it again: rq retry %s; why it is so: rq show %s\n", id.c_str(),
               id.c_str());
}

// What it came to goes to standard output: the result of a worker over HTTP, or the text of a
// script's word done. Why it failed is no result.
void print_end(const Context& context, const json::value& end, bool log_shown) {
  const std::string state = text_at(end, "state");
  const std::string text = text_at(end, "progress");
  std::string result = text_at(end, "result");
  const bool text_is_result = result.empty() && !log_shown && state == "done";
  if (text_is_result) result = text;
  if (is_terminal(STDOUT_FILENO)) result = AnsiFilter(context.colours()).feed(result);
  if (!result.empty()) Context::print(result + (result.ends_with('\n') ? "" : "\n"));
  const bool shown = text_is_result || text.empty();
  std::fprintf(stderr, "%s%s%s\n", state.c_str(), shown ? "" : ": ",
               shown ? "" : one_line(text, 200).c_str());
}

Result<int> put_one(Context& context, client::Client& client, const Options& options,
                    json::object put, bool given) {
  RQ_TRY_ASSIGN(payload, read_payload(options, given));
  if (base::is_utf8(payload)) {
    if (!payload.empty()) put["payload"] = payload;
  } else {
    put["payload_base64"] = base::to_base64(payload);
  }
  const auto send = [&]() -> Result<json::value> {
    auto answer = client.send("POST", queue_path(options.queue, "/messages"), {"id"}, put);
    if (!answer) return with_nearest_queue(client, options.queue, std::move(answer).error());
    if (!context.json) say_if_repeated(*answer, options.key);
    return answer;
  };
  if (!options.wait && !options.follow) {
    RQ_TRY_ASSIGN(answer, send());
    if (context.json) {
      Context::print_json(answer);
    } else {
      Context::print(text_at(answer, "id") + "\n");
    }
    return 0;
  }
  const FollowOptions follow{
      .log = options.follow,
      .changes = options.follow ? FollowOptions::Changes::progress : FollowOptions::Changes::none,
      .why = "put",
      .longest = options.longest};
  RQ_TRY_ASSIGN(end, put_and_follow(context, options.queue, follow, [&]() -> Result<std::string> {
                  RQ_TRY_ASSIGN(answer, send());
                  if (!context.json) std::fprintf(stderr, "%s\n", text_at(answer, "id").c_str());
                  return text_at(answer, "id");
                }));
  if (context.json) {
    Context::print_json(end);
  } else {
    print_end(context, end, options.follow);
  }
  return exit_code_of(context, end, false);
}

// The payload's argument.
CLI::Option* add_payload(CLI::App& app, Options& options) {
  CLI::Option* payload =
      app.add_option("payload", options.payload,
                     "The payload; @FILE: what is in the file (@@: an @); -: standard input, which "
                     "is read for nothing else")
          ->type_name("PAYLOAD");
  app.add_option_function<std::string>(
         "--text", [&text = options.text](const std::string& given) { text = given; },
         "Payload that is taken as it stands: for texts of others, in which @, - and --help "
         "mean nothing")
      ->type_name("TEXT");
  app.add_option("--file", options.file, "Payload from a file")->type_name("FILE");
  app.add_option(
         "--ndjson", options.ndjson,
         "Many: a file with one message a line as a JSON object; - for standard input. A line "
         "that is no JSON ends it (its batch of 1000 lines is not put), one with a wrong field "
         "is left out and told of. With a key in each, the same file again puts the rest")
      ->type_name("FILE");
  return payload;
}

void add_fields(CLI::App& app, Options& options) {
  options.shared.declare(app);
  app.add_option("--key", options.key,
                 "Your own key: the same key again finds the first message, as long as that is "
                 "kept (keep_done of its queue)")
      ->type_name("KEY");
  for (std::size_t i = 0; i < options.params.size(); ++i) {
    app.add_option(fmt::format("--param{}", i + 1), options.params[i],
                   fmt::format("RQ_PARAM{} of the script{}", i + 1,
                               i == 0 ? "; a file by its whole path: the script runs in the "
                                        "message's own folder"
                                      : ""))
        ->type_name("TEXT");
  }
  add_repeated(app, "--header", options.headers, "NAME=VALUE; may be repeated")->type_name("A=B");
  app.add_option("--dest", options.dest, "Destination, as the script sees it")->type_name("TEXT");
  app.add_option("--src", options.src, "Who sends it")->type_name("TEXT");
  app.add_option("--content-type", options.content_type, "Of the payload")->type_name("TYPE");
  app.add_flag("--prep", options.prep, "Hold it back until rq commit ID lets it go");
}

void add_waits(CLI::App& app, Options& options) {
  app.add_flag("--wait", options.wait,
               "Wait for the end. Standard output: the result, or else the text of its word done; "
               "standard error: id, state, reason. Exit 0 when done, 1 when not");
  app.add_flag(
      "-f,--follow", options.follow,
      "The same; standard output is the log as it comes, standard error also the progress");
  add_wait_timeout(app, options.longest);
}

// Whether the options go together.
Result<void> check(const Options& options, bool given) {
  const bool waits = options.wait || options.follow;
  if (options.prep && waits) {
    return fail(Code::bad_value,
                fmt::format("--prep with {}: it would wait for what only a commit can start",
                            options.wait ? "--wait" : "--follow"),
                "put it with --prep alone; then rq commit ID, and rq tail -f ID");
  }
  if (options.longest && !waits) {
    return fail(Code::bad_value, "--wait-timeout without --wait or --follow: nothing is waited for",
                "add --wait; what bounds an attempt itself is --timeout");
  }
  if (!options.ndjson.empty() && (given || options.text || !options.file.empty() || waits)) {
    return fail(Code::bad_value,
                "--ndjson goes with no payload, --text, --file, --wait or --follow",
                "the payloads are in the file; follow one of them with rq tail -f ID");
  }
  return {};
}

}  // namespace

Action declare_put(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("queue", options->queue, "Name of the queue")->required()->type_name("QUEUE");
  CLI::Option* payload = add_payload(app, *options);
  add_fields(app, *options);
  add_waits(app, *options);
  return [&context, options, payload]() -> Result<int> {
    const bool given = payload->count() > 0;
    RQ_TRY(check(*options, given));
    RQ_TRY_ASSIGN(common, common_fields(*options));
    RQ_TRY_ASSIGN(client, context.client());
    if (!options->ndjson.empty()) return put_many(context, *client, *options, std::move(common));
    return put_one(context, *client, *options, std::move(common), given);
  };
}

}  // namespace rq::cli
