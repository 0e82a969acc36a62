#include "postgres/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "base/error.h"
#include "base/parallel.h"
#include "postgres/page.h"
#include "postgres/page_comparison.h"
#include "postgres/page_hints.h"

namespace holdfast::postgres {
namespace {

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

enum class Verdict { kSame, kMeanwhile, kHints, kUnjudged, kDifference };

}  // namespace

struct Audit::Impl {
  struct Found {
    std::uint64_t pages = 0;
    std::uint64_t frozen = 0;
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
      auto comparison = std::make_shared<PageComparison>(context, index, cluster);
      auto buffer =
          std::make_shared<base::AlignedBuffer>(std::size_t{kPiecePages} * cluster.block_size);
      return [this, comparison, buffer, stop](std::size_t n) {
        look_at(round.pieces[n], *comparison, buffer->span(), stop);
      };
    });
  }

  void look_at(const Piece& piece, PageComparison& comparison, MutableByteView buffer,
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
      if (error.kind() == base::ErrorKind::kRefused) {
        found.lock()->frozen += piece.count;
        return;
      }
      error.add_context(fmt::format("while looking again at {}", file.path));
      throw;
    }
  }

  void compare(const Piece& piece, PageComparison& comparison, MutableByteView buffer) {
    const MutableByteView pages = comparison.read(piece.first, buffer);
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

  // Of the page as it is now.
  Verdict look_closer(PageComparison& comparison, const FileEntry& file, std::uint32_t page,
                      const AuditMoment& moment) const {
    try {
      if (!comparison.open(file)) return Verdict::kSame;
      base::AlignedBuffer buffer(cluster.block_size);
      const MutableByteView content =
          comparison.read(page, buffer.span().first(cluster.block_size));
      if (content.empty()) return Verdict::kSame;  // cut off meanwhile: the WAL knows
      return judge(comparison, page, content, moment);
    } catch (const base::Error& error) {
      const bool unknown = error.kind() == base::ErrorKind::kDamaged ||
                           error.kind() == base::ErrorKind::kRefused;  // lost, or frozen
      if (unknown) return Verdict::kUnjudged;
      throw;
    }
  }

  // The LSN on a page is the end of the record that changed it last.
  Verdict judge(PageComparison& comparison, std::uint32_t page, ByteView content,
                const AuditMoment& moment) const {
    const Lsn lsn = page_lsn(content);
    if (lsn > moment.start && lsn <= moment.current_lsn()) return Verdict::kMeanwhile;
    if (comparison.is_as_before(page, content)) return Verdict::kSame;
    if (is_written_without_wal(content)) return Verdict::kHints;
    if (lsn > request.since) return Verdict::kDifference;
    if (request.other_copy) return Verdict::kHints;
    // With checksums every change of a page is in the WAL, hints too.
    if (cluster.checksums) return Verdict::kDifference;
    if (!context.keyring.can_read_data()) return Verdict::kUnjudged;
    return differ_by_hints_alone(comparison.content_before(page), content) ? Verdict::kHints
                                                                           : Verdict::kDifference;
  }

  AuditResult finish(IncrementalPlan& plan, const AuditMoment& moment);

  const repository::Context& context;
  const repository::Index& index;
  const ClusterInfo& cluster;
  const AuditRequest request;
  const ReadingLimits& limits;
  const Round round;
  base::Guarded<Found> found;
  base::WorkerGroup reading;  // the last member: it ends before the others go
};

namespace {

// What the audit found in one page.
struct Candidate {
  const FileEntry* file = nullptr;
  PartialFile* partial = nullptr;
  std::uint32_t page = 0;
  Verdict verdict = Verdict::kDifference;
};

bool take(const Candidate& candidate, std::uint32_t page_size) {
  PageNumbers& taken = candidate.partial->taken;
  const auto place = std::lower_bound(taken.begin(), taken.end(), candidate.page);
  if (place != taken.end() && *place == candidate.page) return false;
  if (candidate.page < candidate.partial->file->size_bytes / page_size) {
    taken.insert(place, candidate.page);
  }
  return true;
}

}  // namespace

AuditResult Audit::Impl::finish(IncrementalPlan& plan, const AuditMoment& moment) {
  reading.join();
  Found all = std::move(*found.lock());
  std::sort(all.differing.begin(), all.differing.end());
  std::vector<Candidate> candidates;
  for (const auto& [number, page] : all.differing) {
    const FileEntry& file = round.files[number];
    const auto partial = std::lower_bound(
        plan.partial.begin(), plan.partial.end(), file.path,
        [](const PartialFile& one, const std::string& path) { return one.file->path < path; });
    if (partial == plan.partial.end() || partial->file->path != file.path) continue;  // taken whole
    if (std::binary_search(partial->taken.begin(), partial->taken.end(), page)) continue;
    candidates.push_back({&file, &*partial, page});
  }
  // What seems to differ is read again after a while: the server may be writing it.
  PageComparison comparison(context, index, cluster);
  for (int number = 0; number < kReadings; ++number) {
    bool differs = false;
    for (Candidate& candidate : candidates) {
      if (candidate.verdict != Verdict::kDifference) continue;
      candidate.verdict = look_closer(comparison, *candidate.file, candidate.page, moment);
      differs = differs || candidate.verdict == Verdict::kDifference;
    }
    if (!differs) break;
    std::this_thread::sleep_for(kBetweenReadings);
  }

  AuditResult result;
  result.pages = all.pages;
  result.frozen = all.frozen;
  result.next = round.next;
  for (const Candidate& candidate : candidates) {
    if (candidate.verdict == Verdict::kSame || !take(candidate, cluster.block_size)) continue;
    if (candidate.verdict == Verdict::kUnjudged) ++result.unjudged;
    if (candidate.verdict == Verdict::kDifference) {
      result.differences.push_back(
          {candidate.file->path, candidate.partial->file->first_block + candidate.page});
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

AuditResult Audit::finish(IncrementalPlan& plan, const AuditMoment& moment) {
  return impl_->finish(plan, moment);
}

}  // namespace holdfast::postgres
