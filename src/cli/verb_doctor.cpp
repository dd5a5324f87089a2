// rq doctor: looks at all that is usually wrong, and says what to do about it.
#include <fmt/format.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill()
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/limits.h"
#include "cli/check.h"
#include "cli/settings_options.h"
#include "cli/text.h"
#include "cli/tries.h"
#include "cli/verbs.h"
#include "server/undeleted.h"
#include "store/sqlite/open.h"

namespace rq::cli {
using base::Code;
using base::Result;

namespace {

constexpr double kWalBytesMax = 1024 * base::kMiB;  // a reader holds up the checkpoint
constexpr std::size_t kQueuesShown = 20;            // of those that are not fine
// A worker that is about to start the next script has done so after this time.
constexpr std::chrono::milliseconds kStartsWithin{500};

class Doctor {
 public:
  // `quick`: without reading the whole store.
  Doctor(Context& context, bool quick) : context_(context), quick_(quick) {}

  Result<int> run() {
    RQ_TRY_ASSIGN(where, context_.address());
    const bool local = !where.address.socket_path.empty() && context_.server.empty();
    dir_ = context_.directory();
    if (local) {
      look_at_directory();
      look_at_store();
      look_at_folders();
    }
    const bool there = look_at_server();
    if (local && there) look_at_worker();
    report();
    if (!there) return base::row_of(Code::unreachable).exit_code;
    for (const Check& check : checks_) {
      if (check.finding == Finding::bad) return base::row_of(Code::internal).exit_code;
    }
    return 0;
  }

 private:
  void add(std::string what, Finding finding, std::string text, std::string remedy = {}) {
    checks_.push_back({std::move(what), finding, std::move(text), std::move(remedy)});
  }

  // False: what would be read there is no file, and reading it might take for ever.
  bool may_read(const std::string& path) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0 || S_ISREG(info.st_mode)) return true;
    add("file", Finding::bad, fmt::format("{} is not a file", path),
        "somebody has put something else in its place: move that away, and restart the server");
    return false;
  }

  void look_at_directory() {
    struct stat info {};
    if (::stat(dir_.c_str(), &info) != 0) {
      add("directory", Finding::bad, fmt::format("{}: {}", dir_, base::text_of_errno(errno)),
          fmt::format("rq server --dir {} makes it", dir_));
      return;
    }
    if (!S_ISDIR(info.st_mode)) {
      add("directory", Finding::bad, fmt::format("{} is no directory", dir_),
          "name another: --dir");
      return;
    }
    const std::string mode = fmt::format("{:o}", info.st_mode & 07777U);
    if ((info.st_mode & S_IWOTH) != 0) {
      add("directory", Finding::bad, fmt::format("{} may be written by all (mode {})", dir_, mode),
          fmt::format("chmod o-w {}", dir_));
    } else if (::access(dir_.c_str(), R_OK | X_OK) != 0) {
      add("directory", Finding::bad, fmt::format("{} may not be read by you (mode {})", dir_, mode),
          "become the user that the server runs as");
    } else {
      add("directory", Finding::ok, fmt::format("{} (mode {})", dir_, mode));
    }
    look_at_disk();
    const auto files = store::sqlite::store_files(store::sqlite::store_file(dir_));
    for (const std::string& path : {files.database.string(), files.log.string()}) {
      struct stat db {};
      if (::stat(path.c_str(), &db) == 0 && ::access(path.c_str(), R_OK) != 0) {
        add("store", Finding::bad, fmt::format("{} may not be read by you", path),
            "become the user that the server runs as");
      }
    }
  }

