// Replies as text, and copies of commands.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <boost/json.hpp>
#include <type_traits>

#include "core/settings_json.h"
#include "store/contract/model_rig.h"
#include "store/memory/content.h"

namespace rq::store::contract {

namespace {

// "PutMany"
template <typename Type>
std::string_view type_name(const Type& /*value*/) {
  std::string_view text = __PRETTY_FUNCTION__;  // ends with "... Type = rq::core::PutMany; ...]"
  text = text.substr(text.find("Type = ") + 7);
  text = text.substr(0, text.find_first_of(";]"));
  return text.substr(text.rfind(':') + 1);
}

Put copy_of_put(const Put& put) {
  return {.queue = put.queue,
          .message = put.message.copy(),
          .priority = put.priority,
          .max_count = put.max_count,
          .delay = put.delay,
          .due = put.due,
          .prep = put.prep,
          .make_queue = put.make_queue};
}

std::string text_of_put(const PutDone& done) {
  return fmt::format("put {} {} {}{}", done.seq, base::to_ms(done.created), name_of(done.state),
                     done.repeated ? " repeated" : "");
}

template <typename Item, typename Text>
std::string texts_of(std::string_view what, const std::vector<base::Result<Item>>& items,
                     Text text) {
  std::string out{what};
  for (const auto& item : items) {
    out += item ? " [" + text(*item) + "]" : " [" + contract::text_of(item.error()) + "]";
  }
  return out;
}

std::string text_of_all(const Reserved& reserved) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < reserved.messages.size(); ++i) {
    const bool named = i < reserved.queues.size();
    texts.push_back(
        contract::text_of(reserved.messages[i], named ? *reserved.queues[i] : std::string{}));
  }
  return text_of_reserved(texts);
}

std::string text_of_counters(const Counters& c) {
  return fmt::format(
      "{} held={} high={} puts={} dones={} errs={} retries={} losses={} cancels={} "
      "deletes={} expired={}/{}",
      fmt::join(c.in_state, ","), c.held, c.high, c.puts, c.dones, c.errs, c.retries, c.losses,
      c.cancels, c.deletes, c.expired, c.expired_errs);
}

struct TextOfReply {
  std::string operator()(const base::Error& error) const { return contract::text_of(error); }
  std::string operator()(const Ok& /*ok*/) const { return "ok"; }
  std::string operator()(const PutDone& done) const { return text_of_put(done); }
  std::string operator()(const PutManyDone& done) const {
    return texts_of("puts", done.puts, [](const PutDone& one) { return text_of_put(one); });
  }
  std::string operator()(const Reserved& reserved) const { return text_of_all(reserved); }
  std::string operator()(const HeartbeatDone& done) const {
    return texts_of("heartbeat", done.items, [](const HeartbeatDone::Item& item) {
      return fmt::format("{} {}", base::to_ms(item.until), static_cast<int>(item.stop));
    });
  }
  std::string operator()(const FinishDone& done) const {
    return texts_of("finish", done.items, [](State state) { return std::string{name_of(state)}; });
  }
  std::string operator()(const ActDone& done) const {
    return texts_of("act", done.items, [](const ActDone::Item& item) {
      return fmt::format("{} {} {} {}", item.seq, base::to_ms(item.created), name_of(item.state),
                         item.was ? name_of(*item.was) : "");
    });
  }
  std::string operator()(const RunEarlyDone& done) const {
    return fmt::format("early {}", done.count);
  }
  std::string operator()(const Peeked& peeked) const {
    return "peeked " + contract::text_of(*peeked.message, peeked.queue);
  }
  std::string operator()(const QueueShown& shown) const { return contract::text_of(shown); }
  std::string operator()(const QueuesListed& listed) const {
    std::string out = "queues";
    for (const QueueShown& shown : listed.queues) out += " [" + contract::text_of(shown) + "]";
    return out;
  }
  std::string operator()(const EngineStatsDone& stats) const {
    return fmt::format("stats queues={} waiting={}", stats.queues, stats.waiting_reserves);
  }
};

}  // namespace

