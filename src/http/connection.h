#pragma once
// One HTTP connection: reads, parses, keeps replies in the order of the requests, writes.
//
// It holds a bounded piece of memory, whatever the other side asks: nothing is read behind a
// request that is served alone, nor while much is unsent; large bodies share a budget.
//
// Thread: loop. When it is closed the server deletes it, once the handler that runs now is over.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/admission.h"
#include "http/exchange.h"
#include "http/parser.h"
#include "http/reply_line.h"
#include "http/router.h"
#include "net/link.h"

namespace rq::http {

class Connection final : public net::Link {
 public:
  Connection(Server& server, net::Arrival&& arrival);

  [[nodiscard]] const net::Caller& who() const { return who_; }
  [[nodiscard]] ReplyLine& line() { return line_; }

  // --- For Exchange ---
  // Decides what becomes of the body when its reply comes before it.
  void before_reply(Slot& slot);
  void finished(Slot& slot);  // its reply is complete
  void begin_events(Slot& slot);
  void write_events(Slot& slot, std::string_view text);
  void watch(Slot& slot, bool on);
  void go_on(Slot& slot);
  // The reply cannot go on: closes at the next flush.
  void cut_off();

  // --- For Server ---
  // Every kSweepEvery.
  void sweep();
  // Ends when what was asked for is answered.
  void close_when_idle();
  // There may be room in the budget. False: not enough.
  [[nodiscard]] bool on_budget();

 private:
  enum class Stage : std::uint8_t {
    open,
    ended,      // the other side sends no more; what it asked for is still answered
    lingering,  // all is said; waits for the other side to read it and close
    closed,
  };

  // --- Reading ---
  [[nodiscard]] bool wants_to_read() const override { return reading_; }
  void read() override;
  [[nodiscard]] bool may_parse() const;
  void on_data(std::string_view data);
  [[nodiscard]] std::size_t parse(std::string_view data);
  void on_head();
  void begin_body(Slot& slot);
  void on_request();
  void end_request();
  void refuse_rest(int status, const base::Error& error);
  void on_end_of_input();
  [[nodiscard]] Request request() const;

  // --- Writing ---
  // Writes what is there and reads on if reading had stopped. Once a turn.
  void flush() override;
  [[nodiscard]] bool is_idle() const override;
  enum class Sent : std::uint8_t { all, blocked, later };
  [[nodiscard]] Sent send_out();
  [[nodiscard]] Sent send_source(Slot& slot);
  [[nodiscard]] Sent send_range(Slot& slot);
  void linger();
  void close() override;
  void sweep_reading();

  Server& server_;
  const net::Caller who_;

  Stage stage_ = Stage::open;
  bool reading_ = true;
  bool stalled_ = false;       // reading stopped because of back-pressure
  bool last_request_ = false;  // no further request is taken
  bool give_up_ = false;       // nor the rest of the body that is coming
  bool in_turn_ = false;       // parse() runs
  bool cut_ = false;
  int events_ = 0;                  // streams
  int watched_ = 0;                 // exchanges that end when the other side hangs up
  std::uint32_t quiet_sweeps_ = 0;  // since the last byte went in or out
  std::uint32_t span_sweeps_ = 0;   // of the head, of the body's span, of lingering
  std::uint64_t span_from_ = 0;     // bytes of the body when the span began

  // The request that is being read.
  Head head_;
  std::string body_;
  std::optional<RequestParser> parser_;
  std::uint64_t receiving_ = 0;  // its number, from its head on; 0: none
  Admitted admitted_;            // where the request goes that comes in
  std::unique_ptr<BodySink> sink_;
  std::size_t budget_wanted_ = 0;  // waits for so much

  std::string in_;  // bytes that are not parsed yet
  ReplyLine line_;
  std::size_t held_bytes_ = 0;
};

}  // namespace rq::http