  // Every page and every row; beside a running server, which goes on meanwhile.
  void look_at_store() {
    const std::filesystem::path file = store::sqlite::store_file(dir_);
    if (::access(file.c_str(), R_OK) != 0) return;
    for (const std::filesystem::path& part : store::sqlite::store_files(file).all()) {
      if (!may_read(part)) return;
    }
    if (const auto why = store::sqlite::log_for_the_server(file)) {
      add("store", Finding::bad, *why,
          "start the server, or restart it: it makes the store anew from all that is good; nothing "
          "else is looked at before that");
      return;
    }
    if (const auto same = store::sqlite::check_identity(file); !same) {
      add("store", Finding::bad, same.error().message, same.error().remedy);
    }
    if (quick_) {
      add("store", Finding::ok, "not read (--quick)");
    } else if (const auto found = store::sqlite::check_store(file); !found) {
      add("store", Finding::warning, fmt::format("cannot be checked: {}", found.error().message),
          read_only_ ? "its disk is read-only, see above" : found.error().remedy);
    } else if (found->empty()) {
      add("store", Finding::ok, "every row was read; its tables agree");
    } else {
      for (const std::string& text : *found) add("store", Finding::bad, text);
      checks_.back().remedy =
          "a running server mends or sets aside single messages by itself; for the rest restart "
          "it: it rebuilds a store that it finds damaged (or: touch " +
          store::sqlite::rebuild_mark(file).string() + " before)";
    }
    const auto aside = store::sqlite::set_aside_in(file);
    if (!aside || aside->total == 0) return;
    for (const std::string& row : aside->newest) add("set aside", Finding::warning, row);
    if (const auto more = aside->total - std::ssize(aside->newest); more > 0) {
      add("set aside", Finding::warning, fmt::format("… and {} more", more));
    }
    checks_.back().remedy = fmt::format(
        "damaged rows are kept in table corrupt of {}, with their values. When you have seen them: "
        "stop the server, and sqlite3 {} 'DELETE FROM corrupt'",
        file.string(), file.string());
  }

  // Folders of messages that are gone, which cannot be deleted.
  void look_at_folders() {
    const std::string path = dir_ + std::string{server::kUndeletedFile};
    if (!may_read(path)) return;
    std::ifstream file(path);
    std::string line;
    bool any = false;
    while (std::getline(file, line)) {
      add("folder", Finding::warning, line);
      any = true;
    }
    if (any) {
      checks_.back().remedy =
          "delete them by hand; the server tries again, more and more rarely, and at each start";
    }
  }

  void look_at_disk() {
    struct statvfs disk {};
    if (::statvfs(dir_.c_str(), &disk) != 0) return;
    read_only_ = is_read_only(disk);
    for (Check& check : checks_of_disk(dir_, disk)) checks_.push_back(std::move(check));
  }

  void look_at_status(const json::value& health) {
    const std::string status = text_at(health, "status");
    if (const json::value& hindrance = at(health, "hindrance");
        status == "ok" && hindrance.is_object()) {
      add("health", Finding::hint, fmt::format("{}, but {}", status, text_at(hindrance, "text")),
          text_at(hindrance, "remedy"));
      return;
    }
    add("health", status == "ok" ? Finding::ok : Finding::warning, status,
        status == "lock_taken"    ? "end the process that holds DIR/run/server.lock (fuser)"
        : status != "damaged"     ? ""
        : context_.server.empty() ? "see what was set aside, above"
                                  : "run rq doctor on the machine of the server");
  }

