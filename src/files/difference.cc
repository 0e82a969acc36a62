#include "files/difference.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <system_error>
#include <unordered_set>

#include "base/error.h"
#include "files/content_source.h"
#include "files/file_reader.h"
#include "files/reuse.h"

namespace holdfast::files {
namespace {

using repository::ChunkId;
using repository::Extent;
using repository::FileEntry;
using repository::FileType;
using Words = std::vector<std::string>;

// Names tell more than numbers, which may be others on another machine.
bool is_same_owner(const std::string& name, std::uint32_t id, const std::string& other_name,
                   std::uint32_t other_id) {
  return name.empty() || other_name.empty() ? id == other_id : name == other_name;
}

// All but content and extended attributes. A directory on the way is there or not, and that is all:
// nobody asked for its rights. Nor is the time of any directory told, as it changes with what is in
// it, which is.
Words compare_status(const FileEntry& before, const FileEntry& after) {
  Words what;
  if (before.size_bytes != after.size_bytes) {
    what.push_back(fmt::format("size {} to {}", before.size_bytes, after.size_bytes));
  }
  if (before.type != FileType::kSymlink && before.mode != after.mode) {
    what.push_back(fmt::format("mode {:04o} to {:04o}", before.mode, after.mode));
  }
  if (!is_same_owner(before.owner, before.uid, after.owner, after.uid) ||
      !is_same_owner(before.group, before.gid, after.group, after.gid)) {
    what.emplace_back("owner");
  }
  if (before.type != FileType::kDirectory &&
      (before.modified != after.modified || before.modified_ns != after.modified_ns)) {
    what.emplace_back("time");
  }
  if (before.link_target != after.link_target) what.emplace_back("target");
  return what;
}

// Two tables in the order of their paths. `compare` tells what differs of a path that both have.
template <typename Compare>
std::vector<Difference> merge(const std::vector<FileEntry>& before,
                              const std::vector<FileEntry>& after, Compare compare) {
  std::vector<Difference> differences;
  auto old_one = before.begin();
  auto new_one = after.begin();
  while (old_one != before.end() || new_one != after.end()) {
    if (new_one == after.end() || (old_one != before.end() && old_one->path < new_one->path)) {
      differences.push_back({Difference::Kind::kRemoved, (old_one++)->path});
    } else if (old_one == before.end() || new_one->path < old_one->path) {
      differences.push_back({Difference::Kind::kAdded, (new_one++)->path});
    } else {
      Words what = old_one->type != new_one->type ? Words{"type"} : compare(*old_one, *new_one);
      if (!what.empty()) {
        differences.push_back({Difference::Kind::kChanged, old_one->path, std::move(what)});
      }
      ++old_one;
      ++new_one;
    }
  }
  return differences;
}

bool is_on_the_way(const FileEntry& before, const FileEntry& after) {
  return before.on_the_way || after.on_the_way;
}

// Whether they are made of the same bytes of the same chunks, however these are divided.
bool are_same_parts(const std::vector<FilePart>& some, const std::vector<FilePart>& others) {
  auto one = some.begin();
  auto other = others.begin();
  std::uint64_t place = 0;
  const auto end_of = [](const FilePart& part) { return part.offset + part.extent.length_bytes; };
  while (one != some.end() && other != others.end()) {
    if (one->extent.chunk != other->extent.chunk) return false;
    if (!one->extent.chunk.is_zero_range() &&
        one->extent.chunk_offset + (place - one->offset) !=
            other->extent.chunk_offset + (place - other->offset)) {
      return false;
    }
    place = std::min(end_of(*one), end_of(*other));
    if (end_of(*one) == place) ++one;
    if (end_of(*other) == place) ++other;
  }
  return one == some.end() && other == others.end();
}

std::vector<ChunkId> not_among(const std::vector<ChunkId>& pieces,
                               const std::vector<ChunkId>& others) {
  const std::unordered_set<ChunkId> known(others.begin(), others.end());
  std::vector<ChunkId> left;
  std::copy_if(pieces.begin(), pieces.end(), std::back_inserter(left),
               [&](const ChunkId& piece) { return !known.contains(piece); });
  return left;
}

std::vector<FileEntry> load_entries(const std::vector<ChunkId>& pieces,
                                    repository::ChunkReader& reader) {
  std::vector<FileEntry> entries;
  repository::load_file_table(pieces, reader,
                              [&](FileEntry&& entry) { entries.push_back(std::move(entry)); });
  return entries;
}

Shown shown_of(const repository::BackupRecord& record) {
  return Shown(record.summary.type == kSecretsType);
}

// What stands at a path now, against what the backup has of it.
class NowComparer {
 public:
  NowComparer(const repository::Context& context, const repository::Index& index,
              const repository::BackupRecord& before, const NowRequest& request,
              base::Progress& progress, std::stop_token stop)
      : source_(context, index, shown_of(before)),
        began_(before.summary.started),
        opener_(request.root),
        progress_(progress),
        stop_(std::move(stop)) {}

  std::uint64_t bytes_to_read(const FileEntry& before, const FileEntry& now) const {
    const bool reads = now.type == FileType::kFile && before.size_bytes == now.size_bytes &&
                       !is_same_file(before, now, began_);
    return reads ? now.size_bytes : 0;
  }
  Words compare(const FileEntry& before, const FileEntry& now);
  void cannot_read(const std::string& path, std::string_view why) {
    unreadable_.push_back(fmt::format("{}: {}", path, why));
  }
  std::vector<std::string> take_unreadable() { return std::move(unreadable_); }

 private:
  bool is_same_content(const FileEntry& before, int fd);
  bool is_same_part(int fd, const FilePart& part);

