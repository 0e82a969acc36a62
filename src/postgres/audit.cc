#include "postgres/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include <tuple>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "postgres/page.h"
#include "postgres/page_hints.h"
#include "repository/chunk_hash.h"
#include "repository/chunk_reader.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::ByteView;
using base::MutableByteView;
using repository::FileEntry;

constexpr std::uint32_t kPiecePages = 128;
// A page that the server is just writing is whole within milliseconds.
constexpr int kReadings = 5;
constexpr std::chrono::milliseconds kBetweenReadings{10};

struct Piece {
  std::size_t file = 0;  // number among those of the round
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

// What one audit looks at: pieces from where the last one ended, cut at multiples of one size.
struct Round {
  std::vector<FileEntry> files;
  std::vector<Piece> pieces;
  AuditPlace next;
};

Round plan_round(const std::vector<FileEntry>& before, const AuditRequest& request,
                 std::uint32_t page_size) {
  std::vector<const FileEntry*> relations;
  std::uint64_t total = 0;
  for (const FileEntry& entry : before) {
    if (entry.type != repository::FileType::kFile || !relation_of(entry.path)) continue;
    relations.push_back(&entry);
    total += entry.size_bytes / page_size;
  }
  Round round;
  auto left = static_cast<std::uint64_t>(
      std::ceil(static_cast<double>(total) * std::clamp(request.share, 0.0, 1.0)));
  auto at = std::lower_bound(
      relations.begin(), relations.end(), request.from.path,
      [](const FileEntry* entry, const std::string& path) { return entry->path < path; });
  std::uint32_t page = 0;
  if (at != relations.end() && (*at)->path == request.from.path) {
    page = request.from.page - request.from.page % kPiecePages;
  }
  const FileEntry* taken = nullptr;  // the last one in round.files
  while (left > 0) {
    if (at == relations.end()) at = relations.begin();
    const auto end = static_cast<std::uint32_t>((*at)->size_bytes / page_size);
    if (page >= end) {
      ++at;
      page = 0;
      continue;
    }
    if (taken != *at) {
      taken = *at;
      round.files.push_back(*taken);
    }
    const std::uint32_t count = std::min(kPiecePages, end - page);
    round.pieces.push_back({round.files.size() - 1, page, count});
    page += count;
    left -= std::min<std::uint64_t>(left, count);
  }
  if (at != relations.end()) round.next = {(*at)->path, page};
  return round;
}

// A file of the cluster beside what the backup before has of it. Used by one thread.
class Comparison {
 public:
  Comparison(const repository::Context& context, const repository::Index& index,
             const ClusterInfo& cluster)
      : cluster_(cluster),
        page_size_(cluster.block_size),
        reader_(context, index),
        hasher_(context.keyring.identity) {}

  // False where the file is not there, or cannot be compared page by page.
  bool open(const FileEntry& before) {
    if (open_ == &before) return static_cast<bool>(fd_);
    open_ = &before;
    fd_.reset();
    auto places = PagePlaces::of(repository::load_extents(before, reader_),
                                 static_cast<std::uint32_t>(page_size_));
    if (!places) return false;
    places_ = std::move(*places);
    source_ = fs::path(cluster_.data_directory) / before.path;
    std::optional<base::UniqueFd> fd = base::open_if_exists(source_, O_RDONLY);
    if (fd) fd_ = std::move(*fd);
    return fd.has_value();
  }

  // As many whole pages as there are.
  MutableByteView read(std::uint32_t first, MutableByteView pages) const {
    const std::size_t got =
        base::read_at(fd_.get(), std::uint64_t{first} * page_size_, pages, source_);
    return pages.first(got - got % page_size_);
  }

  void forget_hashes() { hashes_.clear(); }