  // False: nobody there.
  bool look_at_server() {
    auto client = context_.client();
    if (!client) {
      add("server", Finding::bad, client.error().message, client.error().remedy);
      return false;
    }
    auto version = (*client)->get("/v1/version", {"version"});
    if (!version) {
      add("server", Finding::bad, version.error().message, version.error().remedy);
      return version.error().code != Code::unreachable;
    }
    const std::string theirs = text_at(*version, "version");
    add("server", theirs == RQ_VERSION ? Finding::ok : Finding::warning,
        fmt::format("version {}, pid {}, {}", theirs, text_at(*version, "pid"),
                    text_at(*version, "dir")),
        theirs == RQ_VERSION ? "" : fmt::format("this rq is version {}", RQ_VERSION));
    if (auto health = (*client)->get("/v1/health", {"status"}); !health) {
      add("health", Finding::bad, health.error().message, health.error().remedy);
    } else {
      look_at_status(*health);
      if (const auto off = number_at(*health, "clock_not_followed_s")) {
        add("clock", Finding::warning,
            fmt::format(
                "the wall clock was set by {:.0f} s within the last ten minutes; the time of "
                "the server goes on as it was",
                *off),
            "set it right; if it is right, the server follows it in ten minutes at most");
      }
      if (const json::value& open = at(*health, "define_over_tcp");
          open.is_bool() && open.get_bool()) {
        add("rights", Finding::warning,
            "whoever reaches the server over TCP may define queues, and so run programs here",
            "take define_over_tcp out of rq.toml, and restart the server");
      }
    }
    if (auto stats = (*client)->get("/v1/stats", {"uptime_s"})) {
      const double wal = number_at(*stats, "wal_bytes").value_or(0);
      add("store size", wal > kWalBytesMax ? Finding::warning : Finding::ok,
          fmt::format("{}, and {} of log", show_size(number_at(*stats, "store_bytes").value_or(0)),
                      show_size(wal)),
          wal > kWalBytesMax ? "a long-running reader (sqlite3?) holds up its checkpoint" : "");
    }
    if (auto queues = (*client)->get("/v1/queues", {"queues"})) {
      if (any_may_be_about_to_start(*queues)) {
        std::this_thread::sleep_for(kStartsWithin);
        auto again = (*client)->get("/v1/queues", {"queues"});
        if (again) queues = std::move(again);
      }
      look_at_queues(*queues);
      look_at_failures(**client, *queues);
      look_at_rights(*queues);
    }
    if (auto workers = (*client)->get("/v1/workers", {"workers"})) look_at_workers(*workers);
    return true;
  }

  // A queue that is not fine. The messages that wait in queues of one text are told together.
  struct Hindered {
    std::string queue;
    std::int64_t waiting = 0;
    Check check;
  };
  // Nothing: it is fine.
  [[nodiscard]] static std::optional<Hindered> look_at_queue(const json::value& queue) {
    Hindered out{.queue = text_at(queue, "name"),
                 .waiting = count_at(at(queue, "counts"), "que"),
                 .check = {.finding = Finding::warning}};
    if (const json::value& hindrance = at(queue, "hindrance"); hindrance.is_object()) {
      out.check.text = text_at(hindrance, "text");
      out.check.remedy = text_at(hindrance, "remedy");
    }
    if (const std::string error = text_at(queue, "script_error"); !error.empty()) {
      out.check = {.finding = Finding::bad,
                   .text = error,
                   .remedy = "mend that; the queue goes on by itself"};
      out.waiting = 0;  // it is wrong whether anything waits or not
    } else if (out.check.text.empty()) {
      if (!nobody_asks(queue)) return std::nullopt;
      out.check.text = "none runs, and no worker asks for them";
      out.check.remedy = "rq why ID tells of one of them";
    }
    return out;
  }

  // "queue a: 3 messages wait: …", "3 queues: 12 messages wait: …"
  [[nodiscard]] static std::vector<Check> grouped(const std::vector<Hindered>& found) {
    struct Group {
      std::string first;
      std::int64_t queues = 0;
      std::int64_t waiting = 0;
    };
    std::vector<Check> checks;
    std::vector<Group> groups;  // of each check
    std::map<std::string_view, std::size_t> known;
    for (const Hindered& one : found) {
      const auto [place, is_new] = known.try_emplace(one.check.text, groups.size());
      if (is_new) {
        checks.push_back(one.check);
        groups.push_back({.first = one.queue});
      }
      Group& group = groups[place->second];
      ++group.queues;
      group.waiting += one.waiting;
    }
    for (std::size_t i = 0; i < checks.size(); ++i) {
      const auto& [first, queues, waiting] = groups[i];
      checks[i].what = queues == 1 ? "queue " + first : show_count(queues) + " queues";
      if (waiting == 0) continue;
      checks[i].text = fmt::format("{} {}: {}", show_messages(waiting),
                                   waiting == 1 ? "waits" : "wait", checks[i].text);
    }
    return checks;
  }

