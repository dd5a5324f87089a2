#include "cli/outputs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "base/limits.h"

namespace rq::cli {
namespace {

using base::Fd;

// A packet is its kind and the bytes.
constexpr char kOut = 1;
constexpr char kErr = 2;
constexpr char kEnd = 3;
constexpr std::size_t kPacketBytesMax = 32 * base::kKiB;
constexpr int kSendersMax = 64;  // one an attempt; each ends before the next begins
// A reader that takes nothing for so long (a stopped pager) does not hold the command up any more.
constexpr timeval kSendTime{.tv_sec = 10, .tv_usec = 0};

Fd socket_of_packets() { return Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); }

// A name without a file: it begins with a NUL byte.
socklen_t put_name(const std::string& name, sockaddr_un& address) {
  address.sun_family = AF_UNIX;
  const std::size_t size = std::min(name.size(), sizeof address.sun_path - 1);
  std::memcpy(address.sun_path + 1, name.data(), size);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
}

std::optional<uid_t> user_at(int socket) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return std::nullopt;
  return who.uid;
}

bool write_all(int to, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(to, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// A terminal, or a file or pipe that was given for both.
bool outputs_are_one() {
  struct stat out {};
  struct stat err {};
  return ::fstat(STDOUT_FILENO, &out) == 0 && ::fstat(STDERR_FILENO, &err) == 0 &&
         out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}

}  // namespace

// --- Whoever waits ---

std::unique_ptr<OutputsReader> OutputsReader::listen(uid_t sender) {
  std::array<unsigned char, 16> random{};
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    return nullptr;
  }
  OutputsAddress address{.name = "rq-run-", .uid = ::geteuid(), .as_one = outputs_are_one()};
  for (const unsigned char byte : random) address.name += fmt::format("{:02x}", byte);
  Fd listener = socket_of_packets();
  sockaddr_un name{};
  const socklen_t size = put_name(address.name, name);
  if (!listener.is_open() ||
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&name), size) != 0 ||
      ::listen(listener.get(), kSendersMax) != 0) {
    return nullptr;
  }
  return std::unique_ptr<OutputsReader>(
      new OutputsReader(std::move(listener), std::move(address), sender));
}

OutputsReader::OutputsReader(Fd listener, OutputsAddress address, uid_t sender)
    : listener_(std::move(listener)),
      end_(::eventfd(0, EFD_CLOEXEC)),
      address_(std::move(address)),
      sender_(sender),
      buffer_(1 + kPacketBytesMax),
      out_(colours_on(stdout)),
      err_(colours_on(stderr)),
      thread_([this] { run(); }) {}

OutputsReader::~OutputsReader() { static_cast<void>(finish()); }

int OutputsReader::attempts() const {
  // In this order: run() counts one before it takes it from the listener.
  pollfd waiting{.fd = listener_.get(), .events = POLLIN, .revents = 0};
  const bool one = ::poll(&waiting, 1, 0) > 0;
  return attempts_.load() + (one ? 1 : 0);
}

bool OutputsReader::finish() {
  if (thread_.joinable()) {
    const std::uint64_t one = 1;
    static_cast<void>(write_all(end_.get(), {reinterpret_cast<const char*>(&one), sizeof one}));
    thread_.join();
  }
  return whole_.load() == attempts_.load();
}

void OutputsReader::run() {
  bool ending = false;
  std::vector<pollfd> watched;
  while (true) {
    watched.clear();
    watched.push_back({.fd = listener_.get(), .events = POLLIN, .revents = 0});
    watched.push_back({.fd = ending ? -1 : end_.get(), .events = POLLIN, .revents = 0});
    for (const Fd& sender : senders_) {
      watched.push_back({.fd = sender.get(), .events = POLLIN, .revents = 0});
    }
    const int ready = ::poll(watched.data(), watched.size(), ending ? 0 : -1);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return;  // at the end: all that was there has been read
    ending = ending || watched[1].revents != 0;
    for (std::size_t i = watched.size(); i-- > 2;) {
      const auto sender = senders_.begin() + static_cast<std::ptrdiff_t>(i - 2);
      if (watched[i].revents != 0 && !print_one(sender->get())) senders_.erase(sender);
    }
    if (watched[0].revents != 0 && !accept_one()) return;
  }
}

