// What WAL is in the repository: from the names alone, but for the segment size and the histories.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "postgres/segment_section.h"
#include "postgres/wal_archive.h"

namespace holdfast::postgres {
namespace {

using repository::Context;

struct Found {
  std::vector<std::pair<WalFileName, std::uint64_t>> segments;  // with the object's size
  std::vector<WalFileName> histories;
};

Found find_files(const Context& context, const std::string& prefix) {
  Found found;
  context.storage.list(prefix, [&](const storage::ObjectInfo& object) {
    const std::string_view name = std::string_view(object.name).substr(object.name.rfind('/') + 1);
    const std::optional<WalFileName> file = parse_wal_file_name(name);
    if (!file) return;
    if (file->kind == WalFileKind::kSegment) found.segments.emplace_back(*file, object.size_bytes);
    if (file->kind == WalFileKind::kHistory) found.histories.push_back(*file);
  });
  return found;
}

// Any segment that can be read tells the size of them all.
std::uint32_t segment_size_of(const Context& context, WalInventory& inventory, const Found& found) {
  for (const auto& [file, size] : found.segments) {
    const std::string object = wal_object_name(inventory.system_id, file.text);
    try {
      const std::optional<repository::LogInfo> info = repository::stat_log(context, object);
      if (info) return decode_segment_section(*info, object).segment_size;
    } catch (const base::Error& error) {
      if (error.kind() != base::ErrorKind::kDamaged) throw;
      inventory.damaged.push_back(object);
    }
  }
  return 0;
}

void add_segment(TimelineWal& wal, std::uint64_t number, std::uint64_t size_bytes) {
  ++wal.segments;
  wal.bytes_stored += size_bytes;
  if (!wal.runs.empty() && wal.runs.back().second + 1 == number) {
    wal.runs.back().second = number;
  } else {
    wal.runs.emplace_back(number, number);
  }
}

void add_history(const Context& context, WalInventory& inventory, const WalFileName& file) {
  const std::string object = wal_object_name(inventory.system_id, file.text);
  try {
    const std::optional<repository::LogInfo> info = repository::stat_log(context, object);
    if (!info) return;
    inventory.timelines[file.timeline].history =
        TimelineHistory::parse(file.timeline, base::as_text(info->inline_content));
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::kDamaged && error.kind() != base::ErrorKind::kFailed)
      throw;
    inventory.damaged.push_back(object);
  }
}

}  // namespace

bool TimelineWal::has(std::uint64_t number) const {
  const auto after =
      std::upper_bound(runs.begin(), runs.end(), number,
                       [](std::uint64_t value, const auto& run) { return value < run.first; });
  return after != runs.begin() && number <= std::prev(after)->second;
}

bool WalInventory::has(const SegmentName& segment) const {
  const auto timeline = timelines.find(segment.timeline);
  return timeline != timelines.end() && timeline->second.has(segment.number);
}

std::vector<std::uint64_t> systems_with_wal(const Context& context) {
  std::set<std::uint64_t> systems;
  context.storage.list("wal/", [&](const storage::ObjectInfo& object) {
    const char* first = object.name.data() + 4;
    std::uint64_t system_id = 0;
    const auto [end, problem] =
        std::from_chars(first, object.name.data() + object.name.size(), system_id);
    if (problem == std::errc{} && *end == '/') systems.insert(system_id);
  });
  return {systems.begin(), systems.end()};
}

WalInventory list_wal(const Context& context, std::uint64_t system_id) {
  WalInventory inventory;
  inventory.system_id = system_id;
  const Found found = find_files(context, fmt::format("wal/{}/", system_id));
  inventory.segment_size = segment_size_of(context, inventory, found);
  if (inventory.segment_size != 0) {
    for (const auto& [file, size] : found.segments) {
      const auto segment = parse_segment_name(file.text, inventory.segment_size);
      if (segment) add_segment(inventory.timelines[segment->timeline], segment->number, size);
    }
  }
  for (const WalFileName& file : found.histories) add_history(context, inventory, file);
  for (auto& [timeline, wal] : inventory.timelines) wal.timeline = timeline;
  return inventory;
}

}  // namespace holdfast::postgres
