#pragma once
// The stations, as the queues of the server make them: which there are, what they run, and whether
// that can be run, which the server is told.
// Thread: the loop's.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "client/http_client.h"
#include "worker/station.h"

namespace rq::worker {

class Roster {
 public:
  struct Listener {
    // It may have other slots now, be paused, or be able to run its script again.
    std::function<void(const StationPtr&)> on_changed;
    // Its script cannot be run, or it is gone: nothing of it is begun any more.
    std::function<void(const StationPtr&)> on_closed;
    std::function<void()> on_loaded;  // all queues have been read
  };
  // `dir`: where scripts are looked for. `probe`: whether one would start.
  Roster(boost::asio::io_context& io, client::HttpClient& client, std::string dir,
         Station::Probe probe, Listener listener);

  // Tries until it is done, or until pause().
  void load_all();
  // There is no server: the next load_all() comes with the next one.
  void pause();
  void load(const std::string& queue);
  // For a script that goes on. Nothing is asked for until its settings are loaded.
  [[nodiscard]] StationPtr make(const std::string& queue);
  void remove(const std::string& queue);
  // What keeps the script from being run; empty: nothing. It is looked at again from time to time.
  void set_error(const StationPtr& station, std::string error);

  [[nodiscard]] const std::map<std::string, StationPtr>& stations() const { return stations_; }

 private:
  void get(std::string target, client::Done done);
  void loaded(const base::Result<client::Reply>& reply);
  void apply(QueueView view);
  void tell_error(const StationPtr& station);
  void watch_errors();

  boost::asio::io_context& io_;
  client::HttpClient& client_;
  const std::string dir_;
  const Station::Probe probe_;
  const Listener listener_;
  boost::asio::steady_timer load_timer_, error_timer_;
  bool loading_ = false;
  bool error_timer_armed_ = false;
  std::map<std::string, StationPtr> stations_;
};

}  // namespace rq::worker
