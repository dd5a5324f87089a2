// rq tls self-signed: a certificate for a first try.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <vector>

#include "base/certificate.h"
#include "base/fd.h"
#include "cli/verbs.h"
#include "net/certificate.h"

namespace rq::cli {
using base::Code;
using base::fail;
using base::Result;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kDaysUsual = 365;
constexpr std::int64_t kDaysMost = 3'650;

struct Options {
  std::vector<std::string> names;
  std::int64_t days = kDaysUsual;
  std::string out;
};

std::string name_of_machine() {
  std::array<char, 256> host{};
  return ::gethostname(host.data(), host.size() - 1) == 0 ? host.data() : "localhost";
}

// Never in the place of another: somebody may be using it.
Result<void> write_new(const fs::path& path, std::string_view text, mode_t mode) {
  const base::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file.is_open() && errno == EEXIST) {
    return fail(Code::exists, fmt::format("{} is there already", path.string()),
                "move it away, or name another folder with --out");
  }
  const bool written = file.is_open() && ::write(file.get(), text.data(), text.size()) ==
                                             static_cast<ssize_t>(text.size());
  if (written) return {};
  return fail(Code::internal,
              fmt::format("cannot write {}: {}", path.string(), base::text_of_errno(errno)),
              "see to the disk and to the rights of the folder");
}

Result<int> make(Context& context, Options options) {
  if (options.names.empty()) options.names = {name_of_machine(), "localhost", "127.0.0.1", "::1"};
  RQ_TRY_ASSIGN(made, net::make_self_signed(options.names, std::chrono::days{options.days}));
  std::error_code failed;
  const fs::path folder =
      fs::absolute(options.out.empty() ? context.directory() : options.out, failed)
          .lexically_normal();
  const fs::path certificate = folder / "tls.crt";
  const fs::path key = folder / "tls.key";
  RQ_TRY(write_new(key, made.key, 0600));
  if (auto written = write_new(certificate, made.certificate, 0644); !written) {
    ::unlink(key.c_str());
    return written.error();
  }
  const std::string pin = base::fingerprint_of(made.certificate);
  if (context.json) {
    Context::print_json(
        {{"certificate", certificate.string()}, {"key", key.string()}, {"pin", pin}});
    return 0;
  }
  Context::print(fmt::format("tls_certificate = \"{}\"\ntls_key = \"{}\"\n", certificate.string(),
                             key.string()));
  std::fprintf(stderr, "  for rq.toml; clients: --tls-ca %s, or --tls-pin %s\n",
               certificate.c_str(), pin.c_str());
  return 0;
}

}  // namespace

Action declare_tls_self_signed(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  add_repeated(app, "--name", options->names,
               "Host or address that clients call it by; may be repeated (this machine's)")
      ->type_name("HOST");
  app.add_option("--days", options->days, fmt::format("How long it is good ({})", kDaysUsual))
      ->check(CLI::Range(std::int64_t{1}, kDaysMost))
      ->type_name("DAYS");
  app.add_option("--out", options->out, "Folder for tls.crt and tls.key (the server's directory)")
      ->type_name("FOLDER");
  return [&context, options] { return make(context, *options); };
}

}  // namespace rq::cli
