#include "postgres/control_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "postgres/crc32c.h"
#include "postgres/little_endian.h"

namespace holdfast::postgres {
namespace {

constexpr std::size_t kMaxSize = 8192;    // PG_CONTROL_FILE_SIZE
constexpr std::size_t kSectorSize = 512;  // the content never grows past one: writes are whole
constexpr std::uint32_t kMinVersion = 1300;
constexpr std::uint32_t kMaxVersion = 9999;
constexpr std::uint32_t kStates = 7;
constexpr std::size_t kFullPageWritesOffset = 56;  // checkPointCopy.fullPageWrites, 13 to 18

[[noreturn]] void fail(std::string_view problem) {
  throw base::Error(base::ErrorKind::kFailed,
                    fmt::format("this is not a PostgreSQL control file: {}", problem));
}

}  // namespace

ControlFile parse_control_file(base::ByteView bytes) {
  if (bytes.size() < kSectorSize || bytes.size() > kMaxSize) {
    fail(fmt::format("it has {} bytes", bytes.size()));
  }
  base::ByteReader reader(bytes, "pg_control");
  ControlFile file;
  file.system_id = reader.u64();
  file.pg_control_version = reader.u32();
  file.catalog_version = reader.u32();
  file.state = reader.u32();

  const std::uint32_t version = file.pg_control_version;
  if (version % 65536 == 0 && version != 0) {
    fail("its byte order is another machine's");
  }
  if (version < kMinVersion || version > kMaxVersion) {
    throw base::Error(
        base::ErrorKind::kFailed,
        fmt::format("the control file's version is {}, which Holdfast does not know", version),
        "Holdfast backs up PostgreSQL 13 and later.");
  }
  if (file.system_id == 0) {
    fail("its system identifier is 0");
  }
  if (file.state >= kStates) {
    fail(fmt::format("its state is {}", file.state));
  }
  file.full_page_writes = bytes[kFullPageWritesOffset] != 0;
  return file;
}

bool is_control_file_whole(base::ByteView bytes) {
  // The checksum is the last field, whose place differs from version to version.
  constexpr std::size_t kMinOffset = 256;
  const std::size_t end = std::min(bytes.size(), kSectorSize);
  if (end < kMinOffset) {
    return false;
  }
  std::uint32_t crc = crc32c(0, bytes.first(kMinOffset));
  for (std::size_t at = kMinOffset; at + 4 <= end; at += 4) {
    if (load<std::uint32_t>(bytes.data() + at) == crc) {
      return true;
    }
    crc = crc32c(crc, bytes.subspan(at, 4));
  }
  return false;
}

std::uint64_t system_id_of_data_directory(const std::filesystem::path& data_directory) {
  const std::filesystem::path path = data_directory / "global" / "pg_control";
  return base::with_context(
      [&path] { return fmt::format("while reading {}", path.native()); },
      [&] { return parse_control_file(base::read_file(path, kMaxSize)).system_id; });
}

}  // namespace holdfast::postgres
