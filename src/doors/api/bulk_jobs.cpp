#include "doors/api/bulk_jobs.h"

#include <fmt/format.h>

#include <algorithm>

#include <boost/asio/post.hpp>

#include "base/limits.h"

namespace rq::doors::api {

using base::Code;
using base::Result;
using core::Action;
using core::Keep;
using Phase = BulkJob::Phase;

std::string_view name_of(Phase phase) {
  switch (phase) {
    case Phase::counting:
      return "counting";
    case Phase::acting:
      return "acting";
    case Phase::done:
      return "done";
    case Phase::cancelled:
      return "cancelled";
    case Phase::failed:
      return "failed";
  }
  return {};
}

BulkJobs::BulkJobs(pipeline::Desk& desk, pipeline::Readers& readers)
    : LoopDoor(desk), readers_(readers) {}

BulkJobs::~BulkJobs() = default;

// --- For the handlers ---

Result<const BulkJob*> BulkJobs::begin(BulkOrder&& order) {
  const auto working =
      std::count_if(jobs_.begin(), jobs_.end(), [](const auto& job) { return !job.second.over(); });
  if (static_cast<std::size_t>(working) >= kBulkRunningMax) {
    return base::fail(Code::busy, fmt::format("{} bulk actions are at work already", working),
                      "wait for one of them, or cancel it: GET /v1/bulk lists them");
  }
  forget_oldest();
  Work& work = jobs_[++last_];
  work.number = last_;
  work.order = std::move(order);
  work.search.filter = work.order.filter;
  work.started = desk().pipeline().clock().now();
  ask(work, core::ListQueues{});
  return &work;
}

const BulkJob* BulkJobs::find(std::uint64_t number) const {
  const auto found = jobs_.find(number);
  return found == jobs_.end() ? nullptr : &found->second;
}

std::vector<const BulkJob*> BulkJobs::all() const {
  std::vector<const BulkJob*> out;
  for (const auto& [number, work] : jobs_) out.push_back(&work);
  return out;
}

void BulkJobs::cancel(std::uint64_t number) {
  if (Work* work = working(number)) work->cancel_asked = true;
}

void BulkJobs::cancel_all() {
  for (auto& [number, work] : jobs_) {
    if (!work.over()) end(work, Phase::cancelled);
  }
}

void BulkJobs::wait(std::uint64_t number, std::optional<base::Millis> longest, Then then) {
  const std::uint64_t key = ++waits_;
  Waiting& waiting = jobs_.at(number).waiting[key];
  waiting.then = std::move(then);
  if (!longest) return;
  waiting.timer = std::make_unique<boost::asio::steady_timer>(desk().loop().io(), *longest);
  waiting.timer->async_wait([this, number, key](const boost::system::error_code& error) {
    Work* work = error ? nullptr : working(number);
    if (work == nullptr) return;
    const auto node = work->waiting.extract(key);
    if (!node.empty()) node.mapped().then(*work);
  });
}

void BulkJobs::forget_oldest() {
  auto over = static_cast<std::size_t>(
      std::count_if(jobs_.begin(), jobs_.end(), [](const auto& job) { return job.second.over(); }));
  for (auto at = jobs_.begin(); at != jobs_.end() && over >= kBulkOverMax;) {
    if (at->second.over()) {
      at = jobs_.erase(at);
      --over;
    } else {
      ++at;
    }
  }
}

// --- Steps ---

BulkJobs::Work* BulkJobs::working(std::uint64_t number) {
  const auto found = jobs_.find(number);
  return found == jobs_.end() || found->second.over() ? nullptr : &found->second;
}

void BulkJobs::ask(const Work& work, core::Command&& command) {
  desk().submit({.door = door_number(),
                 .connection = work.number,
                 .request = 0,
                 .caller_uid = work.order.caller_uid},
                std::move(command));
}

void BulkJobs::on_deliveries(std::vector<core::Delivery>& deliveries) {
  for (core::Delivery& delivery : deliveries) {
    Work* work = working(delivery.ticket.connection);
    if (work == nullptr) continue;
    if (const auto* error = std::get_if<base::Error>(&delivery.reply)) {
      fail(*work, *error);
    } else if (auto* listed = std::get_if<core::QueuesListed>(&delivery.reply)) {
      know_queues(*work, *listed);
      look(*work);
    } else {
      acted(*work, std::get<core::ActDone>(delivery.reply));
    }
  }
}

void BulkJobs::know_queues(Work& work, core::QueuesListed& listed) {
  for (core::QueueShown& shown : listed.queues) {
    const core::QueueId id = shown.queue->id;
    work.queues.emplace(id, std::move(*shown.queue));
  }
}

void BulkJobs::look(Work& work) {
  if (work.cancel_asked) return end(work, Phase::cancelled);
  const std::int64_t met = work.phase == Phase::counting ? work.matched : work.met;
  const std::int64_t step = work.phase == Phase::counting ? kBulkCountStep : core::kStepMax;
  work.search.limit = std::min(step, work.order.limit - met);
  const bool posted = readers_.post(
      [this, &io = desk().loop().io(), number = work.number,
       search = work.search](core::Reader& reader) {
        boost::asio::post(
            io, [this, number, page = reader.find(search)]() mutable { on_found(number, page); });
      },
      pipeline::Readers::Kind::search);
  if (!posted) {
    fail(work, base::fail(Code::busy, "too many look-ups are waiting",
                          "repeat the action in a moment: it does the rest"));
  }
}

void BulkJobs::on_found(std::uint64_t number, Result<core::FoundPage>& page) {
  Work* work = working(number);
  if (work == nullptr) return;
  if (!page) return fail(*work, page.error());
  // What comes meanwhile, clones among it, is not met.
  work->search.until = page->until;
  work->last_step = !page->after;
  if (page->after) work->search.after = *page->after;
  if (work->phase == Phase::counting) {
    count(*work, *page);
  } else {
    act(*work, *page);
  }
}

bool BulkJobs::stays(const Work& work, const core::Found& found) {
  if (work.order.act.action != Action::move) return false;
  const auto queue = work.queues.find(found.queue);
  return queue != work.queues.end() && queue->second.name == work.order.act.queue;
}

bool BulkJobs::ends_later(const Work& work, core::State state) {
  const Action action = work.order.act.action;
  return state == core::State::run && (action == Action::cancel || action == Action::kill);
}

void BulkJobs::count(Work& work, const core::FoundPage& page) {
  for (const core::Found& found : page.found) {
    if (stays(work, found)) continue;
    ++work.matched;
    if (ends_later(work, found.state)) ++work.told_to_stop;
    tally(work, found);
    if (work.sample.size() < base::kBulkSampleMax) {
      work.sample.push_back(core::format_id(found.seq, found.created));
    }
  }
  if (!work.last_step && work.matched < work.order.limit) return look(work);
  counted(work);
  if (work.order.dry_run) return end(work, Phase::done);
  work.phase = Phase::acting;
  work.told_to_stop = 0;
  work.search.after = 0;
  work.last_step = work.matched == 0;
  if (work.last_step) return end(work, Phase::done);
  look(work);
}

void BulkJobs::act(Work& work, const core::FoundPage& page) {
  core::Act act = work.order.act;
  work.ids.clear();
  for (const core::Found& found : page.found) {
    if (stays(work, found)) continue;
    ++work.met;
    act.messages.push_back(found.seq);
    work.ids.push_back(core::format_id(found.seq, found.created));
  }
  work.last_step = work.last_step || work.met >= work.order.limit;
  if (!act.messages.empty()) return ask(work, std::move(act));
  if (work.last_step) return end(work, Phase::done);
  look(work);
}

void BulkJobs::acted(Work& work, core::ActDone& done) {
  for (std::size_t i = 0; i < done.items.size(); ++i) {
    if (done.items[i]) {
      ++work.changed;
      if (ends_later(work, done.items[i]->state)) ++work.told_to_stop;
      continue;
    }
    ++work.refused;
    if (work.errors.size() < base::kBulkSampleMax) {
      work.errors.emplace_back(work.ids.at(i), done.items[i].error());
    }
  }
  if (work.last_step) return end(work, Phase::done);
  look(work);
}

// --- What retention will take ---

void BulkJobs::tally(Work& work, const core::Found& found) {
  const core::Act& act = work.order.act;
  if (act.action == Action::cancel) ++work.comes[{found.queue, Keep::cancelled}];
  if (act.action == Action::kill) ++work.comes[{found.queue, Keep::err}];
  if (act.action != Action::move || !core::is_finished(found.state)) return;
  for (const auto& [id, queue] : work.queues) {
    if (queue.name == act.queue && id != found.queue) ++work.comes[{id, keep_of(found.state)}];
  }
}

void BulkJobs::counted(Work& work) {
  for (const auto& [place, comes] : work.comes) {
    const auto queue = work.queues.find(place.first);
    if (queue == work.queues.end()) continue;
    const std::int64_t bound = retention(queue->second.settings, place.second).count;
    const std::int64_t all = kept(queue->second.counters, place.second) + comes;
    if (all > bound) work.retention_removes += all - bound;
  }
}

// --- The end ---

void BulkJobs::end(Work& work, Phase phase) {
  work.phase = phase;
  work.ended = desk().pipeline().clock().now();
  work.queues.clear();
  work.comes.clear();
  work.ids.clear();
  for (auto& [key, waiting] : std::exchange(work.waiting, {})) waiting.then(work);
}

void BulkJobs::fail(Work& work, const base::Error& error) {
  work.error = error;
  end(work, Phase::failed);
}

}  // namespace rq::doors::api