  bool is_as_before(std::uint32_t page, ByteView content) {
    const PagePlaces::Place place = places_[page];
    if (place.chunk == 0) return repository::all_zero(content);
    const auto [entry, is_new] = hashes_.try_emplace(place.chunk);
    if (is_new) entry->second = reader_.page_hashes(places_.chunks()[place.chunk]);
    return place.page < entry->second.size() &&
           entry->second[place.page] == hasher_.short_hash_of_page(content);
  }

  // Zeros where it stood in no chunk. Unpacked once for all pages in a row.
  ByteView content_before(std::uint32_t page) {
    const PagePlaces::Place place = places_[page];
    const repository::ChunkId& id = places_.chunks()[place.chunk];
    if (place.chunk == 0) {
      chunk_.assign(page_size_, 0);
      unpacked_ = {};
      return chunk_;
    }
    if (unpacked_ != id) {
      chunk_ = reader_.read(id);
      unpacked_ = id;
    }
    return ByteView(chunk_).subspan(place.page * page_size_, page_size_);
  }

 private:
  const ClusterInfo& cluster_;
  const std::size_t page_size_;
  repository::ChunkReader reader_;
  repository::ChunkHasher hasher_;
  std::unordered_map<std::uint32_t, std::vector<std::uint64_t>> hashes_;  // of the piece's chunks
  repository::ChunkId unpacked_;
  base::Bytes chunk_;  // its content
  PagePlaces places_;
  const FileEntry* open_ = nullptr;
  fs::path source_;
  base::UniqueFd fd_;
};

enum class Verdict { kSame, kMeanwhile, kHints, kUnjudged, kDifference };

}  // namespace

struct Audit::Impl {
  struct Found {
    std::uint64_t pages = 0;
    std::vector<std::pair<std::size_t, std::uint32_t>> differing;  // number of the file, page
  };

  Impl(const repository::Context& context_in, const repository::Index& index_in,
       const ClusterInfo& cluster_in, const std::vector<FileEntry>& before,
       const AuditRequest& request_in, const ReadingLimits& limits_in, std::stop_token stop)
      : context(context_in),
        index(index_in),
        cluster(cluster_in),
        request(request_in),
        limits(limits_in),
        round(plan_round(before, request_in, cluster_in.block_size)),
        reading(std::move(stop)) {
    reading.start([this](std::stop_token stopped) { read_all(std::move(stopped)); });
  }

  void read_all(std::stop_token stop) {
    base::share_out(round.pieces.size(), limits.workers, stop, [&] {
      auto comparison = std::make_shared<Comparison>(context, index, cluster);
      auto buffer =
          std::make_shared<base::AlignedBuffer>(std::size_t{kPiecePages} * cluster.block_size);
      return [this, comparison, buffer, stop](std::size_t n) {
        look_at(round.pieces[n], *comparison, buffer->span(), stop);
      };
    });
  }

  void look_at(const Piece& piece, Comparison& comparison, MutableByteView buffer,
               const std::stop_token& stop) {
    const FileEntry& file = round.files[piece.file];
    const std::size_t size = std::size_t{piece.count} * cluster.block_size;
    limits.throttle.take(size, stop);
    try {
      if (comparison.open(file)) compare(piece, comparison, buffer.first(size));
    } catch (base::Error& error) {
      // What the repository has lost is stored anew (distrust_lost_chunks); nothing to compare
      // with.
      if (error.kind() == base::ErrorKind::kDamaged) return;
      error.add_context(fmt::format("while looking again at {}", file.path));
      throw;
    }
  }

  void compare(const Piece& piece, Comparison& comparison, MutableByteView buffer) {
    const MutableByteView pages = comparison.read(piece.first, buffer);
    comparison.forget_hashes();
    std::vector<std::pair<std::size_t, std::uint32_t>> differing;
    const std::size_t count = pages.size() / cluster.block_size;
    for (std::size_t i = 0; i < count; ++i) {
      const auto page = piece.first + static_cast<std::uint32_t>(i);
      const ByteView content = pages.subspan(i * cluster.block_size, cluster.block_size);
      if (!comparison.is_as_before(page, content)) differing.emplace_back(piece.file, page);
    }
    auto all = found.lock();
    all->pages += count;
    all->differing.insert(all->differing.end(), differing.begin(), differing.end());
  }