bool OutputsReader::accept_one() {
  ++attempts_;
  Fd sender(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const auto uid = sender.is_open() ? user_at(sender.get()) : std::nullopt;
  const bool known = uid && (*uid == 0 || *uid == ::geteuid() || *uid == sender_);
  if (!known || senders_.size() >= kSendersMax) {
    --attempts_;
    return sender.is_open();
  }
  senders_.push_back(std::move(sender));
  return true;
}

bool OutputsReader::print_one(int from) {
  const ssize_t n = ::recv(from, buffer_.data(), buffer_.size(), 0);
  if (n < 0 && errno == EINTR) return true;
  if (n <= 0) return false;
  const std::string_view bytes(buffer_.data() + 1, static_cast<std::size_t>(n) - 1);
  if (buffer_[0] == kEnd) {
    ++whole_;
    return false;
  }
  const bool is_out = buffer_[0] == kOut;
  std::FILE* to = is_out ? stdout : stderr;
  const bool raw = !is_terminal(::fileno(to));
  const std::string safe = raw ? std::string() : (is_out ? out_ : err_).feed(bytes);
  const std::string_view shown = raw ? bytes : std::string_view(safe);
  std::fwrite(shown.data(), 1, shown.size(), to);
  std::fflush(to);
  return true;
}

// --- The command ---

std::optional<OutputsWriter> OutputsWriter::connect(const OutputsAddress& address) {
  if (address.name.empty()) return std::nullopt;
  Fd socket = socket_of_packets();
  sockaddr_un name{};
  const socklen_t size = put_name(address.name, name);
  if (!socket.is_open() ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), size) != 0 ||
      user_at(socket.get()) != address.uid ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kSendTime, sizeof kSendTime) != 0) {
    return std::nullopt;
  }
  return OutputsWriter(std::move(socket), address.as_one);
}

base::Result<void> OutputsWriter::make_pipes() {
  for (std::size_t i = 0; i < from_.size(); ++i) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      return base::fail(base::Code::internal, fmt::format("pipe: {}", base::text_of_errno(errno)));
    }
    from_.at(i).reset(ends[0]);
    to_.at(i).reset(ends[1]);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  }
  return {};
}

void OutputsWriter::become_outputs() const {
  ::dup2(to_[0].get(), STDOUT_FILENO);
  ::dup2(to_.at(as_one_ ? 0 : 1).get(), STDERR_FILENO);
}

void OutputsWriter::carry(pid_t child) {
  for (Fd& end : to_) end.reset();
  const Fd ended(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  std::array<pollfd, 3> watched{};
  watched[2] = {.fd = ended.get(), .events = POLLIN, .revents = 0};
  while (watched[2].revents == 0 && (from_[0].is_open() || from_[1].is_open())) {
    for (std::size_t i = 0; i < from_.size(); ++i) {
      watched.at(i) = {.fd = from_.at(i).get(), .events = POLLIN, .revents = 0};
    }
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) break;
    for (std::size_t i = 0; i < from_.size(); ++i) {
      if (watched.at(i).revents != 0) static_cast<void>(carry_one(i));
    }
  }
  // What it left to others may write for ever: only what is there now.
  for (std::size_t i = 0; i < from_.size(); ++i) {
    while (carry_one(i)) {
    }
  }
  send(kEnd, {});
}

bool OutputsWriter::carry_one(std::size_t which) {
  Fd& from = from_.at(which);
  if (!from.is_open()) return false;
  std::array<char, kPacketBytesMax> buffer{};
  const ssize_t n = ::read(from.get(), buffer.data(), buffer.size());
  if (n < 0 && errno == EINTR) return true;
  if (n < 0 && errno == EAGAIN) return false;
  if (n <= 0) {
    from.reset();
    return false;
  }
  const std::string_view bytes(buffer.data(), static_cast<std::size_t>(n));
  static_cast<void>(write_all(STDOUT_FILENO, bytes));
  send(which == 0 ? kOut : kErr, bytes);
  return true;
}

void OutputsWriter::send(char kind, std::string_view bytes) {
  if (!socket_.is_open()) return;
  std::string packet(1, kind);
  packet += bytes;
  ssize_t n = 0;
  while ((n = ::send(socket_.get(), packet.data(), packet.size(), MSG_NOSIGNAL)) < 0 &&
         errno == EINTR) {
  }
  if (n < 0) socket_.reset();
}

}  // namespace rq::cli
