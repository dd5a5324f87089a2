// An HTTP server of one file, for tests of http/ with bodies of any size:
//
//   http_file_server SOCKET FILE
//
// PUT /file writes FILE, GET /file sends it, GET /generated?bytes=N sends N bytes that are made up.
// Ends when its standard input does.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "http/query.h"
#include "http/server.h"

namespace {

using namespace rq;  // NOLINT(google-build-using-namespace): a program of its own

class FileSink final : public http::BodySink {
 public:
  explicit FileSink(const char* path)
      : file_(::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {}
  Next take(std::string_view piece) override {
    while (!piece.empty()) {
      const ssize_t written = ::write(file_.get(), piece.data(), piece.size());
      if (written <= 0) {
        failed = true;
        break;
      }
      piece.remove_prefix(static_cast<std::size_t>(written));
    }
    return Next::more;
  }
  bool failed = false;

 private:
  base::Fd file_;
};

class Zeros final : public http::Source {
 public:
  explicit Zeros(std::uint64_t bytes) : left_(bytes) {}
  Next read(std::string& out, std::size_t bytes) override {
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes));
    out.append(piece, '0');
    left_ -= piece;
    return left_ == 0 ? Next::end : Next::more;
  }

 private:
  std::uint64_t left_;
};

class FileSite final : public http::Site {
 public:
  enum : std::size_t { kPut, kGet, kGenerated };
  static constexpr std::array kRoutes{
      http::Route{http::Method::put, "/file", 0, {http::Body::Kind::some, UINT64_MAX / 2}},
      http::Route{http::Method::get, "/file", 0, {}},
      http::Route{http::Method::get, "/generated", 0, {}},
  };

  explicit FileSite(const char* path) : path_(path) {}

  std::optional<base::Error> admit(const http::Head&, const net::Caller&) override {
    return std::nullopt;
  }
  std::optional<base::Error> permit(const http::Route&, const net::Caller&) override {
    return std::nullopt;
  }
  base::Result<http::Intake> open(http::Exchange&, const http::Request&) override {
    http::Intake intake;
    intake.sink = std::make_unique<FileSink>(path_);
    return intake;
  }
  void serve(http::Exchange& x, const http::Request& request) override {
    if (request.route == kPut) {
      const bool failed = static_cast<FileSink*>(request.sink)->failed;
      return x.reply(failed ? 507 : 201, "text/plain", "");
    }
    if (request.route == kGet) {
      base::Fd file(::open(path_, O_RDONLY | O_CLOEXEC));
      struct stat info {};
      if (::fstat(file.get(), &info) != 0) {
        return x.refuse(base::fail(base::Code::not_found, "there is no file yet", ""));
      }
      return x.reply_file(200, "application/octet-stream",
                          {.file = std::move(file),
                           .offset = 0,
                           .bytes = static_cast<std::uint64_t>(info.st_size)});
    }
    std::int64_t bytes = 0;
    auto query = http::Query::parse(request.query);
    if (!query || !query->integer("bytes", bytes, 0, INT64_MAX)) {
      return x.refuse(base::fail(base::Code::bad_value, "give ?bytes=N", ""));
    }
    x.reply_source(200, "application/octet-stream",
                   std::make_unique<Zeros>(static_cast<std::uint64_t>(bytes)), std::nullopt);
  }
  void append_error(std::string& body, const base::Error& error) const override {
    body += error.message;
  }
  [[nodiscard]] std::string_view error_type() const override { return "text/plain"; }

 private:
  const char* path_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: http_file_server SOCKET FILE\n");
    return 2;
  }
  net::Loop loop;
  FileSite site(argv[2]);
  http::Server server(loop, site, FileSite::kRoutes);
  auto listener = net::listen_unix(argv[1]);
  if (!listener || !server.listen(std::move(*listener))) return 1;
  loop.start();
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  loop.stop();
  return 0;
}
