#include "postgres/wal_archive.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/control_file.h"
#include "postgres/segment_section.h"
#include "postgres/wal_marks.h"
#include "postgres/wal_segment.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using repository::Context;
using repository::LogPut;

constexpr std::size_t kLargestSegment = std::size_t{1} << 30;
constexpr std::size_t kLargestHistory = std::size_t{1} << 20;

WalFileName file_name_of(const fs::path& path) {
  const std::optional<WalFileName> name = parse_wal_file_name(path.filename().native());
  if (!name) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} is not the name of a WAL file", path.filename().string()),
                "archive_command gives the path as %p");
  }
  return *name;
}

struct WalFile {
  base::AlignedBuffer buffer;
  std::size_t size = 0;
  base::Time modified;
  base::ByteView view() const { return {buffer.data(), size}; }
};

// In a few pieces at once: half of the time goes into the first touch of the memory. Returns the
// bytes read, fewer where the file became shorter.
std::size_t read_in_parallel(const base::UniqueFd& fd, base::MutableByteView buffer, int threads,
                             const fs::path& path) {
  constexpr std::size_t kLeastPiece = std::size_t{4} << 20;
  const std::size_t pieces =
      std::clamp<std::size_t>(buffer.size() / kLeastPiece, 1, static_cast<std::size_t>(threads));
  if (pieces == 1) return base::read_at(fd.get(), 0, buffer, path);
  const std::size_t piece = buffer.size() / pieces;
  std::atomic<std::size_t> total{0};
  base::WorkerGroup group;
  for (std::size_t i = 0; i < pieces; ++i) {
    const std::size_t begin = i * piece;
    const std::size_t size = i + 1 == pieces ? buffer.size() - begin : piece;
    group.start([&, begin, size](const std::stop_token&) {
      total += base::read_at(fd.get(), begin, buffer.subspan(begin, size), path);
    });
  }
  group.join();
  return total;
}

WalFile read_wal_file(const fs::path& path, std::size_t max_size, int threads) {
  const base::UniqueFd fd = base::open_file(path, O_RDONLY);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) {
    throw base::system_error(errno, fmt::format("cannot read {}", path.string()));
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > max_size) {
    throw Error(ErrorKind::kFailed, fmt::format("{} is larger than any WAL file", path.string()));
  }
  WalFile file;
  file.buffer = base::AlignedBuffer(std::max<std::size_t>(size, 1));
  ::madvise(file.buffer.data(), file.buffer.capacity(), MADV_HUGEPAGE);  // only a hint
  file.size = read_in_parallel(fd, file.buffer.span().first(size), threads, path);
  file.modified = base::Time(std::chrono::seconds(status.st_mtim.tv_sec) +
                             std::chrono::microseconds(status.st_mtim.tv_nsec / 1000));
  return file;
}

// A segment must be what its name says. Its first page may be of an older timeline: after a switch
// the server copies the old segment's front into the new one.
WalSegmentInfo check_segment(const WalFileName& name, const WalFile& file,
                             SegmentChanges& changes) {
  const WalSegmentInfo info = scan_segment(file.view(), changes);
  const std::optional<SegmentName> segment = parse_segment_name(name.segment(), info.segment_size);
  if (!segment || segment_start(segment->number, info.segment_size) != info.start ||
      segment->timeline < info.timeline) {
    throw Error(ErrorKind::kFailed,
                fmt::format("{} holds WAL from {} of timeline {}: not what its name says",
                            name.text, format_lsn(info.start), info.timeline));
  }
  if (file.size != info.segment_size) {
    throw Error(ErrorKind::kFailed, fmt::format("{} has {} bytes instead of {}", name.text,
                                                file.size, info.segment_size));
  }
  return info;
}

std::uint64_t system_beside(const fs::path& path, std::optional<std::uint64_t> given) {
  if (given) return *given;
  const fs::path data_directory = fs::absolute(path).parent_path().parent_path();
  for (const fs::path& candidate : {data_directory, fs::current_path()}) {
    if (fs::exists(candidate / "global" / "pg_control")) {
      return system_id_of_data_directory(candidate);
    }
  }
  throw Error(ErrorKind::kFailed,
              fmt::format("cannot tell of which cluster {} is: no global/pg_control beside its "
                          "directory",
                          path.filename().string()),
              "name the cluster's system identifier with --system");
}