  ContentSource source_;
  const base::Time began_;
  TreeOpener opener_;
  base::Progress& progress_;
  const std::stop_token stop_;
  std::vector<std::string> unreadable_;
};

Words NowComparer::compare(const FileEntry& before, const FileEntry& now) {
  if (is_on_the_way(before, now)) return {};
  Words what = compare_status(before, now);
  const bool opens = now.type == FileType::kFile || now.type == FileType::kDirectory;
  if (!opens || is_same_file(before, now, began_)) return what;
  const int kind = now.type == FileType::kDirectory ? O_DIRECTORY : O_NONBLOCK | O_NOCTTY;
  const base::UniqueFd fd(opener_.open(now.path, O_RDONLY | kind));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    cannot_read(now.path, std::generic_category().message(errno));
    return what;
  }
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
    cannot_read(now.path, "it was replaced while it was compared");
    return what;
  }
  try {
    if (bytes_to_read(before, now) > 0 && !is_same_content(before, fd.get())) {
      what.insert(what.begin(), "content");
    }
  } catch (const std::system_error& error) {
    cannot_read(now.path, error.code().message());
  }
  std::string problem;
  const std::vector<repository::ExtendedAttribute> xattrs = read_xattrs(fd.get(), problem);
  if (!problem.empty()) {
    cannot_read(now.path, problem);
  } else if (xattrs != before.xattrs) {
    what.emplace_back("attributes");
  }
  return what;
}

bool NowComparer::is_same_content(const FileEntry& before, int fd) {
  for (const FilePart& part : source_.parts_of(before)) {
    if (stop_.stop_requested()) {
      throw base::Error(base::ErrorKind::kInterrupted, "comparing files was stopped");
    }
    if (!is_same_part(fd, part)) return false;
    progress_.advance(part.extent.length_bytes);
  }
  return true;
}

// std::system_error where the file cannot be read: that is no difference.
bool NowComparer::is_same_part(int fd, const FilePart& part) {
  const bool is_zeros = part.extent.chunk.is_zero_range();
  if (is_zeros ? source_.is_zero(fd, part) : !source_.read_same(fd, part).empty()) return true;
  base::Bytes buffer(64 * 1024);
  const std::uint64_t end = part.offset + part.extent.length_bytes;
  for (std::uint64_t at = part.offset; at < end;) {
    const ssize_t size = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw std::system_error(errno, std::generic_category());
    if (size == 0) break;
    at += static_cast<std::uint64_t>(size);
  }
  return false;
}

// What stands at or below what cannot be read is not known to be gone.
void forget_removals_below(const std::vector<Problem>& unreadable,
                           std::vector<Difference>& differences) {
  std::set<std::string_view> places;
  for (const Problem& problem : unreadable) places.insert(problem.path);
  const auto is_below = [&](std::string_view path) {
    if (places.contains("")) return true;
    for (std::size_t end = path.find('/'); end < path.size(); end = path.find('/', end + 1)) {
      if (places.contains(path.substr(0, end))) return true;
    }
    return places.contains(path);
  };
  std::erase_if(differences, [&](const Difference& difference) {
    return difference.kind == Difference::Kind::kRemoved && is_below(difference.path);
  });
}

}  // namespace

// What stands in a piece that both tables have is the same in both, and need not be loaded.
std::vector<Difference> compare_backups(const repository::Context& context,
                                        const repository::BackupRecord& before,
                                        const repository::BackupRecord& after) {
  const repository::Index index = repository::Index::load(context);
  repository::ChunkReader reader(context, index);
  ContentSource source(context, index, shown_of(before));
  const auto is_same_content = [&](const FileEntry& old_one, const FileEntry& new_one) {
    if (!old_one.extent_chunks.empty() && old_one.extent_chunks == new_one.extent_chunks) {
      return true;
    }
    return are_same_parts(source.parts_of(old_one), source.parts_of(new_one));
  };
  return merge(
      load_entries(not_among(before.file_table, after.file_table), reader),
      load_entries(not_among(after.file_table, before.file_table), reader),
      [&](const FileEntry& old_one, const FileEntry& new_one) {
        if (is_on_the_way(old_one, new_one)) return Words{};
        Words what = compare_status(old_one, new_one);
        if (old_one.size_bytes == new_one.size_bytes && !is_same_content(old_one, new_one)) {
          what.insert(what.begin(), "content");
        }
        if (old_one.xattrs != new_one.xattrs) what.emplace_back("attributes");
        return what;
      });
}

NowComparison compare_with_now(const repository::Context& context,
                               const repository::BackupRecord& before, const NowRequest& request,
                               base::Progress& progress, std::stop_token stop) {
  progress.phase("looking", 0);
  const Tree tree = list_tree(request.root, Selection(request.include, request.exclude), stop);
  const repository::Index index = repository::Index::load(context);
  repository::ChunkReader reader(context, index);
  const std::vector<FileEntry> entries = load_entries(before.file_table, reader);
  NowComparer comparer(context, index, before, request, progress, stop);
  for (const Problem& problem : tree.unreadable) {
    comparer.cannot_read(problem.path.empty() ? request.root.native() : problem.path, problem.what);
  }
  std::uint64_t bytes = 0;
  merge(entries, tree.entries, [&](const FileEntry& old_one, const FileEntry& now) {
    bytes += comparer.bytes_to_read(old_one, now);
    return Words{};
  });
  progress.phase("comparing", bytes);
  NowComparison comparison;
  comparison.differences =
      merge(entries, tree.entries, [&](const FileEntry& old_one, const FileEntry& now) {
        return comparer.compare(old_one, now);
      });
  forget_removals_below(tree.unreadable, comparison.differences);
  comparison.unreadable = comparer.take_unreadable();
  return comparison;
}

}  // namespace holdfast::files
