#include "postgres/incremental_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "postgres/page.h"
#include "postgres/page_comparison.h"
#include "repository/chunk_reader.h"

namespace holdfast::postgres {
namespace {

using repository::FileEntry;

// Source: PostgreSQL's catalog/pg_tablespace.dat.
constexpr std::uint32_t kDefaultTablespace = 1663;
constexpr std::uint32_t kGlobalTablespace = 1664;
constexpr std::size_t kReadingBytes = 4 * 1024 * 1024;

// "base/5" → 5; nullopt where the part is no number.
std::optional<std::uint32_t> number_in(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

// The database's files: "base/DATABASE", "global", "pg_tblspc/TABLESPACE/VERSION/DATABASE".
std::optional<DatabaseId> database_of(std::string_view directory) {
  if (directory == "global") return DatabaseId{kGlobalTablespace, 0};
  const std::size_t last = directory.rfind('/');
  if (last == std::string_view::npos) return std::nullopt;
  const std::optional<std::uint32_t> database = number_in(directory.substr(last + 1));
  if (!database) return std::nullopt;
  if (directory.substr(0, last) == "base") return DatabaseId{kDefaultTablespace, *database};
  constexpr std::string_view kTablespaces = "pg_tblspc/";
  if (!directory.starts_with(kTablespaces)) return std::nullopt;
  const std::string_view rest = directory.substr(kTablespaces.size());
  const std::optional<std::uint32_t> tablespace = number_in(rest.substr(0, rest.find('/')));
  if (!tablespace) return std::nullopt;
  return DatabaseId{*tablespace, *database};
}

void take_from(PageNumbers& taken, std::uint32_t first, std::uint32_t end) {
  for (std::uint32_t page = first; page < end; ++page) taken.push_back(page);
}

// Nullopt: all of it.
class PagesToTake {
 public:
  PagesToTake(const ChangeMap* changes, std::uint32_t page_size)
      : changes_(changes), page_size_(page_size) {}

  std::optional<PageNumbers> of(const ClusterFile& file, const FileEntry& before) const {
    const std::optional<RelationId> relation = relation_of(file.path);
    if (!relation || !file.is_relation || before.type != repository::FileType::kFile ||
        before.size_bytes % page_size_ != 0) {
      return std::nullopt;
    }
    const auto pages = static_cast<std::uint32_t>(file.size_bytes / page_size_);
    const auto pages_before = static_cast<std::uint32_t>(before.size_bytes / page_size_);
    std::optional<PageNumbers> taken = PageNumbers{};
    if (changes_ == nullptr) {
      take_from(*taken, std::min(pages, pages_before), pages);
    } else {
      taken = by_map(file, *relation, pages, pages_before);
    }
    if (taken && pages > 0 && taken->size() * 2 >= pages) return std::nullopt;
    return taken;
  }

 private:
  std::optional<PageNumbers> by_map(const ClusterFile& file, const RelationId& relation,
                                    std::uint32_t pages, std::uint32_t pages_before) const {
    const auto database = changes_->databases.find({relation.tablespace, relation.database});
    if (database != changes_->databases.end() && database->second.created) return std::nullopt;
    const auto found = changes_->relations.find(relation);
    if (found == changes_->relations.end()) {
      // That it grew or shrank without a word is not believed.
      if (pages != pages_before) return std::nullopt;
      return PageNumbers{};
    }
    const RelationChanges& changes = found->second;
    if (changes.created || changes.whole_from == 0) return std::nullopt;
    if (pages < pages_before && !changes.truncated) return std::nullopt;
    const std::uint32_t first = file.first_block;
    // From here on everything is taken.
    std::uint32_t whole_from = std::min(pages, pages_before);
    if (changes.whole_from < first + whole_from) {
      whole_from = changes.whole_from > first ? changes.whole_from - first : 0;
    }
    PageNumbers taken;
    for (const BlockRun& run : changes.blocks) {
      const std::uint64_t end = std::uint64_t{run.first} + run.count;
      if (end <= first || run.first >= std::uint64_t{first} + whole_from) continue;
      const std::uint32_t begin = run.first > first ? run.first - first : 0;
      take_from(taken, begin,
                static_cast<std::uint32_t>(std::min<std::uint64_t>(end - first, whole_from)));
    }
    take_from(taken, whole_from, pages);
    return taken;
  }

  const ChangeMap* changes_;
  std::uint32_t page_size_;
};

}  // namespace

std::optional<RelationId> relation_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::optional<RelationFile> file = parse_relation_file(path.substr(slash + 1));
  const std::optional<DatabaseId> database = database_of(path.substr(0, slash));
  if (!file || !database || file->fork != "main" || file->number > UINT32_MAX) return std::nullopt;
  return RelationId{database->tablespace, database->database,
                    static_cast<std::uint32_t>(file->number)};
}

IncrementalPlan plan_incremental(const std::vector<ClusterFile>& files,
                                 std::vector<FileEntry> before, const ChangeMap* changes,
                                 std::uint32_t page_size) {
  IncrementalPlan plan;
  const PagesToTake pages_to_take(changes, page_size);
  auto old = before.begin();
  for (const ClusterFile& file : files) {
    while (old != before.end() && old->path < file.path) ++old;
    std::optional<PageNumbers> taken;
    if (old != before.end() && old->path == file.path) taken = pages_to_take.of(file, *old);
    if (taken) {
      plan.partial.push_back({&file, std::move(*old), std::move(*taken)});
    } else {
      plan.whole.push_back(file);
    }
  }
  return plan;
}

namespace {

// The pages of one file that are not as they were.
class Search {
 public:
  Search(const repository::Context& context, const repository::Index& index,
         const ClusterInfo& cluster, Lsn since)
      : since_(since),
        page_size_(cluster.block_size),
        comparison_(context, index, cluster),
        buffer_(kReadingBytes) {}

