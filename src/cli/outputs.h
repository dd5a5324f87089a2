#pragma once
// The standard output and the standard error of a command of `rq run`, told apart. The log of its
// message holds both as one text. Whoever waits for the command on the same machine, as the same
// user, also gets them over a socket. Its name goes with the message; where nobody of that user
// listens there any more, the log is all there is.
#include <sys/types.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "cli/terminal.h"

namespace rq::cli {

struct OutputsAddress {
  std::string name;  // of a socket that has no file
  uid_t uid = 0;     // of whoever listens there
  // Both go to one place there: they come in their order, as one.
  bool as_one = false;
};

// The side that waits. What comes is printed at once, by a thread of its own.
class OutputsReader {
 public:
  // `sender`: besides this user and root, who may send (the user that the server runs as).
  // Absent: the machine gives no such socket.
  [[nodiscard]] static std::unique_ptr<OutputsReader> listen(uid_t sender);
  ~OutputsReader();
  OutputsReader(const OutputsReader&) = delete;
  OutputsReader& operator=(const OutputsReader&) = delete;

  [[nodiscard]] const OutputsAddress& address() const { return address_; }
  // How many attempts send, or have sent, their outputs here. Asked when there is output in the log
  // of an attempt: by then it has come, if it comes at all.
  [[nodiscard]] int attempts() const;
  // The command has ended: prints what is on its way. False: something is missing.
  [[nodiscard]] bool finish();

 private:
  OutputsReader(base::Fd listener, OutputsAddress address, uid_t sender);
  void run();
  bool accept_one();
  // False: no more will come.
  bool print_one(int from);

  const base::Fd listener_;
  const base::Fd end_;  // readable when finish() was called
  const OutputsAddress address_;
  const uid_t sender_;
  std::atomic<int> attempts_ = 0;
  std::atomic<int> whole_ = 0;  // of these, that were sent to their end
  std::vector<base::Fd> senders_;
  std::vector<char> buffer_;
  AnsiFilter out_;
  AnsiFilter err_;
  std::thread thread_;  // last: it uses all of the above
};

// The side of the command. Runs in the process that starts it.
class OutputsWriter {
 public:
  // Absent: nobody of that user listens there.
  [[nodiscard]] static std::optional<OutputsWriter> connect(const OutputsAddress& address);

  // Before fork(); and in the child, which writes into the pipes from then on.
  [[nodiscard]] base::Result<void> make_pipes();
  void become_outputs() const;
  // In the parent: carries what comes to the log (standard output) and to whoever waits, until
  // `child` has ended and what it wrote is there. A reader that takes nothing for long is left.
  void carry(pid_t child);

 private:
  OutputsWriter(base::Fd socket, bool as_one) : socket_(std::move(socket)), as_one_(as_one) {}
  // False: nothing is there now, or ever.
  bool carry_one(std::size_t which);
  void send(char kind, std::string_view bytes);

  base::Fd socket_;
  bool as_one_;
  std::array<base::Fd, 2> from_;  // standard output, standard error
  std::array<base::Fd, 2> to_;
};

}  // namespace rq::cli
