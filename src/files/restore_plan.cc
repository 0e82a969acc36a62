#include "files/restore_plan.h"

#include <fmt/format.h>
#include <limits.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"

namespace holdfast::files {
namespace {

using base::Error;
using base::ErrorKind;
using repository::FileEntry;
using repository::FileType;

constexpr std::string_view kAcl = "system.posix_acl_";

// Checks entries as they come, in the order of the table.
class TableCheck {
 public:
  TableCheck(const std::vector<FileEntry>& before, Shown shown) : before_(before), shown_(shown) {}

  void check(const FileEntry& entry) {
    check_sizes(entry);
    const std::string_view parent = directory_of(entry.path);
    if (!parent.empty() && parent != last_parent_) {
      const FileEntry* directory = find_entry(before_, parent);
      if (directory == nullptr || directory->type != FileType::kDirectory) {
        fail(entry, "stands in no directory");
      }
      last_parent_ = parent;
    }
    if (entry.hard_link.empty()) return;
    const FileEntry* first = find_entry(before_, entry.hard_link);
    if (first == nullptr || first->type != FileType::kFile || !first->hard_link.empty() ||
        first->size_bytes != entry.size_bytes) {
      fail(entry, "is another name of what is no such file");
    }
  }

 private:
  void check_sizes(const FileEntry& entry) const {
    const std::size_t name = entry.path.size() - (entry.path.rfind('/') + 1);
    if (name > NAME_MAX) fail(entry, "has a name that is too long");
    if (entry.link_target.size() >= PATH_MAX) fail(entry, "leads to a name that is too long");
    if (entry.size_bytes > static_cast<std::uint64_t>(INT64_MAX)) fail(entry, "is too large");
    std::size_t attributes = 0;
    for (const auto& xattr : entry.xattrs) attributes += xattr.name.size() + xattr.value.size();
    if (attributes > repository::kMaxXattrBytes) fail(entry, "has too many attributes");
  }

  [[noreturn]] void fail(const FileEntry& entry, std::string_view problem) const {
    throw Error(ErrorKind::kDamaged, fmt::format("file table: {} {}", shown_(entry.path), problem));
  }

  const std::vector<FileEntry>& before_;
  const Shown shown_;
  std::string last_parent_;  // known to be a directory
};

// Which entries are asked for.
class Choice {
 public:
  Choice(std::vector<FileEntry>& entries, std::string_view root)
      : entries_(entries), root_(root), taken_(entries.size()) {}

  // False where it names nothing.
  bool take(const std::string& path) {
    std::string_view plain = path;
    if (!root_.empty() && plain.starts_with(root_) &&
        (plain.size() == root_.size() || root_.back() == '/' || plain[root_.size()] == '/') &&
        take_relative(plain.substr(root_.size()))) {
      return true;
    }
    return take_relative(plain);
  }

  // What was not taken goes, but for the directories on the way to what was.
  void apply() {
    std::vector<bool> on_the_way(entries_.size());
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (taken_[i]) mark_parents(entries_[i], on_the_way);
    }
    std::vector<FileEntry> kept;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (!taken_[i] && !on_the_way[i]) continue;
      if (!taken_[i]) entries_[i].on_the_way = true;
      kept.push_back(std::move(entries_[i]));
    }
    entries_ = std::move(kept);
  }

 private:
  bool take_relative(std::string_view given) {
    std::string path = std::filesystem::path(given).lexically_normal().generic_string();
    path.erase(0, std::min(path.find_first_not_of('/'), path.size()));
    while (path.ends_with('/')) path.pop_back();
    if (path.empty() || path == ".") {
      taken_.assign(taken_.size(), true);
      return true;
    }
    const FileEntry* entry = find_entry(entries_, path);
    if (entry == nullptr) return false;
    taken_[index_of(entry)] = true;
    // All below it stands in one stretch, though not right behind it.
    const std::string below = path + '/';
    auto at = std::lower_bound(entries_.begin(), entries_.end(), below,
                               [](const FileEntry& e, const std::string& p) { return e.path < p; });
    for (; at != entries_.end() && at->path.starts_with(below); ++at) taken_[index_of(&*at)] = true;
    return true;
  }

