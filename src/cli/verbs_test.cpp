#include "cli/verbs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "cli/settings_options.h"
#include "cli/text.h"
#include "core/queue.h"
#include "core/settings_json.h"

namespace rq::cli {
namespace {

TEST(Verbs, EachHasAPurposeOfOneLineAndTwoExamples) {
  std::set<std::string_view> names;
  for (const Verb& verb : verbs()) {
    EXPECT_TRUE(names.insert(verb.name).second) << verb.name;
    EXPECT_FALSE(verb.purpose.empty()) << verb.name;
    EXPECT_EQ(verb.purpose.find('\n'), std::string_view::npos) << verb.name;
    if (verb.group == Group::hidden) continue;
    EXPECT_GE(std::ranges::count(verb.examples, '\n'), 1) << verb.name;
    EXPECT_NE(verb.examples.find(verb.name), std::string_view::npos) << verb.name;
  }
}

TEST(Verbs, HelpNamesPurposeAndExamples) {
  for (const Verb& verb : verbs()) {
    if (verb.group == Group::hidden) continue;
    Context context;
    const std::string help = make_app(verb, context).app->help();
    EXPECT_NE(one_line(help, std::string::npos).find(verb.purpose), std::string::npos) << verb.name;
    EXPECT_NE(help.find("Examples:"), std::string::npos) << verb.name;
    EXPECT_NE(help.find("--json"), std::string::npos) << verb.name;
  }
}

TEST(Completion, HoldsEveryVerbAndEveryOption) {
  const std::string bash = bash_completion();
  const std::string zsh = zsh_completion();
  for (const Verb& verb : verbs()) {
    if (verb.group == Group::hidden) continue;
    const std::string head = "    '" + std::string(verb.name) + "')\n";
    const auto section = [&head](const std::string& script) {
      const std::size_t from = script.find(head);
      if (from == std::string::npos) return std::string();
      const std::size_t to = script.find("\n      ;;\n", from);
      return script.substr(from, to - from);
    };
    const std::string in_bash = section(bash);
    const std::string in_zsh = section(zsh);
    ASSERT_FALSE(in_bash.empty()) << verb.name;
    ASSERT_FALSE(in_zsh.empty()) << verb.name;
    Context context;
    const VerbApp made = make_app(verb, context);
    for (const CLI::Option* option : made.app->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        EXPECT_NE(in_bash.find("--" + name), std::string::npos) << verb.name << " --" << name;
        EXPECT_NE(in_zsh.find("*--" + name + "["), std::string::npos) << verb.name << " --" << name;
      }
      for (const std::string& name : option->get_snames()) {
        EXPECT_NE(in_bash.find("-" + name), std::string::npos) << verb.name << " -" << name;
        EXPECT_NE(in_zsh.find("*-" + name + "["), std::string::npos) << verb.name << " -" << name;
      }
    }
  }
  EXPECT_EQ(bash.find("exec-payload"), std::string::npos);
}

json::object settings(std::vector<std::string> args) {
  CLI::App app;
  const auto given = add_settings_options(app, Defaults::untold);
  std::ranges::reverse(args);
  app.parse(args);
  return given->values;
}

TEST(Settings, OptionsBecomeFieldsOfTheApi) {
  const json::object values = settings({"--num-workers", "2",
                                        "--retries",     "3",
                                        "--timeout",     "90s",
                                        "--grace",       "1500ms",
                                        "--env",         "A=B=C",
                                        "--env",         "EMPTY=",
                                        "--memory",      "64M",
                                        "--backoff",     "exponential:15s..1h",
                                        "--keep-done",   "7d,1000",
                                        "--keep-err",    "0",
                                        "--sync",        "relaxed",
                                        "--exec-prefix", "bash -lc",
                                        "--env-allow",   "HOME",
                                        "--priority",    "-3",
                                        "--set",         "limits.open_files=64"});
  const json::value wanted = json::parse(R"({
    "num_workers":2,"retries":3,"timeout_s":90,"grace_s":1.5,"env_vars":{"A":"B=C","EMPTY":""},
    "limits":{"memory_bytes":67108864,"open_files":64},
    "backoff":{"kind":"exponential","base_s":15,"max_s":3600,"jitter_percent":20},
    "keep_done":{"age_s":604800,"count":1000},"keep_err":{"age_s":7776000,"count":0},
    "sync":"relaxed",
    "exec_prefix":"bash -lc","env_allow":["HOME"],"priority":-3})");
  EXPECT_EQ(json::value(values), wanted) << json::serialize(values);
}