  // Between two scripts there is a moment in which nobody asks.
  [[nodiscard]] static bool any_may_be_about_to_start(const json::value& answer) {
    return std::ranges::any_of(items_at(answer, "queues"), [](const json::value& queue) {
      return !at(queue, "hindrance").is_object() && nobody_asks(queue);
    });
  }

  [[nodiscard]] static bool nobody_asks(const json::value& queue) {
    const json::value& counts = at(queue, "counts");
    return count_at(counts, "que") > 0 && count_at(queue, "waiting_reserves") == 0 &&
           count_at(counts, "run") == 0;
  }

  void look_at_queues(const json::value& answer) {
    std::size_t sound = 0;
    std::int64_t tubes = 0;
    std::int64_t in_tubes = 0;
    std::vector<Hindered> hindered;
    for (const json::value& queue : items_at(answer, "queues")) {
      // A tube of beanstalkd: its clients come and go, and there may be very many of them.
      const bool made_on_demand = at(queue, "on_demand") == json::value(true);
      if (made_on_demand && text_at(queue, "status") == "up" && nobody_asks(queue)) {
        ++tubes;
        in_tubes += count_at(at(queue, "counts"), "que");
      } else if (auto found = look_at_queue(queue)) {
        hindered.push_back(*std::move(found));
      } else {
        ++sound;
      }
    }
    std::vector<Check> found = grouped(hindered);
    std::stable_partition(found.begin(), found.end(),
                          [](const Check& check) { return check.finding == Finding::bad; });
    const std::size_t shown = std::min(found.size(), kQueuesShown);
    checks_.insert(checks_.end(), found.begin(),
                   found.begin() + static_cast<std::ptrdiff_t>(shown));
    if (found.size() > shown) {
      add("queues", Finding::warning, fmt::format("… and {} more", found.size() - shown),
          "rq queue list shows them all");
    }
    if (tubes > 0) {
      add("queues on demand", Finding::warning,
          fmt::format("{} {} in {} that {} made on demand, and nobody asks for them now",
                      show_messages(in_tubes), in_tubes == 1 ? "waits" : "wait",
                      tubes == 1 ? "a queue" : show_count(tubes) + " queues",
                      tubes == 1 ? "was" : "were"),
          "their clients take them: are they there?");
    }
    const std::size_t all = items_at(answer, "queues").size();
    add("queues", Finding::ok,
        sound == all ? fmt::format("all {} are fine", all)
                     : fmt::format("{} of {} are fine, see above for the rest", sound, all));
  }

  // What has failed is no fault of the system, and somebody has to see to it.
  void look_at_failures(client::Client& client, const json::value& answer) {
    const Tries tries = tries_of(client);
    std::size_t left_out = 0;
    std::size_t shown = 0;
    for (const json::value& queue : items_at(answer, "queues")) {
      const std::string name = text_at(queue, "name");
      const json::value& counts = at(queue, "counts");
      // Held ones were put aside by somebody, who knows.
      const std::int64_t errs = count_at(counts, "err") - count_at(counts, "held");
      const std::int64_t waiting = tries.of(name);
      if (errs <= 0 && waiting == 0) continue;
      if (shown == kQueuesShown) {
        ++left_out;
        continue;
      }
      ++shown;
      std::string text;
      if (errs > 0) text = fmt::format("{} in err", show_messages(errs));
      if (waiting > 0) {
        text += fmt::format("{}{}", text.empty() ? "" : ", ", tries_text(waiting, tries.cut));
      }
      add("failures of " + name, Finding::hint, text,
          errs > 0 ? fmt::format("rq list {} --by reason", name)
                   : fmt::format("rq list {} --state scheduled", name));
    }
    if (left_out > 0) {
      add("failures", Finding::hint, fmt::format("… and of {} more queues", left_out),
          "rq queue list shows them all");
    }
    if (tries.cut) add("tries", Finding::hint, cut_text(tries));
  }

