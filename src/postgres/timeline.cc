#include "postgres/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

constexpr std::size_t kMaxTextSize = 4 << 20;
constexpr std::size_t kMaxParents = 100'000;
constexpr std::string_view kBlanks = " \t\r\v\f";

[[noreturn]] void fail(std::uint32_t timeline, std::string_view problem) {
  throw base::Error(base::ErrorKind::kFailed, fmt::format("{} is not a timeline history file: {}",
                                                          history_file_name(timeline), problem));
}

// Cuts the next word off the front of `line`.
std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(kBlanks));
  line.remove_prefix(word.size());
  return word;
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// "1\t0/3000158\tno recovery target specified"
TimelineSwitch parse_line(std::uint32_t timeline, std::string_view line) {
  const std::string_view number = take_word(line);
  std::uint32_t parent = 0;
  const auto [rest, error] = std::from_chars(number.data(), number.data() + number.size(), parent);
  if (error != std::errc{} || rest != number.data() + number.size() || parent == 0) {
    fail(timeline, "a line does not begin with a timeline's number");
  }
  const auto at = parse_lsn(take_word(line));
  if (!at) {
    fail(timeline, fmt::format("no WAL position follows timeline {}", parent));
  }
  return {.parent = parent, .at = *at, .reason = std::string{trim(line)}};
}

}  // namespace

TimelineHistory TimelineHistory::parse(std::uint32_t timeline, std::string_view text) {
  if (text.size() > kMaxTextSize) {
    fail(timeline, "it is too large");
  }
  TimelineHistory history(timeline);
  while (!text.empty()) {
    const std::string_view line = trim(text.substr(0, text.find('\n')));
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
    if (line.empty() || line.front() == '#') {
      continue;
    }
    TimelineSwitch next = parse_line(timeline, line);
    const std::uint32_t last = history.parents_.empty() ? 0 : history.parents_.back().parent;
    if (next.parent <= last || next.parent >= timeline) {
      fail(timeline, fmt::format("timeline {} is out of order", next.parent));
    }
    if (history.parents_.size() == kMaxParents) {
      fail(timeline, "it has too many lines");
    }
    history.parents_.push_back(std::move(next));
  }
  if (history.parents_.empty()) {
    fail(timeline, "it names no parent");
  }
  history.find_ends();
  return history;
}

// A recovery that follows timeline 2 but stops before 2 begins makes a timeline 3 that names 2 as
// its parent, at a position before 2 began. So an ancestor ends where any later one was left, if
// that is earlier.
void TimelineHistory::find_ends() {
  ends_.resize(parents_.size());
  Lsn end = ~Lsn{0};
  for (std::size_t i = parents_.size(); i-- > 0;) {
    end = std::min(end, parents_[i].at);
    ends_[i] = end;
  }
}

std::optional<std::size_t> TimelineHistory::position_of(std::uint32_t timeline) const {
  if (timeline == timeline_) {
    return parents_.size();
  }
  const auto found = std::ranges::lower_bound(parents_, timeline, {}, &TimelineSwitch::parent);
  if (found == parents_.end() || found->parent != timeline) {
    return std::nullopt;
  }
  return static_cast<std::size_t>(found - parents_.begin());
}

std::optional<Lsn> TimelineHistory::end_of(std::uint32_t timeline) const {
  const auto position = position_of(timeline);
  if (!position || *position == parents_.size()) {
    return std::nullopt;
  }
  return ends_[*position];
}

std::optional<Lsn> TimelineHistory::start_of(std::uint32_t timeline) const {
  const auto position = position_of(timeline);
  if (!position) {
    return std::nullopt;
  }
  return *position == 0 ? 0 : ends_[*position - 1];
}

bool TimelineHistory::is_member(std::uint32_t timeline) const {
  return position_of(timeline).has_value();
}

bool TimelineHistory::contains(std::uint32_t timeline, Lsn lsn) const {
  const auto start = start_of(timeline);
  return start && lsn >= *start && lsn <= end_of(timeline).value_or(~Lsn{0});
}

std::uint32_t TimelineHistory::timeline_of(Lsn lsn) const {
  const auto after = std::ranges::upper_bound(ends_, lsn);
  return after == ends_.end() ? timeline_
                              : parents_[static_cast<std::size_t>(after - ends_.begin())].parent;
}

}  // namespace holdfast::postgres