// What the help of `queue create` calls the default, said with the option, is the default.
TEST(Settings, HelpTellsTheDefaultsAsTheyAreWritten) {
  constexpr std::string_view kHead = " (default ";
  CLI::App app;
  const auto unused = add_settings_options(app, Defaults::told);
  const json::value standard = core::to_json(core::QueueSettings{});
  std::vector<std::string> without;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group() != "Settings") continue;
    const std::string name = "--" + option->get_lnames().front();
    const std::string help = option->get_description();
    const std::size_t from = help.rfind(kHead);
    if (from == std::string::npos) {
      without.push_back(name);
      continue;
    }
    std::string text = help.substr(from + kHead.size(), help.size() - from - kHead.size() - 1);
    if (text == "''") text.clear();
    const json::object said = settings({name, text});
    ASSERT_EQ(said.size(), 1U) << name;
    for (const auto& [key, value] : said) {
      const json::value& usual = at(standard, key);
      if (!value.is_object()) {
        EXPECT_EQ(value, usual) << help;
        continue;
      }
      for (const auto& [inner, field] : value.get_object())
        EXPECT_EQ(field, at(usual, inner)) << help;
    }
  }
  EXPECT_EQ(without, (std::vector<std::string>{"--env", "--env-allow", "--set"}));
}

TEST(Settings, SetTakesLengthsSizesJsonAndText) {
  json::object values;
  ASSERT_TRUE(set_field(values, "timeout_s=2m"));
  ASSERT_TRUE(set_field(values, "payload_bytes_max=1K"));
  ASSERT_TRUE(set_field(values, "limits.memory_bytes=1K"));
  ASSERT_TRUE(set_field(values, "env_allow=[\"A\"]"));
  ASSERT_TRUE(set_field(values, "script=/bin/true"));
  ASSERT_TRUE(set_field(values, "grace_s=null"));
  EXPECT_EQ(json::value(values), json::parse(R"({"timeout_s":120,"payload_bytes_max":1024,
    "limits":{"memory_bytes":1024},"env_allow":["A"],"script":"/bin/true","grace_s":null})"))
      << json::serialize(values);
  EXPECT_FALSE(set_field(values, "retries"));
  EXPECT_FALSE(set_field(values, "=3"));
  EXPECT_FALSE(set_field(values, "timeout_s=soon"));
}

TEST(Address, FlagsGoBeforeTheEnvironment) {
  ::setenv("RQ_SERVER", "http://127.0.0.1:9", 1);
  ::setenv("RQ_DIR", "/from/environment", 1);
  Context context;
  EXPECT_EQ(context.address()->name(), "http://127.0.0.1:9");
  EXPECT_EQ(context.directory(), "/from/environment");
  context.dir = "/flag";
  EXPECT_EQ(context.address()->address.socket_path, "/flag/run/rq.sock");
  context.server = "unix:/a/socket";
  EXPECT_EQ(context.address()->address.socket_path, "/a/socket");
  ::unsetenv("RQ_SERVER");
  context.server.clear();
  context.dir.clear();
  EXPECT_EQ(context.address()->address.socket_path, "/from/environment/run/rq.sock");
  ::unsetenv("RQ_DIR");
  EXPECT_EQ(context.address()->address.socket_path, "./var/run/rq.sock");
  for (const char* bad : {"ftp://x", "localhost", "unix:", "http://", "http://a/b"}) {
    context.server = bad;
    ASSERT_FALSE(context.address()) << bad;
    EXPECT_NE(context.address().error().message.find(bad), std::string::npos);
  }
}

}  // namespace
}  // namespace rq::cli
