#include "cli/verb.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

#include "cli/text.h"
#include "core/json_fields.h"

namespace rq::cli {
using base::Result;

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string Context::directory() const {
  if (!dir.empty()) return dir;
  const std::string from_environment = environment("RQ_DIR");
  return from_environment.empty() ? "./var" : from_environment;
}

Result<client::Server> Context::address() const {
  if (!server.empty()) return client::parse_server(server);
  const std::string from_environment = environment("RQ_SERVER");
  if (dir.empty() && !from_environment.empty()) {
    auto found = client::parse_server(from_environment);
    if (!found) return named(std::move(found).error(), "RQ_SERVER");
    return found;
  }
  return client::server_of_dir(directory());
}

Result<client::Client*> Context::client() {
  if (!client_) {
    RQ_TRY_ASSIGN(where, address());
    client_ = std::make_unique<client::Client>(std::move(where));
  }
  return client_.get();
}

std::optional<std::size_t> Context::width() const {
  const auto size = terminal_size();
  return size ? std::optional(size->columns) : std::nullopt;
}

void Context::print(const Table& table, std::string_view when_empty) const {
  if (table.empty() && !when_empty.empty()) {
    std::fprintf(stderr, "%s\n", std::string(when_empty).c_str());
    return;
  }
  print(table.text(colours(), width()));
}

void Context::print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void Context::print_json(const json::value& value) { print(core::plain_json(value) + "\n"); }

// --- Fields ---

const json::value& at(const json::value& value, std::string_view name) {
  static const json::value null;
  if (!value.is_object()) return null;
  const json::value* found = value.get_object().if_contains(name);
  return found == nullptr ? null : *found;
}

CLI::Option* add_repeated(CLI::App& app, const std::string& name, std::vector<std::string>& into,
                          std::string help) {
  return app.add_option(name, into, std::move(help))
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
}

std::string text_at(const json::value& value, std::string_view name) {
  const json::value& found = at(value, name);
  if (found.is_string()) return {found.get_string().data(), found.get_string().size()};
  return found.is_null() ? "" : core::plain_json(found);
}

std::optional<double> number_at(const json::value& value, std::string_view name) {
  const json::value& found = at(value, name);
  if (found.is_double()) return found.get_double();
  if (found.is_int64()) return static_cast<double>(found.get_int64());
  if (found.is_uint64()) return static_cast<double>(found.get_uint64());
  return std::nullopt;
}

std::string why_text(const json::value& reason) {
  const std::string remedy = text_at(reason, "remedy");
  return text_at(reason, "text") + (remedy.empty() ? "" : "; " + remedy);
}

std::int64_t count_at(const json::value& value, std::string_view name) {
  const json::value& found = at(value, name);
  return found.is_int64() ? found.get_int64() : 0;
}

std::string counts_text(const json::value& counts) {
  std::string out;
  if (!counts.is_object()) return out;
  for (const auto& [name, value] : counts.get_object()) {
    if (!value.is_int64() || value.get_int64() == 0) continue;
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", show_count(value.get_int64()),
                       std::string_view(name.data(), name.size()));
  }
  return out.empty() ? "none" : out;
}

const json::array& items_at(const json::value& value, std::string_view name) {
  static const json::array none;
  const json::value& found = at(value, name);
  return found.is_array() ? found.get_array() : none;
}

std::string age_of(const json::value& value, std::string_view name) {
  std::string text = text_at(value, name);
  if (text.empty()) return "";
  const auto now = std::chrono::time_point_cast<base::Millis>(std::chrono::system_clock::now());
  const auto then = parse_time(text, now);
  if (!then) return text;
  return show_duration(std::chrono::duration<double>(now - *then).count());
}

// --- Errors ---

std::optional<base::Error> error_in(const json::value& item) {
  if (!at(item, "error").is_object()) return std::nullopt;
  return client::error_in(item.get_object());
}

void print_error(std::string_view who, const base::Error& error, bool as_json) {
  std::fflush(stdout);
  std::string text;
  if (as_json) {
    json::object inner{{"code", base::name_of(error.code)}, {"message", error.message}};
    if (!error.remedy.empty()) inner["remedy"] = error.remedy;
    text = json::serialize(json::object{{"error", std::move(inner)}}) + "\n";
  } else {
    const bool colours = colours_on(stderr);
    AnsiFilter clean(false);
    text = fmt::format("{} {}\n", paint(Ink::red, fmt::format("{}:", who), colours),
                       clean.feed(error.message));
    if (!error.remedy.empty()) text += fmt::format("  {}\n", clean.feed(error.remedy));
  }
  std::fwrite(text.data(), 1, text.size(), stderr);
}

base::Error named(base::Error error, std::string_view names) {
  const std::size_t comma = names.rfind(',');
  const std::string_view name = comma == std::string_view::npos ? names : names.substr(comma + 1);
  error.message = fmt::format("{}: {}", name, error.message);
  return error;
}

// --- Paths ---

std::string message_path(std::string_view id, std::string_view below) {
  std::string path = "/v1/messages/";
  if (id.starts_with("key:")) {
    path += "key:" + client::url_encode(id.substr(4));
  } else {
    path += client::url_encode(id);
  }
  return path + std::string(below);
}

}  // namespace rq::cli
