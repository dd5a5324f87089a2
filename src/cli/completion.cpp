// Completion scripts for bash and zsh, written from the table of verbs: they cannot go stale.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cli/verbs.h"

namespace rq::cli {
using base::Code;
using base::fail;
using base::Result;

namespace {

struct OptionFacts {
  std::vector<std::string> names;  // with their dashes
  std::string type;                // empty: a flag
  std::string help;
};

struct VerbFacts {
  std::string name, purpose;
  std::vector<OptionFacts> options;
  std::string positional;  // type of the first one; empty: none
};

std::vector<VerbFacts> collect() {
  std::vector<VerbFacts> all;
  for (const Verb& verb : verbs()) {
    if (verb.group == Group::hidden) continue;
    Context context;
    const VerbApp made = make_app(verb, context);
    VerbFacts facts{.name = std::string(verb.name),
                    .purpose = std::string(verb.purpose),
                    .options = {},
                    .positional = {}};
    for (const CLI::Option* option : made.app->get_options()) {
      if (option->nonpositional()) {
        OptionFacts one{.names = {}, .type = {}, .help = option->get_description()};
        for (const std::string& name : option->get_lnames()) one.names.push_back("--" + name);
        for (const std::string& name : option->get_snames()) one.names.push_back("-" + name);
        if (option->get_items_expected_max() > 0) one.type = option->get_type_name();
        facts.options.push_back(std::move(one));
      } else if (facts.positional.empty()) {
        facts.positional = option->get_type_name();
      }
    }
    all.push_back(std::move(facts));
  }
  return all;
}

// The first words, and for a family its second ones.
using Families = std::map<std::string, std::vector<std::string>>;

Families families(const std::vector<VerbFacts>& all) {
  Families out;
  for (const VerbFacts& verb : all) {
    const std::size_t blank = verb.name.find(' ');
    auto& second = out[verb.name.substr(0, blank)];
    if (blank != std::string::npos) second.push_back(verb.name.substr(blank + 1));
  }
  out["help"];
  return out;
}

// What a value of that type is completed with, as bash words for compgen.
std::string bash_values(const std::string& type) {
  if (type == "QUEUE") return R"~(-W "$(rq queue list --names 2>/dev/null)")~";
  if (type == "FILE" || type == "PATH" || type == "DIR" || type == "WHERE") return "-f";
  if (type == "STATE") return R"(-W "prep scheduled que run done relayed err cancelled")";
  if (type == "MARK") return R"(-W "failed timed_out lost killed held exhausted")";
  if (type == "CLASS") return R"(-W "always relaxed")";
  if (type == "SHELL") return R"(-W "bash zsh")";
  return "";
}

std::string zsh_values(const std::string& type) {
  if (type == "QUEUE") return "_rq_queues";
  if (type == "FILE" || type == "PATH" || type == "WHERE") return "_files";
  if (type == "DIR") return "_files -/";
  if (type == "STATE") return "(prep scheduled que run done relayed err cancelled)";
  if (type == "MARK") return "(failed timed_out lost killed held exhausted)";
  if (type == "CLASS") return "(always relaxed)";
  if (type == "SHELL") return "(bash zsh)";
  return " ";
}

std::string join(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

// Inside single quotes, inside the brackets and colons of _arguments.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
      continue;
    }
    if (c == '[' || c == ']' || c == ':' || c == '\\') out.push_back('\\');
    out.push_back(c == '\n' ? ' ' : c);
  }
  return out;
}

// As a pattern of bash.
std::string one_of(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, " | "));
}

// Up to the cases of the verbs.
std::string bash_head(const Families& tree) {
  std::vector<std::string> first;
  std::vector<std::string> with_second;
  std::string second_words;
  for (const auto& [word, second] : tree) {
    first.push_back(word);
    if (second.empty()) continue;
    with_second.push_back(word);
    second_words += fmt::format("    {}) words=\"{}\" ;;\n", word, join(second));
  }
  return fmt::format(R"~(# bash completion of rq. To use it now:  source <(rq completion bash)
# For good:  rq completion bash > ~/.local/share/bash-completion/completions/rq
_rq() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
  local verb='' words='' options='' positional='' value='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${{COMP_WORDS[i]}} in
      --) return ;;
      --dir | --server) ((i++)) ;;
      -*) ;;
      *)
        if [ -z "$verb" ]; then
          verb=${{COMP_WORDS[i]}}
          case $verb in
            {families}) ;;
            *) break ;;
          esac
        else
          verb="$verb ${{COMP_WORDS[i]}}"
          break
        fi
        ;;
    esac
  done
  case $verb in
    '' | help) words="{first}" ;;
{second}  esac
  case $verb in
)~",
                     fmt::arg("families", one_of(with_second)), fmt::arg("first", join(first)),
                     fmt::arg("second", second_words));
}

