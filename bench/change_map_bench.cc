// What change maps cost `wal push`: the walk over a segment's records without and with them.
//
//   change_map_bench SEGMENT...
//
// For each WAL segment file: the best of many runs, in milliseconds of CPU time, and the size of
// the section.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <functional>

#include "base/file.h"
#include "postgres/wal_segment.h"

namespace holdfast::postgres {
namespace {

constexpr std::size_t kLargestSegment = std::size_t{1} << 30;

double best_ms(const std::function<void()>& body) {
  constexpr int kRuns = 20;
  double best = 1e9;
  for (int i = 0; i < kRuns; ++i) {
    const std::clock_t start = std::clock();
    body();
    best = std::min(best, 1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return best;
}

void measure(const std::filesystem::path& path) {
  const base::Bytes segment = base::read_file(path, kLargestSegment);
  SegmentChanges changes;
  std::size_t size = 0;
  const double walk = best_ms([&] { scan_segment(segment); });
  const double mapped = best_ms([&] { scan_segment(segment, changes); });
  const double encoded = best_ms([&] { size = encode_changes(changes).content.size(); });
  std::size_t blocks = 0;
  for (const auto& [id, relation] : changes.map.relations) {
    for (const BlockRun& run : relation.blocks) blocks += run.count;
  }
  fmt::print(
      "{}: walk {:.2f} ms, with the map {:.2f} ms, encoded in {:.2f} ms to {} bytes; {} relations, "
      "{} blocks, covered to {}\n",
      path.filename().string(), walk, mapped, encoded, size, changes.map.relations.size(), blocks,
      format_lsn(changes.covered_to));
}

}  // namespace
}  // namespace holdfast::postgres

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) holdfast::postgres::measure(argv[i]);
}
