#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/text_table.h"
#include "cli/wal_system.h"
#include "postgres/backup_details.h"
#include "postgres/wal_archive.h"

namespace holdfast::cli {
namespace {

using postgres::TimelineWal;
using postgres::WalInventory;

struct Gap {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  bool matters = false;  // a backup before it cannot be brought past it
};

// What the backups say of a system.
struct Known {
  std::string component;
  postgres::Lsn oldest_start = 0;  // of its backups
};

std::map<std::uint64_t, Known> systems_of_backups(const repository::Context& context) {
  std::map<std::uint64_t, Known> result;
  for (const auto& backup : repository::list_backups(context).backups) {
    if (backup.type != "postgresql") continue;
    const auto details = postgres::details_of(backup);
    auto& known = result[details.system_id];
    if (known.component.empty() || details.start_lsn < known.oldest_start) {
      known.oldest_start = details.start_lsn;
    }
    known.component = backup.component;
  }
  return result;
}

class Listing {
 public:
  Listing(const WalInventory& wal, const Known* known) : wal_(wal), known_(known) {
    for (const auto& [number, timeline] : wal.timelines) gaps_[number] = find_gaps(timeline);
  }

  bool has_gap_that_matters() const {
    for (const auto& [timeline, gaps] : gaps_) {
      if (std::any_of(gaps.begin(), gaps.end(), [](const Gap& gap) { return gap.matters; })) {
        return true;
      }
    }
    return false;
  }

  void add_rows(TextTable& table) const {
    for (const auto& [number, timeline] : wal_.timelines) {
      const auto& gaps = gaps_.at(number);
      const bool empty = timeline.runs.empty();
      table.add({fmt::format("{}", wal_.system_id), known_ == nullptr ? "-" : known_->component,
                 fmt::format("{}", number), empty ? "-" : name(number, timeline.runs.front().first),
                 empty ? "-" : name(number, timeline.runs.back().second),
                 fmt::format("{}", timeline.segments), base::format_size(timeline.bytes_stored),
                 fmt::format("{}", gaps.size())});
    }
  }

  std::vector<std::string> gap_lines() const {
    std::vector<std::string> lines;
    for (const auto& [number, gaps] : gaps_) {
      for (const Gap& gap : gaps) {
        lines.push_back(fmt::format("missing: {} to {} ({} segments){}", name(number, gap.first),
                                    name(number, gap.last), gap.last - gap.first + 1,
                                    gap.matters ? "" : "; no backup needs them"));
      }
    }
    return lines;
  }

  nlohmann::json document() const {
    nlohmann::json timelines = nlohmann::json::array();
    for (const auto& [number, timeline] : wal_.timelines) {
      timelines.push_back(timeline_document(number, timeline));
    }
    nlohmann::json result = {{"system_id", fmt::format("{}", wal_.system_id)},
                             {"component", nullptr},
                             {"segment_size", wal_.segment_size},
                             {"timelines", timelines}};
    if (known_ != nullptr) result["component"] = known_->component;
    if (!wal_.damaged.empty()) result["damaged"] = wal_.damaged;
    return result;
  }

 private:
  std::string name(std::uint32_t timeline, std::uint64_t number) const {
    return postgres::format_segment_name({timeline, number}, wal_.segment_size);
  }

  std::vector<Gap> find_gaps(const TimelineWal& timeline) const {
    std::vector<Gap> gaps;
    const auto add = [&](std::uint64_t first, std::uint64_t last) {
      const bool matters = known_ != nullptr && postgres::segment_number(known_->oldest_start,
                                                                         wal_.segment_size) <= last;
      gaps.push_back({first, last, matters});
    };
    if (timeline.runs.empty()) return gaps;
    if (const auto begin = begin_of(timeline); begin && *begin < timeline.runs.front().first) {
      add(*begin, timeline.runs.front().first - 1);
    }
    for (std::size_t i = 1; i < timeline.runs.size(); ++i) {
      add(timeline.runs[i - 1].second + 1, timeline.runs[i].first - 1);
    }
    return gaps;
  }

  // Where a timeline branched off from one whose WAL is here too, its first segment is wanted.
  std::optional<std::uint64_t> begin_of(const TimelineWal& timeline) const {
    if (!timeline.history || timeline.history->parents().empty()) return std::nullopt;
    const auto& from = timeline.history->parents().back();
    if (wal_.timelines.find(from.parent) == wal_.timelines.end()) return std::nullopt;
    return postgres::segment_number(from.at, wal_.segment_size);
  }

  nlohmann::json timeline_document(std::uint32_t number, const TimelineWal& timeline) const {
    nlohmann::json gaps = nlohmann::json::array();
    for (const Gap& gap : gaps_.at(number)) {
      gaps.push_back({{"first", name(number, gap.first)},
                      {"last", name(number, gap.last)},
                      {"segments", gap.last - gap.first + 1},
                      {"needed", gap.matters}});
    }
    nlohmann::json result = {{"timeline", number},
                             {"first", nullptr},
                             {"last", nullptr},
                             {"segments", timeline.segments},
                             {"bytes_stored", timeline.bytes_stored},
                             {"gaps", gaps},
                             {"history", timeline.history.has_value()},
                             {"parent", nullptr},
                             {"switch_lsn", nullptr}};
    if (!timeline.runs.empty()) {
      result["first"] = name(number, timeline.runs.front().first);
      result["last"] = name(number, timeline.runs.back().second);
    }
    if (timeline.history) result["history_file"] = postgres::history_file_name(number);
    if (timeline.history && !timeline.history->parents().empty()) {
      const auto& from = timeline.history->parents().back();
      result["parent"] = from.parent;
      result["switch_lsn"] = postgres::format_lsn(from.at);
    }
    return result;
  }

  const WalInventory& wal_;
  const Known* known_;
  std::map<std::uint32_t, std::vector<Gap>> gaps_;
};

}  // namespace

int run_wal_list(Session& session) {
  const repository::Context& context = session.repository().context();
  const bool chosen = session.arguments().has("--component");
  const auto component = postgres_component(session);
  const auto known = systems_of_backups(context);
  TextTable table(
      {"SYSTEM", "COMPONENT", ">TIMELINE", "FIRST", "LAST", ">SEGMENTS", ">STORED", ">GAPS"});
  nlohmann::json systems = nlohmann::json::array();
  std::vector<std::string> lines;
  bool gap = false;
  bool damaged = false;
  for (const std::uint64_t system : postgres::systems_with_wal(context)) {
    const auto found = known.find(system);
    if (chosen && (found == known.end() || found->second.component != component)) continue;
    const WalInventory wal = postgres::list_wal(context, system);
    const Listing listing(wal, found == known.end() ? nullptr : &found->second);
    listing.add_rows(table);
    for (std::string& line : listing.gap_lines()) lines.push_back(std::move(line));
    for (const std::string& object : wal.damaged) {
      session.warn(fmt::format("{} is damaged", object));
      damaged = true;
    }
    gap = gap || listing.has_gap_that_matters();
    systems.push_back(listing.document());
  }
  session.print(systems.empty() ? "no WAL is archived" : table.text());
  for (const std::string& line : lines) session.print(line);
  if (gap) session.warn("WAL is missing behind a backup: it cannot be brought past the gap");
  if (session.json()) session.print_json({{"systems", systems}});
  return damaged ? kDamaged : gap ? kAttention : kDone;
}

}  // namespace holdfast::cli
