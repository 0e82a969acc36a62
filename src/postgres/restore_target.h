// The directories that a restore writes to: what may be there before, and who else is at work.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "base/file.h"

namespace holdfast::postgres {

struct RestorePlaces {
  std::filesystem::path data_directory;
  std::map<std::string, std::filesystem::path> tablespaces = {};  // pg_tblspc/OID → where it goes
};

// kRefused unless each is empty or missing.
void require_empty(const RestorePlaces& places);

// For a restore over what is there; kRefused where that could take something from somebody: the
// data directory is in use, or holds neither a cluster nor an unfinished restore; a tablespace's
// directory holds something and is not the one that the data directory links to, or a running
// server has it.
void require_replaceable(const RestorePlaces& places);

// A file in the data directory, from before the first change of a restore to its end. It says that
// what is there may be written over, and keeps a second restore out while the first one runs.
class UnfinishedMark {
 public:
  static constexpr std::string_view kName = "holdfast-restore.unfinished";

  // kRefused while another restore holds it. Durable on return.
  explicit UnfinishedMark(const std::filesystem::path& data_directory);
  void remove();  // the caller makes that durable

 private:
  std::filesystem::path path_;
  base::UniqueFd fd_;
};

}  // namespace holdfast::postgres