std::string text_of(const base::Error& error) {
  return fmt::format("error {}", base::name_of(error.code));
}

std::string text_of(const Message& message, std::string_view queue) {
  Message copy = message.copy();
  copy.queue = 0;
  if (copy.details && *copy.details == Details{}) copy.details.reset();
  return fmt::format("in {}: {}", queue, memory::text_of(copy));
}

std::string text_of(const QueueShown& shown) {
  const Queue& q = *shown.queue;
  return fmt::format(
      "queue {} {} until={} rev={} created={} on_demand={} being_deleted={} error={} "
      "settings={} {} waiting={}",
      q.name, name_of(q.admin), base::to_ms(q.paused_until), q.revision, base::to_ms(q.created),
      q.on_demand, q.being_deleted, q.script_error, boost::json::serialize(to_json(q.settings)),
      text_of_counters(q.counters), shown.waiting_reserves);
}

std::string text_of(const Attempt& a) {
  return fmt::format("attempt {}.{} {} {}..{} {} '{}' {}", a.seq, a.number, a.worker,
                     base::to_ms(a.started), base::to_ms(a.ended), a.outcome, a.reason,
                     a.post_mortem);
}

std::string text_of_reserved(const std::vector<std::string>& messages) {
  return fmt::format("reserved [{}]", fmt::join(messages, "]["));
}

std::string text_of(const Reply& reply) { return std::visit(TextOfReply{}, reply); }

std::string text_of(const Envelope& envelope) {
  std::string out = fmt::format(
      "request {} of connection {}{}: {}", envelope.ticket.request, envelope.ticket.connection,
      envelope.ticket.in_turn ? " in turn" : "",
      std::visit([](const auto& command) { return type_name(command); }, envelope.command));
  if (const auto* reserve = std::get_if<Reserve>(&envelope.command)) {
    for (const ReserveQueue& wanted : *reserve->queues) {
      out += fmt::format(" {}/{}", wanted.queue, wanted.limit);
    }
    out += fmt::format(" limit={} each={} until={} only={}", reserve->limit, reserve->each,
                       reserve->wait_until ? base::to_ms(*reserve->wait_until) : -1,
                       reserve->only.value_or(0));
  } else if (const auto* put = std::get_if<Put>(&envelope.command)) {
    out += " " + put->queue;
  } else if (const auto* act = std::get_if<Act>(&envelope.command)) {
    out +=
        fmt::format(" {} {} {}", name_of(act->action), fmt::join(act->messages, ","), act->queue);
  } else if (const auto* finish = std::get_if<Finish>(&envelope.command)) {
    for (const Finish::Item& item : finish->items) {
      out += fmt::format(" {} {}{}", to_string(item.token), name_of(item.outcome),
                         item.remove ? " remove" : "");
    }
  } else if (const auto* set = std::get_if<SetAdmin>(&envelope.command)) {
    out += fmt::format(" {} {} for {}", set->queue, name_of(set->admin),
                       set->lasts.value_or(base::Millis{-1}).count());
  } else if (const auto* remove = std::get_if<DeleteQueue>(&envelope.command)) {
    out += " " + remove->queue;
  } else if (const auto* define = std::get_if<DefineQueue>(&envelope.command)) {
    out += " " + define->queue;
  } else if (const auto* early = std::get_if<RunEarly>(&envelope.command)) {
    out += fmt::format(" {} {}", early->queue, early->bound);
  }
  return out;
}

Envelope copy_of(const Envelope& envelope) {
  return {.ticket = envelope.ticket,
          .command = std::visit(
              [](const auto& command) -> Command {
                using T = std::decay_t<decltype(command)>;
                if constexpr (std::is_same_v<T, Put>) {
                  return copy_of_put(command);
                } else if constexpr (std::is_same_v<T, PutMany>) {
                  PutMany out;
                  for (const Put& put : command.puts) out.puts.push_back(copy_of_put(put));
                  return out;
                } else {
                  return command;
                }
              },
              envelope.command)};
}

}  // namespace rq::store::contract
