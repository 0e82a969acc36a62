// global/pg_control: whose data directory this is.
// Facts: PostgreSQL's catalog/pg_control.h.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/bytes.h"

namespace holdfast::postgres {

struct ControlFile {
  std::uint64_t system_id = 0;
  std::uint32_t pg_control_version = 0;  // 1300: PostgreSQL 13 to 16, 1700: 17, 1800: 18
  std::uint32_t catalog_version = 0;
  std::uint32_t state = 0;       // DBState; see kStateInProduction
  bool full_page_writes = true;  // at the last checkpoint

  static constexpr std::uint32_t kStateShutDown = 1;
  static constexpr std::uint32_t kStateInProduction = 6;
};

// Throws kFailed for what is no pg_control of PostgreSQL 13 or later. The checksum is not looked
// at.
ControlFile parse_control_file(base::ByteView bytes);

// Whether the checksum fits. A running server rewrites the file in place, so a read of it can be
// torn; read it again then.
bool is_control_file_whole(base::ByteView bytes);

std::uint64_t system_id_of_data_directory(const std::filesystem::path& data_directory);

}  // namespace holdfast::postgres