  void search(PartialFile& partial, base::Throttle& throttle, base::Progress& progress,
              const std::stop_token& stop) {
    // Where it is gone store_changed_pages() will find it gone too, or takes what came instead.
    if (!comparison_.open(partial.before)) return;
    const std::uint64_t size = partial.file->size_bytes;
    partial.taken.clear();
    for (std::uint64_t offset = 0; offset < size;) {
      const std::size_t wanted = std::min<std::uint64_t>(kReadingBytes, size - offset);
      throttle.take(wanted, stop);
      auto number = static_cast<std::uint32_t>(offset / page_size_);
      base::ByteView pages = comparison_.read(number, buffer_.span().first(wanted));
      progress.advance(pages.size());
      const bool is_end = pages.size() < wanted;
      for (; !pages.empty(); pages = pages.subspan(page_size_), ++number) {
        if (has_changed(number, pages.first(page_size_))) partial.taken.push_back(number);
      }
      if (is_end) break;
      offset += wanted;
    }
  }

 private:
  // A later LSN says that it has; an earlier one does not say that it has not: VACUUM marks pages
  // all-visible and leaves their LSN, and files can be copied with their pages' old ones.
  bool has_changed(std::uint32_t page, base::ByteView content) {
    return page_lsn(content) > since_ || !comparison_.is_as_before(page, content);
  }

  const Lsn since_;
  const std::size_t page_size_;
  PageComparison comparison_;
  base::AlignedBuffer buffer_;
};

// Moves the marked files to `whole`, and gives their paths.
std::vector<std::string> take_whole(IncrementalPlan& plan, const std::vector<char>& marked) {
  std::vector<std::string> paths;
  std::vector<PartialFile> rest;
  for (std::size_t i = 0; i < plan.partial.size(); ++i) {
    if (marked[i] != 0) {
      paths.push_back(plan.partial[i].file->path);
      plan.whole.push_back(*plan.partial[i].file);
    } else {
      rest.push_back(std::move(plan.partial[i]));
    }
  }
  plan.partial = std::move(rest);
  return paths;
}

}  // namespace

std::uint64_t find_changed_pages(IncrementalPlan& plan, Lsn since,
                                 const repository::Context& context, const repository::Index& index,
                                 const ClusterInfo& cluster, const ReadingLimits& limits,
                                 base::Progress& progress, std::stop_token stop) {
  std::uint64_t bytes = 0;
  for (const PartialFile& partial : plan.partial) bytes += partial.file->size_bytes;
  progress.phase("looking for changed pages", bytes);
  std::vector<char> to_be_whole(plan.partial.size());
  base::share_out(plan.partial.size(), limits.workers, stop, [&] {
    return [&, search = std::make_shared<Search>(context, index, cluster, since)](std::size_t n) {
      PartialFile& partial = plan.partial[n];
      try {
        search->search(partial, limits.throttle, progress, stop);
      } catch (base::Error& error) {
        error.add_context(fmt::format("while reading {}", partial.file->path));
        const bool unknown = error.kind() == base::ErrorKind::kDamaged ||
                             error.kind() == base::ErrorKind::kRefused;  // lost, or frozen
        if (!unknown) throw;
        to_be_whole[n] = 1;  // what it was cannot be told
      }
      const std::uint64_t pages = partial.file->size_bytes / cluster.block_size;
      if (pages > 0 && partial.taken.size() * 2 >= pages) to_be_whole[n] = 1;
    };
  });
  take_whole(plan, to_be_whole);
  return bytes;
}

std::vector<std::string> distrust_lost_chunks(IncrementalPlan& plan,
                                              const repository::Context& context,
                                              const repository::Index& index,
                                              std::uint32_t page_size, int workers,
                                              std::stop_token stop) {
  std::vector<char> lost(plan.partial.size());
  base::share_out(plan.partial.size(), workers, stop, [&] {
    return [&, reader = std::make_shared<repository::ChunkReader>(context, index)](std::size_t n) {
      try {
        const std::vector<repository::Extent> extents =
            repository::load_extents(plan.partial[n].before, *reader);
        if (!PagePlaces::of(extents, page_size)) lost[n] = 1;
        for (const repository::Extent& extent : extents) {
          if (extent.chunk.is_zero_range()) continue;
          if (!index.holds(extent.chunk, repository::PackClass::kData)) lost[n] = 1;
        }
      } catch (const base::Error& error) {
        if (error.kind() != base::ErrorKind::kDamaged) throw;
        lost[n] = 1;
      }
    };
  });
  return take_whole(plan, lost);
}

}  // namespace holdfast::postgres