PushedWal outcome_of(LogPut put, const std::string& object) {
  switch (put) {
    case LogPut::kCreated:
      return {WalPush::kArchived, object};
    case LogPut::kSame:
      return {WalPush::kAlreadyThere, object};
    case LogPut::kDifferent:
      break;
  }
  throw Error(ErrorKind::kRefused,
              fmt::format("{} is in the repository already, with other content", object),
              "two servers with the same system identifier archive to this repository: give the "
              "one that was restored or copied an archive_command of its own");
}

PushedWal push_segment(const Context& context, const WalFileName& name, const fs::path& path,
                       int threads, std::optional<std::uint64_t> system_id) {
  const WalFile file = read_wal_file(path, kLargestSegment, threads);
  SegmentChanges changes;
  const WalSegmentInfo info = check_segment(name, file, changes);
  if (system_id && *system_id != info.system_id) {
    throw Error(ErrorKind::kRefused, fmt::format("{} is of the cluster {}, not of {}", name.text,
                                                 info.system_id, *system_id));
  }
  const std::string object = wal_object_name(info.system_id, name.text);
  std::vector<repository::LogSection> sections = {encode_segment_section(info, file.modified)};
  if (auto marks = encode_marks(marks_of(info))) sections.push_back(std::move(*marks));
  sections.push_back(encode_changes(std::move(changes)));
  return outcome_of(repository::put_log(context, object, file.view(), std::move(sections), threads),
                    object);
}

}  // namespace

std::string wal_object_name(std::uint64_t system_id, std::string_view file_name) {
  return fmt::format("wal/{}/{}/{}", system_id, file_name.substr(0, 8), file_name);
}

PushedWal push_wal(const Context& context, const fs::path& path, int threads,
                   std::optional<std::uint64_t> system_id) {
  const WalFileName name = file_name_of(path);
  return base::with_context(
      [&] { return fmt::format("while archiving {}", name.text); },
      [&] {
        if (name.kind == WalFileKind::kSegment || name.kind == WalFileKind::kPartial) {
          return push_segment(context, name, path, threads, system_id);
        }
        const base::Bytes content = base::read_file(path, kLargestHistory);
        if (name.kind == WalFileKind::kHistory) {
          TimelineHistory::parse(name.timeline, base::as_text(content));  // refuses what is none
        }
        const std::string object = wal_object_name(system_beside(path, system_id), name.text);
        return outcome_of(repository::put_inline_log(context, object, content, {}), object);
      });
}

fs::path unfinished_fetch(const fs::path& destination) {
  return destination.string() + ".holdfast-part";
}

bool fetch_wal(const Context& context, std::uint64_t system_id, std::string_view file_name,
               const fs::path& destination) {
  if (!parse_wal_file_name(file_name)) {
    throw Error(ErrorKind::kUsage, fmt::format("{} is not the name of a WAL file", file_name));
  }
  const std::string object = wal_object_name(system_id, file_name);
  const fs::path unfinished = unfinished_fetch(destination);
  std::optional<repository::LogInfo> info = repository::stat_log(context, object);
  if (!info) return false;
  try {
    const base::UniqueFd fd = base::open_file(unfinished, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (!info->inline_content.empty()) {
      base::write_all(fd.get(), info->inline_content, unfinished);
    } else {
      info = repository::read_log(context, object, [&](base::ByteView piece) {
        base::write_all(fd.get(), piece, unfinished);
      });
    }
    if (info && ::rename(unfinished.c_str(), destination.c_str()) != 0) {
      throw base::system_error(errno, fmt::format("cannot create {}", destination.string()));
    }
  } catch (...) {
    ::unlink(unfinished.c_str());
    throw;
  }
  return info.has_value();
}

std::optional<ArchivedSegment> stat_segment(const Context& context, std::uint64_t system_id,
                                            const SegmentName& segment,
                                            std::uint32_t segment_size) {
  const std::string object = wal_object_name(system_id, format_segment_name(segment, segment_size));
  const std::optional<repository::LogInfo> info = repository::stat_log(context, object);
  if (!info) return std::nullopt;
  return decode_segment_section(*info, object);
}

}  // namespace holdfast::postgres