  void look_at_rights(const json::value& answer) {
    for (const json::value& queue : items_at(answer, "queues")) {
      if (!takes_commands_over_tcp(at(queue, "settings"))) continue;
      const std::string name = text_at(queue, "name");
      add("rights of " + name, Finding::warning,
          "whoever reaches the server over TCP may run any command here (put_over_tcp)",
          fmt::format("rq queue set {} --set put_over_tcp=false", name));
    }
  }

  void look_at_workers(const json::value& answer) {
    for (const json::value& worker : items_at(answer, "workers")) {
      const std::string what = "worker " + text_at(worker, "name");
      const std::string version = text_at(worker, "version");
      if (const json::value& silent = at(worker, "silent"); silent.is_bool() && silent.get_bool()) {
        add(what, Finding::bad,
            fmt::format("it has said nothing since {}", text_at(worker, "seen")),
            "is it stopped (kill -CONT), or its machine cut off?");
      } else if (at(worker, "draining") == json::value(true)) {
        add(what, Finding::warning,
            fmt::format("version {}; it was told to end: it takes nothing more, and goes when its "
                        "scripts have ended",
                        version),
            "of a server's own worker the server then starts the next one; to end its scripts now: "
            "rq kill ID");
      } else if (version != RQ_VERSION) {
        add(what, Finding::warning,
            fmt::format("it has version {}, this is {}", version, RQ_VERSION),
            "stop it (TERM): it ends with its scripts, and another one starts");
      } else {
        add(what, Finding::ok, fmt::format("version {}", version));
      }
    }
  }

  void look_at_worker() {
    if (!may_read(dir_ + "/run/worker.pid")) return;
    std::ifstream file(dir_ + "/run/worker.pid");
    pid_t pid = 0;
    if (!(file >> pid) || pid <= 0) {
      add("worker", Finding::warning, "there is no worker of this directory",
          fmt::format("scripts run nowhere here; start one: rq worker --dir {}", dir_));
    } else if (::kill(pid, 0) != 0 && errno == ESRCH) {
      add("worker", Finding::bad, fmt::format("it is gone (pid {})", pid),
          "the server starts it again in a moment; if not, look at the server's log");
    } else {
      add("worker", Finding::ok, fmt::format("pid {}", pid));
    }
  }

  void report() const {
    if (context_.json) {
      json::array list;
      for (const Check& check : checks_) {
        list.push_back(json::object{{"check", check.what},
                                    {"finding", word(check.finding)},
                                    {"text", check.text},
                                    {"remedy", check.remedy}});
      }
      Context::print_json({{"checks", std::move(list)}});
      return;
    }
    Table table({{"CHECK"}, {"FINDING"}, {"WHAT"}}, Table::Long::wrapped);
    for (const Check& check : checks_) {
      table.add({check.what, {word(check.finding), ink_of(check.finding)}, check.text});
    }
    context_.print(table);
    for (const Check& check : checks_) {
      if (check.remedy.empty()) continue;
      const std::size_t column = columns_of(check.what) + 4;  // its indent and ": "
      Context::print(
          fmt::format("  {}: {}\n", check.what, indented(check.remedy, column, context_.width())));
    }
  }

  static const char* word(Finding finding) {
    switch (finding) {
      case Finding::ok:
        return "ok";
      case Finding::hint:
        return "hint";
      case Finding::warning:
        return "warning";
      case Finding::bad:
        return "bad";
    }
    return "";
  }

  static Ink ink_of(Finding finding) {
    switch (finding) {
      case Finding::ok:
        return Ink::green;
      case Finding::hint:
        return Ink::cyan;
      case Finding::warning:
        return Ink::yellow;
      case Finding::bad:
        return Ink::red;
    }
    return Ink::plain;
  }

  Context& context_;
  const bool quick_;
  bool read_only_ = false;  // the disk
  std::string dir_;
  std::vector<Check> checks_;
};

}  // namespace

Action declare_doctor(CLI::App& app, Context& context) {
  auto quick = std::make_shared<bool>(false);
  app.add_flag("--quick", *quick, "Leave out the check of the whole store");
  return [&context, quick]() -> Result<int> { return Doctor(context, *quick).run(); };
}

}  // namespace rq::cli