  // What would be a difference is read again: the server may be writing the page.
  Verdict look_closer(Comparison& comparison, std::uint32_t page, Lsn start) const {
    base::AlignedBuffer buffer(cluster.block_size);
    Verdict verdict = Verdict::kDifference;
    for (int reading_number = 0; verdict == Verdict::kDifference && reading_number < kReadings;
         ++reading_number) {
      if (reading_number > 0) std::this_thread::sleep_for(kBetweenReadings);
      const MutableByteView content =
          comparison.read(page, buffer.span().first(cluster.block_size));
      if (content.empty()) return Verdict::kSame;  // cut off meanwhile: the WAL knows
      verdict = judge(comparison, page, content, start);
    }
    return verdict;
  }

  Verdict judge(Comparison& comparison, std::uint32_t page, ByteView content, Lsn start) const {
    if (page_lsn(content) >= start) return Verdict::kMeanwhile;
    if (comparison.is_as_before(page, content)) return Verdict::kSame;
    if (is_written_without_wal(content)) return Verdict::kHints;
    // With checksums every change of a page is in the WAL, hints too.
    if (cluster.checksums || page_lsn(content) >= request.since) return Verdict::kDifference;
    if (!context.keyring.can_read_data()) return Verdict::kUnjudged;
    try {
      return differ_by_hints_alone(comparison.content_before(page), content) ? Verdict::kHints
                                                                             : Verdict::kDifference;
    } catch (const base::Error& error) {
      if (error.kind() == base::ErrorKind::kDamaged) return Verdict::kUnjudged;
      throw;
    }
  }

  AuditResult finish(IncrementalPlan& plan, Lsn start);

  const repository::Context& context;
  const repository::Index& index;
  const ClusterInfo& cluster;
  const AuditRequest request;
  const ReadingLimits& limits;
  const Round round;
  base::Guarded<Found> found;
  base::WorkerGroup reading;  // the last member: it ends before the others go
};

AuditResult Audit::Impl::finish(IncrementalPlan& plan, Lsn start) {
  reading.join();
  Found all = std::move(*found.lock());
  std::sort(all.differing.begin(), all.differing.end());
  AuditResult result;
  result.pages = all.pages;
  result.next = round.next;
  Comparison comparison(context, index, cluster);
  for (const auto& [number, page] : all.differing) {
    const FileEntry& file = round.files[number];
    const auto partial = std::lower_bound(
        plan.partial.begin(), plan.partial.end(), file.path,
        [](const PartialFile& one, const std::string& path) { return one.file->path < path; });
    if (partial == plan.partial.end() || partial->file->path != file.path) continue;  // taken whole
    PageNumbers& taken = partial->taken;
    const auto place = std::lower_bound(taken.begin(), taken.end(), page);
    if ((place != taken.end() && *place == page) || !comparison.open(file)) continue;
    const Verdict verdict = look_closer(comparison, page, start);
    if (verdict == Verdict::kSame) continue;
    if (page < partial->file->size_bytes / cluster.block_size) taken.insert(place, page);
    if (verdict == Verdict::kUnjudged) ++result.unjudged;
    if (verdict == Verdict::kDifference) {
      result.differences.push_back({file.path, partial->file->first_block + page});
    }
  }
  return result;
}

Audit::Audit(const repository::Context& context, const repository::Index& index,
             const ClusterInfo& cluster, const std::vector<FileEntry>& before,
             const AuditRequest& request, const ReadingLimits& limits, std::stop_token stop)
    : impl_(std::make_unique<Impl>(context, index, cluster, before, request, limits,
                                   std::move(stop))) {}

Audit::~Audit() = default;

AuditResult Audit::finish(IncrementalPlan& plan, Lsn start) { return impl_->finish(plan, start); }

}  // namespace holdfast::postgres