  void mark_parents(const FileEntry& entry, std::vector<bool>& on_the_way) const {
    for (auto parent = directory_of(entry.path); !parent.empty(); parent = directory_of(parent)) {
      const std::size_t index = index_of(find_entry(entries_, parent));
      if (on_the_way[index]) return;
      on_the_way[index] = true;
    }
  }

  std::size_t index_of(const FileEntry* entry) const {
    return static_cast<std::size_t>(entry - entries_.data());
  }

  std::vector<FileEntry>& entries_;
  const std::string_view root_;
  std::vector<bool> taken_;
};

void choose(std::vector<FileEntry>& entries, const std::vector<std::string>& only,
            std::string_view root, Shown shown) {
  if (only.empty()) return;
  Choice choice(entries, root);
  for (const std::string& path : only) {
    if (choice.take(path)) continue;
    throw Error(ErrorKind::kNotFound,
                shown.secret() ? "the backup holds nothing under one of the given paths"
                               : fmt::format("the backup holds no {}", path),
                shown.secret() ? "" : "'holdfast cat' with the backup's id lists what it holds.");
  }
  choice.apply();
}

// Where the first name of a file is not restored, the next one takes its place.
void settle_links(std::vector<FileEntry>& entries) {
  std::vector<std::pair<std::string, std::string>> moved;  // first name, and the one in its place
  for (FileEntry& entry : entries) {
    if (entry.hard_link.empty() || find_entry(entries, entry.hard_link) != nullptr) continue;
    const auto known = std::find_if(moved.begin(), moved.end(), [&](const auto& pair) {
      return pair.first == entry.hard_link;
    });
    if (known != moved.end()) {
      entry.hard_link = known->second;
    } else {
      moved.emplace_back(std::move(entry.hard_link), entry.path);
      entry.hard_link.clear();
    }
  }
}

void hide(FileEntry& entry) {
  if (entry.type == FileType::kFile || entry.type == FileType::kFifo) entry.mode = 0600;
  if (entry.type == FileType::kDirectory) entry.mode = 0700;
  std::erase_if(entry.xattrs, [](const auto& xattr) { return xattr.name.starts_with(kAcl); });
}

}  // namespace

std::string_view directory_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

const FileEntry* find_entry(const std::vector<FileEntry>& entries, std::string_view path) {
  const auto at =
      std::lower_bound(entries.begin(), entries.end(), path,
                       [](const FileEntry& entry, std::string_view p) { return entry.path < p; });
  return at == entries.end() || at->path != path ? nullptr : &*at;
}

// A list of extents that cannot be read is the restore's business: no hole is known of then.
std::uint64_t bytes_of_holes(const FileEntry& entry, repository::ChunkReader& reader) {
  std::uint64_t bytes = 0;
  try {
    for (const repository::Extent& extent : repository::load_extents(entry, reader)) {
      if (extent.chunk.is_zero_range()) bytes += extent.length_bytes;
    }
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::kDamaged) throw;
  }
  return std::min(bytes, entry.size_bytes);
}

std::uint64_t content_bytes(const std::vector<FileEntry>& entries,
                            repository::ChunkReader& reader) {
  std::uint64_t total = 0;
  for (const FileEntry& entry : entries) {
    if (!entry.hard_link.empty()) continue;
    const std::uint64_t size = entry.size_bytes - bytes_of_holes(entry, reader);
    total += std::min(size, UINT64_MAX - total);
  }
  return total;
}

RestorePlan plan_restore(const repository::BackupRecord& record,
                         const std::vector<std::string>& only, Shown shown,
                         repository::ChunkReader& reader) {
  RestorePlan plan;
  const repository::BackupSummary& summary = record.summary;
  if (summary.type == kFilesType || summary.type == kSecretsType) {
    plan.details = details_of(summary);
  }
  TableCheck check(plan.entries, shown);
  repository::load_file_table(record.file_table, reader, [&](FileEntry&& entry) {
    check.check(entry);
    if (shown.secret()) hide(entry);
    plan.entries.push_back(std::move(entry));
  });
  choose(plan.entries, only, plan.details ? std::string_view(plan.details->root) : "", shown);
  settle_links(plan.entries);
  for (const FileEntry& entry : plan.entries) {
    if (entry.hard_link.empty()) plan.bytes += std::min(entry.size_bytes, UINT64_MAX - plan.bytes);
  }
  return plan;
}

}  // namespace holdfast::files