// What stands behind an option, for those that take a value; after one of `free` nothing is known.
std::string bash_option_values(const VerbFacts& verb) {
  std::map<std::string, std::vector<std::string>> by_values;
  std::vector<std::string> free;
  for (const OptionFacts& option : verb.options) {
    if (option.type.empty()) continue;
    const std::string values = bash_values(option.type);
    auto& list = values.empty() ? free : by_values[values];
    list.insert(list.end(), option.names.begin(), option.names.end());
  }
  if (free.empty() && by_values.empty()) return "";
  std::string out = "      case $before in\n";
  for (const auto& [values, list] : by_values) {
    out += fmt::format("        {}) value='{}' ;;\n", one_of(list), values);
  }
  if (!free.empty()) out += fmt::format("        {}) return ;;\n", one_of(free));
  return out + "      esac\n";
}

std::string bash_case(const VerbFacts& verb) {
  std::vector<std::string> names;
  for (const OptionFacts& option : verb.options) {
    names.insert(names.end(), option.names.begin(), option.names.end());
  }
  std::string out = fmt::format("    '{}')\n      options=\"{}\"\n", verb.name, join(names));
  if (const std::string values = bash_values(verb.positional); !values.empty()) {
    out += fmt::format("      positional='{}'\n", values);
  }
  return out + bash_option_values(verb) + "      ;;\n";
}

constexpr std::string_view kBashEnd = R"~(  esac
  if [ -n "$value" ]; then
    eval "COMPREPLY=(\$(compgen $value -- \"\$word\"))"
  elif [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
  elif [ -n "$words" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  elif [ -n "$positional" ]; then
    eval "COMPREPLY=(\$(compgen $positional -- \"\$word\"))"
  fi
}
complete -o default -F _rq rq
)~";

}  // namespace

std::string bash_completion() {
  const auto all = collect();
  std::string out = bash_head(families(all));
  for (const VerbFacts& verb : all) out += bash_case(verb);
  out += kBashEnd;
  return out;
}

std::string zsh_completion() {
  const auto all = collect();
  const auto tree = families(all);
  std::string out = R"~(#compdef rq
# zsh completion of rq. Put it where $fpath looks:  rq completion zsh > ~/.zfunc/_rq
_rq_queues() {
  local -a queues
  queues=(${(f)"$(rq queue list --names 2>/dev/null)"})
  _describe -t queues queue queues
}
_rq() {
  local -a first second
  local verb=$words[2]
  first=(
)~";
  for (const auto& [word, second] : tree) {
    std::string purpose = second.empty() ? "the verbs" : "…";
    for (const VerbFacts& verb : all) {
      if (verb.name == word) purpose = verb.purpose;
    }
    if (!second.empty()) purpose = join(second);
    out += fmt::format("    '{}:{}'\n", word, zsh_text(purpose));
  }
  out += "  )\n  if (( CURRENT == 2 )); then\n    _describe verb first\n    return\n  fi\n";
  for (const auto& [word, second] : tree) {
    if (second.empty()) continue;
    out += fmt::format(
        "  if [[ $verb == {} ]]; then\n    if (( CURRENT == 3 )); then\n"
        "      second=({})\n      _describe verb second\n      return\n    fi\n"
        "    verb=\"$verb $words[3]\"\n    shift words\n    (( CURRENT-- ))\n  fi\n",
        word, join(second));
  }
  out += "  shift words\n  (( CURRENT-- ))\n  case $verb in\n";
  for (const VerbFacts& verb : all) {
    out += fmt::format("    '{}')\n      _arguments -S", verb.name);
    for (const OptionFacts& option : verb.options) {
      for (const std::string& name : option.names) {
        out += fmt::format(
            " \\\n        '*{}[{}]{}'", name, zsh_text(option.help),
            option.type.empty() ? "" : fmt::format(":{}:{}", option.type, zsh_values(option.type)));
      }
    }
    if (verb.name == "run") {
      out += " \\\n        '*::command:_normal'";
    } else if (!verb.positional.empty()) {
      std::string type = verb.positional.substr(0, verb.positional.find('.'));
      out += fmt::format(" \\\n        '*:{}:{}'", type, zsh_values(type));
    }
    out += "\n      ;;\n";
  }
  return out + "  esac\n}\n_rq \"$@\"\n";
}

Action declare_completion(CLI::App& app, Context&) {
  auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "bash or zsh")->required()->type_name("SHELL");
  return [shell]() -> Result<int> {
    if (*shell != "bash" && *shell != "zsh") {
      return fail(Code::bad_value, fmt::format("shell '{}': not known", *shell),
                  "rq completion bash, or rq completion zsh");
    }
    Context::print(*shell == "bash" ? bash_completion() : zsh_completion());
    return 0;
  };
}

}  // namespace rq::cli
