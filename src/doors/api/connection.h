#pragma once
// One HTTP connection: reads, parses, keeps replies in the order of the requests, writes.
//
// Thread: loop. When it is closed the door deletes it, once the handler that runs now is over.
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "doors/api/exchange.h"
#include "doors/api/parser.h"
#include "net/link.h"

namespace rq::doors::api {

class Connection final : public net::Link {
 public:
  Connection(HttpDoor& door, net::Arrival&& arrival);

  // The slot of a request that is not answered yet; null when it is.
  [[nodiscard]] Slot* find(std::uint64_t request);

  // For Exchange: where the bytes of this slot's reply go.
  [[nodiscard]] std::string& out_of(Slot& slot);
  void finished(Slot& slot);  // its reply is complete
  void begin_stream(Slot& slot);
  void wrote_stream(const Slot& slot);  // checks the backlog
  [[nodiscard]] std::size_t unsent() const { return out_.size() - out_sent_; }
  void wait_begins(Slot& slot);
  void wait_ends(Slot& slot);

  // Every kHttpSweepEvery.
  void sweep();
  // Ends at once; what is not sent is lost.
  void close();
  // Ends when what was asked for is answered.
  void close_when_idle();

 private:
  enum class Stage : std::uint8_t {
    open,
    ended,      // the peer sends no more; what it asked for is still answered
    lingering,  // all is said; waits for the peer to read it and close
    closed,
  };

  [[nodiscard]] bool wants_to_read() const override { return reading_; }
  void read() override;
  // Writes what is there and reads on if reading had stopped. Once a turn.
  void flush() override;

  [[nodiscard]] bool may_read() const;
  void read_on();
  void on_data(std::string_view data);
  [[nodiscard]] std::size_t parse(std::string_view data);
  void on_head();
  void check_head();
  void check_origin();
  void on_request();
  void on_protocol_error(const boost::beast::error_code& error);
  void on_end_of_input();
  [[nodiscard]] Slot& add_slot();
  void push_raw(std::string_view bytes);
  void refuse_and_close(const base::Error& error);
  void advance();
  void resume();
  void linger();

  HttpDoor& door_;

  Stage stage_ = Stage::open;
  bool reading_ = true;
  bool stalled_ = false;       // reading stopped because of back-pressure
  bool last_request_ = false;  // no further request is taken
  bool in_turn_ = false;       // the read handler runs: it flushes when it is done
  bool cut_off_ = false;       // too slow for its stream
  int streams_ = 0;
  int waits_ = 0;                   // reserves that may wait in the engine
  std::uint32_t quiet_sweeps_ = 0;  // since the last byte went in or out

  // The request that is being read.
  Head head_;
  std::string body_;
  std::optional<RequestParser> parser_;
  bool head_seen_ = false;
  Router::Match match_;
  std::optional<base::Error> refusal_;
  std::unique_ptr<BodySink> sink_;

  std::string in_;  // bytes that are not parsed yet
  std::string out_;
  std::size_t out_sent_ = 0;
  std::deque<Slot> slots_;
  std::uint64_t next_request_ = 1;
  std::size_t held_bytes_ = 0;
};

}  // namespace rq::doors::api
