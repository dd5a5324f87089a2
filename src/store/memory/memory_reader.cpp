#include "store/memory/memory_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "base/text.h"
#include "core/fingerprint.h"

namespace rq::store::memory {

namespace {

std::string folded(std::string_view text) {
  std::string out{text};
  for (char& c : out) {
    c = base::lower(c);
  }
  return out;
}

bool has_text(const Message& m, const std::string& text) {
  const Details& d = m.detail_or_default();
  const std::string all =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}", m.payload, d.param1, d.param2, d.param3,
                  d.param4, d.progress, d.result, d.src, d.dest);
  return folded(all).find(folded(text)) != std::string::npos;
}

bool matches(const Message& m, const Filter& filter, std::optional<QueueId> queue) {
  const Details& d = m.detail_or_default();
  if (queue && m.queue != *queue) return false;
  if (!filter.states.empty() && !filter.states.has(m.state)) return false;
  if (filter.mark && m.mark != *filter.mark) return false;
  if (!filter.tag.empty() && std::find(d.tags.begin(), d.tags.end(), filter.tag) == d.tags.end()) {
    return false;
  }
  if (!filter.key.empty() && d.key != filter.key) return false;
  if (filter.after && m.created < *filter.after) return false;
  if (filter.before && m.created >= *filter.before) return false;
  if (!filter.fingerprint.empty() &&
      (m.state != State::err || core::fingerprint(d.progress) != filter.fingerprint)) {
    return false;
  }
  return filter.text.empty() || has_text(m, filter.text);
}

class MemoryReader final : public Reader {
 public:
  explicit MemoryReader(std::shared_ptr<const Disk> disk) : disk_(std::move(disk)) {}

  Result<std::optional<MessageRow>> message(Seq seq) override {
    const auto found = content().messages.find(seq);
    if (found == content().messages.end()) return std::optional<MessageRow>{};
    return std::optional{row_of(*found->second)};
  }

  Result<std::optional<MessageRow>> message_by_key(std::string_view key) override {
    const auto found = content().keys.find(key);
    if (found == content().keys.end()) return std::optional<MessageRow>{};
    return message(found->second);
  }

  Result<std::vector<Attempt>> attempts(Seq seq) override {
    const auto found = content().attempts.find(seq);
    return found == content().attempts.end() ? std::vector<Attempt>{} : found->second;
  }

  Result<Listed> list(const Page& page) override {
    RQ_TRY_ASSIGN(queue, queue_of(page.filter));
    const auto& all = content().messages;
    Listed out;
    if (page.newest_first) {
      const auto from = page.cursor > 0 ? all.lower_bound(page.cursor) : all.end();
      walk(std::make_reverse_iterator(from), all.rend(), page, queue, out);
    } else {
      walk(all.upper_bound(page.cursor), all.end(), page, queue, out);
    }
    return out;
  }

  Result<FoundPage> find(const Search& search) override {
    RQ_TRY_ASSIGN(queue, queue_of(search.filter));
    const auto& all = content().messages;
    FoundPage out{.until = search.until};
    if (out.until == 0 && !all.empty()) out.until = all.rbegin()->first;
    for (auto at = all.upper_bound(search.after); at != all.end() && at->first <= out.until; ++at) {
      const Message& m = *at->second;
      if (!matches(m, search.filter, queue)) continue;
      if (std::ssize(out.found) == search.limit) {
        out.after = out.found.back().seq;
        break;
      }
      out.found.push_back({.seq = m.seq, .created = m.created, .queue = m.queue, .state = m.state});
    }
    return out;
  }

  Result<std::int64_t> ahead_of(const MessageRow& row, std::int64_t bound) override {
    const LineKey key = line_key(row.message);
    std::int64_t ahead = 0;
    content().for_each_in(row.message.queue, Place::line, [&](const Filed& filed) {
      if (filed.key < key) ++ahead;
      return filed.key < key && ahead < bound;
    });
    return ahead;
  }

  Result<std::optional<Instant>> oldest_ready(QueueId queue) override {
    std::optional<Instant> oldest;
    content().for_each_in(queue, Place::line, [&](const Filed& filed) {
      const Instant created = content().messages.at(filed.key.seq)->created;
      if (!oldest || created < *oldest) oldest = created;
      return true;
    });
    return oldest;
  }

  Result<std::vector<std::string>> waste(std::string_view after, std::int64_t limit) override {
    std::vector<std::string> out;
    const auto& all = content().waste;
    for (auto at = all.upper_bound(std::string{after}); at != all.end(); ++at) {
      if (std::ssize(out) == limit) break;
      out.push_back(*at);
    }
    return out;
  }

 private:
  [[nodiscard]] const Content& content() const { return disk_->content(); }
  [[nodiscard]] MessageRow row_of(const Message& message) const {
    return {.message = message.copy(), .queue = content().queues.at(message.queue).name};
  }
  // Of the filter, if it names one.
  [[nodiscard]] Result<std::optional<QueueId>> queue_of(const Filter& filter) const {
    if (filter.queue.empty()) return std::optional<QueueId>{};
    const auto queue = id_of(filter.queue);
    if (queue) return queue;
    return base::fail(base::Code::not_found, fmt::format("there is no queue '{}'", filter.queue));
  }
  [[nodiscard]] std::optional<QueueId> id_of(std::string_view name) const {
    for (const auto& [id, queue] : content().queues) {
      if (queue.name == name) return id;
    }
    return std::nullopt;
  }

  template <typename At>
  void walk(At at, At end, const Page& page, std::optional<QueueId> queue, Listed& out) const {
    std::size_t looked = 0;
    for (; at != end; ++at) {
      const Message& message = *at->second;
      if (looked++ == base::kListScanMax) {
        out.cut = true;
        out.cursor = page.newest_first ? message.seq + 1 : message.seq - 1;
        return;
      }
      if (!matches(message, page.filter, queue)) continue;
      if (std::ssize(out.rows) == page.limit) {
        out.cursor = out.rows.back().message.seq;
        return;
      }
      MessageRow& row = out.rows.emplace_back(row_of(message));
      row.payload_bytes = std::ssize(message.payload);
      const std::int64_t shown = page.payloads ? std::min(row.payload_bytes, kListPayloadBytes) : 0;
      row.message.payload.resize(static_cast<std::size_t>(shown));
    }
  }

  const std::shared_ptr<const Disk> disk_;
};

}  // namespace

std::unique_ptr<Reader> make_reader(std::shared_ptr<const Disk> disk) {
  return std::make_unique<MemoryReader>(std::move(disk));
}

}  // namespace rq::store::memory
